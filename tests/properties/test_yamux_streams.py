"""Whatever is sent on yamux streams arrives: all of it, in order, on its stream."""

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from nunet_node.network.libp2p.connection import YamuxConnection


class Line:
    """An encrypted connection, as far as yamux needs one, cut into odd pieces."""

    def __init__(self, stream, piece_bytes):
        self._stream = stream
        self._piece_bytes = piece_bytes

    async def read(self, n=None):
        return await self._stream.receive_some(self._piece_bytes)

    def begin(self, data):
        return data

    async def finish(self, data):
        await self._stream.send_all(data)


async def exchange(payloads, piece_bytes):
    """Send each payload on a stream of its own; return what arrived, by stream."""
    here, there = trio.testing.memory_stream_pair()
    ours = YamuxConnection(Line(here, piece_bytes), "them", is_initiator=True)
    theirs = YamuxConnection(Line(there, piece_bytes), "us", is_initiator=False)
    arrived = {}

    async def take(stream):
        data = bytearray()
        try:
            while True:
                data += await stream.read(50_000)
        except EOFError:
            arrived[stream.stream_id] = bytes(data)
            await stream.close()

    async def give(parts):
        stream = await ours.open_stream()
        for part in parts:
            await stream.write(part)
        await stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.start)
        nursery.start_soon(theirs.start)
        async with trio.open_nursery() as transfers:
            for parts in payloads:
                transfers.start_soon(give, parts)
            for _ in payloads:
                transfers.start_soon(take, await theirs.accept_stream())
        await trio.testing.wait_all_tasks_blocked()
        left = (ours.streams, theirs.streams)
        buffered = (ours.buffered_bytes, theirs.buffered_bytes)
        await here.aclose()
        await there.aclose()
    return arrived, left, buffered


@settings(max_examples=30)
@given(
    payloads=st.lists(
        st.lists(
            st.builds(
                lambda letter, size: bytes([letter]) * size,
                st.integers(0, 255),
                st.one_of(st.integers(0, 100), st.integers(60_000, 200_000)),
            ),
            max_size=3,
        ),
        min_size=1,
        max_size=3,
    ),
    piece_bytes=st.sampled_from([7, 12, 1_448, 65_536]),
)
def test_what_is_sent_arrives_and_nothing_is_left(payloads, piece_bytes):
    if sum(len(part) for parts in payloads for part in parts) > 1000:
        piece_bytes = max(piece_bytes, 1_448)
    arrived, left, buffered = trio.run(exchange, payloads, piece_bytes)
    assert sorted(arrived.values()) == sorted(map(b"".join, payloads))
    assert left == ({}, {})
    assert buffered == (0, 0)
