"""A provider on a real Ray."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cluster.behaviour import Behaviour, configuration, provider
from tests.cluster.rays import Ray, program, ray
from tests.e2e.network import Network, Node, User, network

pytestmark = pytest.mark.skipif(
    program() is None and "NUNET_TEST_CLUSTER" not in os.environ,
    reason="Ray is not installed; `make test-ray` does it",
)


@pytest.fixture(scope="module")
def cluster():
    with ray() as made:
        yield made


@pytest.fixture(scope="module")
def config(cluster: Ray) -> Path:
    with TemporaryDirectory(prefix="nunet-node-test-") as top:
        os.chmod(top, 0o755)
        yield configuration(cluster, Path(top))


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


class TestOnRay(Behaviour):
    """Everything that holds on any cluster."""
