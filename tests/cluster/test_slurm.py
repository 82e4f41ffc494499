"""A provider on a real Slurm."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cluster.behaviour import Behaviour, configuration, offered, provider
from tests.cluster.slurm import Slurm, missing, slurm
from tests.e2e.network import Network, Node, User, network

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


def test_a_job_longer_than_its_partition_allows_is_not_waited_for(cluster, user):
    shown = user.submit("--timeout", "3h", "--", "true").must(125).document
    assert shown["state"] == "failed"
    assert "PartitionTimeLimit" in shown["reason"]
