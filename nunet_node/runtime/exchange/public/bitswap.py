"""Serving public blocks by Bitswap 1.2, so that any IPFS node can fetch them.

A peer's wants come on streams that it opens; what is said to them goes on streams that
are opened towards it, as the specification has it. Rule: private blocks do not exist
here, and what is not public gets one answer. A peer is answered one message at a time.
"""

import logging
from collections.abc import Iterator
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.network.port import Host
from nunet_node.network.stream import Stream
from nunet_node.runtime.exchange.public.messages import (
    BitswapError,
    Reply,
    Wanted,
    encode,
    read_varint,
    read_wants,
)
from nunet_node.runtime.exchange.public.shelf import Shelf

PROTOCOL: Final = "/ipfs/bitswap/1.2.0"

MESSAGE_BYTES_MAX: Final = 1 << 20
"""Longest message that is read: wants of a thousand blocks take a twentieth."""

REPLY_BYTES: Final = 1 << 20
"""Bytes of blocks after which another message begins; readers take up to four MiB."""

STREAMS_PER_PEER_MAX: Final = 4
"""Streams of wants that one peer may have open: Kubo has one at a time."""

STREAMS_MAX: Final = 64
"""Of all peers together; each may hold a message and a few blocks in memory."""

IDLE_S: Final = 60
"""How long a peer may leave a stream without a message."""

_log = logging.getLogger("nunet_node.runtime.exchange.public")


class BitswapServer:
    """Answers whoever wants public blocks."""

    def __init__(self, host: Host, shelf: Shelf) -> None:
        self._host = host
        self._shelf = shelf
        self._streams: dict[str, int] = {}
        self._turns: dict[str, trio.Lock] = {}

    def serve(self) -> None:
        """Let peers want something."""
        self._host.serve(PROTOCOL, self._serve)

    async def _serve(self, stream: Stream) -> None:
        peer_id = stream.peer_id
        open_now = self._streams.get(peer_id, 0)
        if (
            open_now >= STREAMS_PER_PEER_MAX
            or sum(self._streams.values()) >= STREAMS_MAX
        ):
            await stream.reset()
            return
        self._streams[peer_id] = open_now + 1
        turn = self._turns.setdefault(peer_id, trio.Lock())
        try:
            while (message := await _receive(stream)) is not None:
                wants = read_wants(message)
                async with turn:
                    await self._answer(peer_id, wants)
        finally:
            self._streams[peer_id] -= 1
            if not self._streams[peer_id]:
                del self._streams[peer_id], self._turns[peer_id]

    async def _answer(self, peer_id: str, wants: tuple[Wanted, ...]) -> None:
        replies = self._replies(wants)
        first = await trio.to_thread.run_sync(next, replies, None)
        if first is None:
            return
        try:
            async with await self._host.open_stream(peer_id, PROTOCOL) as stream:
                reply: bytes | None = first
                while reply is not None:
                    await stream.send_raw(reply)
                    reply = await trio.to_thread.run_sync(next, replies, None)
        except PeerError as error:
            _log.info("%s does not take what it wanted: %s", peer_id, error)

    def _replies(self, wants: tuple[Wanted, ...]) -> Iterator[bytes]:
        """Yield messages that answer some wants; reads the disk."""
        have, lack = [], []
        blocks: list[tuple[bytes, bytes]] = []
        waiting_bytes = 0
        for want in wants:
            data = self._shelf.get(want.cid) if want.block else None
            if data is not None:
                blocks.append((want.cid, data))
                waiting_bytes += len(data)
                if waiting_bytes >= REPLY_BYTES:
                    yield encode(Reply(blocks=blocks))
                    blocks, waiting_bytes = [], 0
            elif not want.block and self._shelf.has(want.cid):
                have.append(want.cid)
            elif want.tell_absence:
                lack.append(want.cid)
        if blocks or have or lack:
            yield encode(Reply(blocks=blocks, have=have, lack=lack))


async def _receive(stream: Stream) -> bytes | None:
    """Return the next message of a stream, or None at its end.

    Raises:
        BitswapError: it is too long, or ends on the way.
    """
    try:
        with trio.fail_after(IDLE_S):
            return await _receive_now(stream)
    except trio.TooSlowError:
        return None


async def _receive_now(stream: Stream) -> bytes | None:
    head = b""
    while (found := read_varint(head, 0)) is None:
        byte = await stream.receive_some(1)
        if not byte:
            if head:
                raise BitswapError("a message that ends in its length")
            return None
        head += byte
    length = found[0]
    if length > MESSAGE_BYTES_MAX:
        raise BitswapError(
            f"a message of {length} bytes; at most {MESSAGE_BYTES_MAX} belong here"
        )
    message = bytearray()
    while len(message) < length:
        part = await stream.receive_some(length - len(message))
        if not part:
            raise BitswapError("a message that ends early")
        message += part
    return bytes(message)
