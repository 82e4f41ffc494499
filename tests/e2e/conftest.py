"""Networks for the tests by the command line: one that all share, and one's own.

Who kills, restarts or fills a node takes ``net``; who only uses one takes ``node``,
which is roomy and cheap, because it runs already.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.network import Network, Node, User, network


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.fixture(scope="session")
def node(shared: Network) -> Node:
    return shared.provider(cpus=16, memory="4GiB", disk="4GiB")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as made:
        yield made


@pytest.fixture
def user(net: Network, node: Node) -> User:
    return net.user(node)


@pytest.fixture
def stranger(net: Network, node: Node) -> User:
    return net.user(node)
