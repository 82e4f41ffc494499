"""Who may come in, and what a connection counts as."""

from types import SimpleNamespace

import pytest
import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.io.utils import read_exactly
from trio.testing import memory_stream_pair

from nunet_node.network.libp2p import swarm
from nunet_node.network.libp2p.swarm import LOOPBACK, BufferedChannel, source_of
from nunet_node.network.port import ConnectFailed
from tests.network_peers import hosts, until


def channel_from(*peer):
    socket = SimpleNamespace(getpeername=lambda: peer)
    return SimpleNamespace(stream=SimpleNamespace(socket=socket))


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", LOOPBACK),
        ("::1", LOOPBACK),
        ("nonsense", ""),
    ],
)
def test_a_connection_counts_for_its_address_or_network(host, source):
    assert source_of(channel_from(host, 4040, 0, 0)) == source


async def test_one_address_cannot_fill_the_table(monkeypatch):
    monkeypatch.setattr(swarm, "PRESENT_PER_ADDRESS_MAX", 2)
    monkeypatch.setattr(swarm, "source_of", lambda _: "192.0.2.7")
    async with hosts(4, gossip=False) as (a, *others):
        for other in others[:2]:
            await other.connect(a.addresses())
        with pytest.raises(ConnectFailed):
            await others[2].connect(a.addresses())
        await others[0].disconnect(a.peer_id)
        await until(lambda: len(a.connected_peers()) == 1)
        with trio.fail_after(20):
            while others[2].connected_peers() != {a.peer_id}:
                try:
                    await others[2].connect(a.addresses())
                except ConnectFailed:
                    await trio.sleep(0.01)


async def test_a_connection_that_has_ended_is_not_read_again_and_again():
    ours, theirs = memory_stream_pair()
    channel = BufferedChannel(TrioTCPStream(ours))
    await theirs.send_all(b"two")
    await theirs.aclose()

    assert await channel.read(2) == b"tw"
    with pytest.raises(ConnectionClosedError):
        await read_exactly(channel, 2)
