"""A peer that dies, with or without a word, is noticed."""

import signal

import pytest
import trio

from nunet_node.network import liveness
from nunet_node.network.port import PeerGone
from nunet_node.network.stream import StreamBroken
from tests.network_peers import ECHO, hosts, muxed, pair, peer_process, until


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=lambda s: s.name)
async def test_a_peer_that_dies_is_noticed(how, monkeypatch):
    monkeypatch.setattr(liveness, "PING_EVERY_S", 0.2)
    monkeypatch.setattr(liveness, "PONG_WITHIN_S", 0.5)
    async with peer_process() as (process, address), hosts(1) as (b,):
        events = b.peer_events()
        peer_id = await b.connect([address])
        stream = await b.open_stream(peer_id, ECHO)
        await events.receive()
        process.send_signal(how)
        with trio.fail_after(20):
            with pytest.raises(StreamBroken):
                await stream.receive()
            assert await events.receive() == PeerGone(peer_id=peer_id)
        assert b.connected_peers() == frozenset()


async def test_a_peer_that_answers_pings_is_kept(monkeypatch):
    monkeypatch.setattr(liveness, "PING_EVERY_S", 0.02)
    async with pair() as (a, b):
        connection = muxed(b, a.peer_id)
        before = connection._ping_id
        await until(lambda: connection._ping_id >= before + 5)
        assert b.connected_peers() == {a.peer_id}


def test_a_dead_peer_is_noticed_within_half_a_minute():
    assert liveness.PING_EVERY_S + liveness.PONG_WITHIN_S < 30
