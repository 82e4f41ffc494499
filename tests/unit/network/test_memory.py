"""What only the network in memory does; what it promises is in test_port."""

import pytest

from nunet_node.errors import MisuseError
from nunet_node.network.memory import MemoryNetwork
from nunet_node.network.port import ConnectFailed


async def test_a_peer_id_is_there_once():
    network = MemoryNetwork()
    async with network.open_host("12D3KooWme1"):
        with pytest.raises(MisuseError):
            async with network.open_host("12D3KooWme1"):
                pass


async def test_a_host_that_left_cannot_be_reached():
    network = MemoryNetwork()
    async with network.open_host("12D3KooWme1") as me:
        async with network.open_host("12D3KooWyou1") as you:
            addresses = you.addresses()
            await me.connect(addresses)
        assert me.connected_peers() == frozenset()
        with pytest.raises(ConnectFailed):
            await me.connect(addresses)
