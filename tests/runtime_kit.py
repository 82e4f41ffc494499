"""Hosts in memory with real peer ids, and small trees of files, for runtime tests."""

from contextlib import AsyncExitStack, asynccontextmanager

from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.network.memory import MemoryNetwork
from nunet_node.storage.read_tree import Source, read_tree


def key(number):
    return SigningKey(bytes([number]) * 32)


def peer_id(number):
    return peer_id_of(key(number).did)


@asynccontextmanager
async def linked_hosts(count=2):
    """Run hosts in memory, all of them connected to the first."""
    network = MemoryNetwork()
    async with AsyncExitStack() as stack:
        hosts = [
            await stack.enter_async_context(network.open_host(peer_id(number + 1)))
            for number in range(count)
        ]
        for host in hosts[1:]:
            await host.connect(hosts[0].addresses())
        yield hosts


def memory_opener(network):
    """Return what `open_peer` opens its host with, on a network in memory."""

    def open_host(settings):
        return network.open_host(peer_id_of(SigningKey(settings.seed).did))

    return open_host


def store_files(store, directory, files):
    """Write files below a directory, store them, and return the tree's id."""
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return read_tree(store, [Source(path=directory)]).built
