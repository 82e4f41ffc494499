"""Asking a peer for blocks on a stream, and answering: the words of `/nunet/blocks/1`.

After the frames of `Want`, each naming some blocks, come the answers in their order:
a frame that says how many bytes follow, then those bytes as they are; or a frame that
says no. Several requests may be on their way at once.

Rule: no is one answer: what is absent and what is not for this peer cannot be told
apart, and the disk is not asked before the grant is.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import islice
from typing import Annotated, ClassVar, Final

import msgspec
import trio

from nunet_node.errors import PeerError
from nunet_node.network.stream import Stream
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockDamagedError, BlockMissingError
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import BLOCK_BYTES_MAX, BLOCK_DECODE_BYTES_MAX
from nunet_node.wire.schema import Record, decode_record, encode_record

WANT_CIDS_MAX: Final = 256
"""Blocks in one request: some ten kilobytes of ids for up to 256 MiB of answers."""

REQUESTS_IN_FLIGHT: Final = 4
"""Requests sent before the first is answered, so that the sender never waits."""

STALL_S: Final = 60
"""How long a sender may send nothing: a large block's turn on a slow disk fits in."""

FRAME_BYTES_MAX: Final = 16_384
"""Largest frame of this protocol: a full request has eleven kilobytes."""


class Want(Record, tag_field="kind", tag="want"):
    """Ask for blocks."""

    cids: Annotated[
        tuple[Cid, ...], msgspec.Meta(min_length=1, max_length=WANT_CIDS_MAX)
    ]


class Block(Record, tag_field="kind", tag="block"):
    """A block's bytes follow."""

    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=BLOCK_DECODE_BYTES_MAX)]


class No(Record, tag_field="kind", tag="no"):
    """There is nothing here for you."""


class BlockRefusedError(PeerError):
    """The peer has no such block for us."""

    code: ClassVar[str] = "blocks.refused"


class BlockProtocolError(PeerError):
    """The peer broke the rules of the block protocol."""

    code: ClassVar[str] = "blocks.protocol"


class TransferEndedError(BlockProtocolError):
    """The peer ended before it had answered; asking it anew may go on from there."""

    code: ClassVar[str] = "blocks.ended"


def load_block(
    store: BlockStore, cid: Cid, allowed: Callable[[Cid], bool]
) -> bytes | None:
    """Return a block for a peer, checked; None if it is absent or not for them.

    Whether it is for them is asked first, and the disk only then. Blocks on the disk.
    """
    if not allowed(cid):
        return None
    try:
        return store.get_for_peer(cid)
    except (BlockMissingError, BlockDamagedError):
        return None


async def answer(
    stream: Stream,
    want: Want,
    allowed: Callable[[Cid], bool],
    store: BlockStore,
    room: AbstractAsyncContextManager[object] | None = None,
) -> None:
    """Answer one request.

    Args:
        stream: where it came from.
        want: the request.
        allowed: tells whether the peer may have a block; runs in a thread.
        store: where the blocks are.
        room: is entered for each block, if there is not room for all who ask.
    """
    for cid in want.cids:
        async with room or nullcontext():
            data = await trio.to_thread.run_sync(load_block, store, cid, allowed)
            if data is None:
                await stream.send(encode_record(No()))
            else:
                await stream.send(encode_record(Block(size_bytes=len(data))))
                await stream.send_raw(data)


async def request(
    stream: Stream, cids: Sequence[Cid]
) -> AsyncGenerator[tuple[Cid, bytes], None]:
    """Ask for blocks, and yield them in order.

    Raises:
        BlockRefusedError: the peer has one of them not, or not for us.
        PeerError: as `receive_answer`.
    """
    requests = list(_pieces(cids, WANT_CIDS_MAX // REQUESTS_IN_FLIGHT))
    for request in requests[:REQUESTS_IN_FLIGHT]:
        await stream.send(encode_record(Want(cids=request)))
    for number, request in enumerate(requests):
        for cid in request:
            yield cid, await _take_block(stream, cid)
        following = number + REQUESTS_IN_FLIGHT
        if following < len(requests):
            await stream.send(encode_record(Want(cids=requests[following])))


async def _take_block(stream: Stream, cid: Cid) -> bytes:
    said = await receive_answer(stream)
    if isinstance(said, No):
        raise BlockRefusedError(f"{stream.peer_id} has no block {cid} for us")
    return await receive_bytes(stream, said.size_bytes)


async def receive_answer(stream: Stream) -> Block | No:
    """Return what a peer says before a block's bytes, or that there are none.

    Raises:
        BlockProtocolError: it ended, or says nothing for `STALL_S`.
        PeerError: it says something else.
    """
    with trio.move_on_after(STALL_S) as patience:
        data = await stream.receive()
    if patience.cancelled_caught:
        raise BlockProtocolError(f"the peer sent nothing for {STALL_S} s")
    if data is None:
        raise TransferEndedError("the peer ended the transfer early")
    said: Block | No = decode_record(Block | No, data, bytes_max=FRAME_BYTES_MAX)
    return said


async def receive_bytes(stream: Stream, size_bytes: int) -> bytes:
    """Return so many raw bytes; raises as `receive_answer`."""
    taken = bytearray()
    while len(taken) < size_bytes:
        rest_bytes = min(size_bytes - len(taken), BLOCK_BYTES_MAX)
        data = b""
        with trio.move_on_after(STALL_S):
            data = await stream.receive_some(rest_bytes)
        if not data:
            raise TransferEndedError("the peer ended the transfer within a block")
        taken += data
    return bytes(taken)


def _pieces(cids: Iterable[Cid], length: int) -> Iterator[tuple[Cid, ...]]:
    rest = iter(cids)
    while piece := tuple(islice(rest, length)):
        yield piece
