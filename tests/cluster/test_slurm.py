"""A provider on a real Slurm."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nunet_node.executors.cluster.capacity import RUNNER_BYTES
from tests.cluster.behaviour import Behaviour, configuration, offered, provider
from tests.cluster.slurm import Slurm, missing, slurm
from tests.e2e.network import NOT_RUN, Network, Node, User, network

pytestmark = pytest.mark.skipif(
    bool(missing()) and "NUNET_TEST_CLUSTER" not in os.environ,
    reason=f"not installed: {', '.join(missing())}",
)


@pytest.fixture(scope="module")
def place():
    with TemporaryDirectory(prefix="slurm-") as top:
        os.chmod(top, 0o755)
        yield Path(top)


@pytest.fixture(scope="module")
def cluster(place):
    with slurm(place) as made:
        yield made


@pytest.fixture(scope="module")
def config(cluster: Slurm, place: Path) -> Path:
    return configuration(cluster, place)


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    with network(tmp_path_factory.mktemp("net")) as made:
        yield made


@pytest.fixture(scope="module")
def node(net: Network, config: Path) -> Node:
    return provider(net, config)


@pytest.fixture
def user(net: Network, node: Node) -> User:
    return net.user(node)


class TestOnSlurm(Behaviour):
    """Everything that holds on any cluster."""


def test_a_machine_that_is_drained_is_no_longer_offered(cluster, user, node):
    assert offered(user, node, 3) == 3
    change = ("scontrol", "update", "nodename=n2")
    cluster.ran(*change, "state=drain", "reason=test")
    try:
        assert offered(user, node, 1) == 1
    finally:
        cluster.ran(*change, "state=resume")
    assert offered(user, node, 3) == 3


def test_a_job_longer_than_its_partition_allows_is_refused_at_once(cluster, user, node):
    assert offered(user, node, 3) == 3
    assert user.heard(node)["run_s_max"] == 110 * 60
    shown = user.submit("--timeout", "111m", "--", "true").must(NOT_RUN).document
    assert shown["state"] == "refused"
    assert "the longest that a job may run" in shown["reason"]


def test_more_memory_than_the_partition_allows_is_refused_at_once(cluster, user, node):
    assert offered(user, node, 3) == 3
    heard = user.heard(node)
    allowed = (1400 << 20) - RUNNER_BYTES
    assert [each["memory_bytes"] for each in heard["largest"]] == [allowed] * 2
    assert heard["total"]["memory_bytes"] == 2 * ((1500 << 20) - RUNNER_BYTES)
    asked = ("--memory", str(allowed + 1), "--", "true")
    assert "memory" in user.submit(*asked).must(NOT_RUN).document["reason"]
