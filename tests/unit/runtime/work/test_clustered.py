"""A node on a cluster offers what the cluster has, as long as it answers."""

import subprocess
import sys
from pathlib import Path

import pytest

from nunet_node.executors.cluster.capacity import ClusterRoom
from nunet_node.executors.cluster.executors import RUNNER, ClusterSettings
from nunet_node.executors.cluster.port import ClusterError
from nunet_node.executors.cluster.ray import RayCluster
from nunet_node.executors.cluster.slurm import SlurmCluster
from nunet_node.executors.port import Capability
from nunet_node.identity.keys import SigningKey
from nunet_node.quantities import ResourceVector
from nunet_node.runtime.config import ConfigError, parse_config
from nunet_node.runtime.work.clustered import (
    ClusterOffering,
    cluster_executors,
)
from tests.unit.runtime.work.test_offering import Told

ROOT = Path(__file__).parents[4]
OWNER = SigningKey(bytes(32)).did


def room(cpus):
    return ResourceVector(cpu_millis=cpus * 1000, memory_bytes=100, disk_bytes=100)


class Cluster:
    """Executors of which only what they can do is asked."""

    settings = ClusterSettings(host="127.0.0.1")

    def __init__(self):
        self.answers, self.examined = True, False
        self.found = ClusterRoom(total=room(8), largest=(room(4),))

    @property
    def architecture(self):
        return "x86_64" if self.examined else ""

    async def room(self):
        if not self.answers:
            raise ClusterError("away")
        return self.found

    async def prepare(self):
        if not self.answers:
            raise ClusterError("away")
        self.examined = True

    async def probe(self):
        held = Capability(engine="process", isolation="bwrap", ready=True, detail="")
        waits = Capability(
            engine="process", isolation="", ready=False, detail="", waits=True
        )
        never = Capability(engine="container", isolation="", ready=False, detail="")
        return (held if self.examined else waits, never)


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def told():
    return Told()


def offering(cluster, told, allowed=None):
    return ClusterOffering(
        executors=cluster, offer=lambda total: allowed or total, driver=told
    )


async def test_what_is_known_is_offered_at_once_and_the_rest_when_it_held(
    cluster, told
):
    node = offering(cluster, told)
    await node.start()
    await node.look_again()
    first, then = told.given
    assert (first.total, first.largest) == (room(8), (room(4),))
    assert [(each.engine, each.ready) for each in first.engines] == [("process", False)]
    assert [(each.isolation, each.ready) for each in then.engines] == [("bwrap", True)]
    assert then.machine.architecture == "x86_64"


async def test_only_a_change_is_told(cluster, told):
    node = offering(cluster, told)
    await node.start()
    await node.look_again()
    await node.look_again()
    cluster.found = ClusterRoom(total=room(2), largest=(room(2),))
    await node.look_again()
    assert [each.total for each in told.given] == [room(8), room(8), room(2)]


async def test_while_a_cluster_is_away_nothing_starts_and_nobody_is_sent_away(
    cluster, told
):
    node = offering(cluster, told)
    await node.start()
    await node.look_again()
    cluster.answers = False
    await node.look_again()
    cluster.answers = True
    await node.look_again()
    *_, away, back = told.given
    assert away.total == back.total == room(8)
    assert [each.ready for each in away.engines] == [False]
    assert [each.ready for each in back.engines] == [True]


async def test_a_cluster_that_is_away_at_the_start_is_offered_when_it_comes(
    cluster, told
):
    cluster.answers = False
    node = offering(cluster, told)
    await node.start()
    await node.look_again()
    cluster.answers = True
    await node.look_again()
    assert [each.total for each in told.given] == [ResourceVector(), room(8)]
    assert told.given[-1].engines[0].ready


async def test_an_owner_is_told_once_what_is_wrong(cluster, told, caplog):
    cluster.answers = False
    node = offering(cluster, told)
    await node.start()
    await node.look_again()
    await node.look_again()
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "until the cluster answers: away" in record.getMessage()


async def test_an_owner_offers_no_more_than_is_allowed(cluster, told):
    await offering(cluster, told, room(3)).start()
    assert told.given[0].total == room(3)
    assert told.given[0].largest == (room(3),)


def made(tmp_path, **config):
    return cluster_executors(parse_config(config, "x"), tmp_path / "scratch", OWNER)


@pytest.mark.parametrize(
    "module", ["nunet_node.runtime.peer", "nunet_node.cli.machine.node"]
)
def test_whoever_has_no_cluster_loads_nothing_for_one(module):
    script = f"import sys, {module}; print('httpx' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert ended.stdout == "False\n"


async def test_a_configuration_names_its_cluster(tmp_path):
    slurm = made(tmp_path, backend="slurm", cluster={"partition": "main"})
    assert slurm._cluster == SlurmCluster(partition="main")
    assert slurm.settings.runner == RUNNER
    (tmp_path / "token").write_text("secret\n")
    address = {"address": "http://127.0.0.1:9", "token_file": str(tmp_path / "token")}
    ray = made(tmp_path, backend="ray", cluster=address)._cluster
    assert isinstance(ray, RayCluster)
    assert ray._client.headers["Authorization"] == "Bearer secret"
    await ray.close()


def test_a_token_that_is_not_there_is_named(tmp_path):
    address = {"address": "http://127.0.0.1:9", "token_file": str(tmp_path / "none")}
    with pytest.raises(ConfigError, match="none"):
        made(tmp_path, backend="ray", cluster=address)
