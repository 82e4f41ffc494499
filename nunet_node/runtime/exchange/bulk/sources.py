"""Taking blocks from one peer: by a bulk connection in a thread, or by a stream.

Rule: each asks ahead and takes the answers in their order; a block of another length
than was asked for is found out before it is read. What a peer has not is asked of
others; what it sends wrong ends it.
"""

from collections import deque
from collections.abc import Iterable

import trio

from nunet_node.network.bulk.channel import Channel
from nunet_node.network.stream import Stream
from nunet_node.results.errors import BlockError
from nunet_node.results.plan import WantedBlock
from nunet_node.runtime.exchange.bulk.haul import AHEAD_BLOCKS, Haul
from nunet_node.runtime.exchange.requests import (
    FRAME_BYTES_MAX,
    Block,
    No,
    TransferEndedError,
    Want,
    receive_answer,
    receive_bytes,
)
from nunet_node.wire.schema import decode_record, encode_record


def haul_from_channel(channel: Channel, source: str, haul: Haul) -> None:
    """Take blocks from a bulk connection until nothing is lacking. Blocks.

    Raises:
        StreamBroken: the connection was lost.
        PeerError: the peer sent something else than was asked for.
    """
    asked: deque[WantedBlock] = deque()
    while True:
        while len(asked) < AHEAD_BLOCKS:
            more = haul.take(source, wait=not asked)
            if not more:
                break
            channel.send(_want(more))
            asked.extend(more)
        if not asked:
            return
        wanted = asked.popleft()
        data = channel.receive_frame()
        if data is None:
            raise TransferEndedError("the peer ended the transfer early")
        said: Block | No = decode_record(Block | No, data, bytes_max=FRAME_BYTES_MAX)
        if isinstance(said, No):
            haul.refused(source, wanted)
            continue
        _check_length(said, wanted)
        place = memoryview(bytearray(wanted.size_bytes))
        channel.receive_into(place)
        haul.keep(wanted, place)


async def haul_from_stream(stream: Stream, source: str, haul: Haul) -> None:
    """Take blocks from a libp2p stream until nothing is lacking; raises as above."""
    asked: deque[WantedBlock] = deque()
    while True:
        while len(asked) < AHEAD_BLOCKS:
            more = await _take(source, haul, wait=not asked)
            if not more:
                break
            await stream.send(_want(more))
            asked.extend(more)
        if not asked:
            return
        wanted = asked.popleft()
        said = await receive_answer(stream)
        if isinstance(said, No):
            haul.refused(source, wanted)
            continue
        _check_length(said, wanted)
        data = await receive_bytes(stream, wanted.size_bytes)
        await trio.to_thread.run_sync(haul.keep, wanted, data)


async def _take(source: str, haul: Haul, *, wait: bool) -> tuple[WantedBlock, ...]:
    taken = haul.take(source, wait=False)
    if taken or not wait:
        return taken
    return await trio.to_thread.run_sync(lambda: haul.take(source, wait=True))


def _want(blocks: Iterable[WantedBlock]) -> bytes:
    return encode_record(Want(cids=tuple(block.cid for block in blocks)))


def _check_length(said: Block, wanted: WantedBlock) -> None:
    if said.size_bytes != wanted.size_bytes:
        raise BlockError(
            f"block {wanted.cid} has {said.size_bytes} bytes, not {wanted.size_bytes}"
        )
