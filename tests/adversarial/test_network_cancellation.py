"""What our own code cancels ends no connection, and no peer can block our leaving."""

import signal
from contextlib import suppress

import pytest
import trio

from nunet_node.network import host as host_module
from nunet_node.network.libp2p import connection as connection_module
from nunet_node.network.libp2p import swarm
from nunet_node.network.port import ProtocolRefused
from nunet_node.network.stream import StreamBroken
from tests.network_peers import (
    StockYamux,
    answers,
    hosts,
    muxed,
    pair,
    peer_process,
    until,
)

SINK = "/nunet/test-sink/1"


async def swallow(stream):
    while await stream.receive_some():
        pass


async def cancel_many_writes(a, b):
    a.serve(SINK, swallow)
    for number in range(150):
        stream = await b.open_stream(a.peer_id, SINK)
        with trio.move_on_after(0.001 + 0.0005 * (number % 10)):
            await stream.send_raw(b"x" * 1_000_000)
        await stream.reset()


async def test_cancelled_writes_leave_the_connection_whole():
    async with pair() as (a, b):
        connection = muxed(b, a.peer_id)
        await cancel_many_writes(a, b)
        assert await answers(b, a.peer_id)
        assert muxed(b, a.peer_id) is connection


async def test_without_the_remedy_cancelled_writes_end_the_connection(monkeypatch):
    monkeypatch.setattr(swarm, "YamuxConnection", StockYamux)
    async with pair() as (a, b):
        connection = muxed(b, a.peer_id)
        with suppress(Exception):
            await cancel_many_writes(a, b)
        with trio.move_on_after(10):
            await connection.event_shutting_down.wait()
        assert connection.event_shutting_down.is_set()


async def test_cancelled_openings_leak_no_streams():
    async with pair() as (a, b):
        a.serve(SINK, swallow)
        for number in range(300):
            with trio.move_on_after(0.0005 * (number % 12)):
                stream = await b.open_stream(a.peer_id, SINK)
                await stream.reset()
        connection = muxed(b, a.peer_id)
        # The two streams of gossip stay.
        await until(lambda: len(connection.streams) <= 2)
        assert await answers(b, a.peer_id)


async def test_more_streams_than_a_connection_carries_are_refused_at_once():
    async with pair(gossip=False) as (a, b):
        a.serve(SINK, swallow)
        streams = [await b.open_stream(a.peer_id, SINK) for _ in range(256)]
        with trio.fail_after(5), pytest.raises(ProtocolRefused):
            await b.open_stream(a.peer_id, SINK)
        await streams[0].reset()
        assert await answers(b, a.peer_id)


async def test_a_peer_that_never_answers_an_opening_costs_only_the_wait(monkeypatch):
    monkeypatch.setattr(host_module, "OPEN_S", 0.5)
    async with peer_process() as (process, address), hosts(1) as (b,):
        peer_id = await b.connect([address])
        process.send_signal(signal.SIGSTOP)
        with trio.fail_after(10), pytest.raises(ProtocolRefused):
            await b.open_stream(peer_id, SINK)
        process.send_signal(signal.SIGCONT)
        assert await answers(b, peer_id)


async def test_a_peer_that_stops_reading_does_not_block_disconnecting():
    async with peer_process() as (process, address), hosts(1) as (b,):
        peer_id = await b.connect([address])
        streams = [
            await b.open_stream(peer_id, "/nunet/test-hold/1") for _ in range(40)
        ]
        process.send_signal(signal.SIGSTOP)

        async def fill(stream):
            with suppress(StreamBroken):
                await stream.send_raw(b"x" * 5_000_000)

        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(fill, stream)
            # Until the socket is full, and a frame hangs half sent.
            connection = muxed(b, peer_id)
            writers = connection._writing.statistics
            await until(lambda: writers().tasks_waiting)
            await trio.sleep(0.2)
            with trio.fail_after(10):
                await b.disconnect(peer_id)
        assert b.connected_peers() == frozenset()


async def test_leaving_the_host_is_not_held_up_by_a_peer_that_stops_reading(
    monkeypatch,
):
    monkeypatch.setattr(connection_module, "WRITE_STALL_S", 1)
    with trio.fail_after(30):
        async with peer_process() as (process, address), hosts(1) as (b,):
            peer_id = await b.connect([address])
            stream = await b.open_stream(peer_id, "/nunet/test-hold/1")
            process.send_signal(signal.SIGSTOP)
            # The frame that hangs half sent is given up before long.
            with trio.move_on_after(0.2), suppress(StreamBroken):
                await stream.send_raw(b"x" * 20_000_000)
    assert b.connected_peers() == frozenset()
