"""One yamux stream: what has arrived, what may be sent, and how it ended.

Rule: what a stream ended with is never in doubt: the peer's end, a reset and a lost
connection are three different things (Y3), and what arrived before is still to be
read (Y4). Credit is granted as the reader reads, in few and large grants (W2); a
sender waits for it without polling, and as long as the peer is alive (C2). Source:
the yamux specification, section "Flow control".
"""

import struct
from typing import Final, Protocol, Self

import trio
from libp2p.abc import IMuxedStream
from libp2p.stream_muxer.exceptions import (
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamReset,
)

from nunet_node.errors import MisuseError

WINDOW_BYTES: Final = 262_144
"""What a stream may hold unread at first; the specification's number."""

WINDOW_BYTES_MAX: Final = 1_048_576
"""What it may hold once its reader has proved fast: enough to fill 100 Mbit/s over
80 ms, and a bound to what one stream can make us keep."""

GROW_WITHIN_S: Final = 0.2
"""A reader that takes half a window in this time is held up by the window, not by
itself, so the window grows."""

FRAME_BODY_BYTES: Final = 64_000
"""Data in one frame: with its header, and some queued ones, one noise message."""

SOON_BYTES_MAX: Final = 16_384
"""Data that is queued instead of waited for: a message of the protocols, not a piece
of a large block, whose sender shall not run ahead of the socket."""

CREDIT_S: Final = 60
"""Longest that a sender waits for the peer to read on."""

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
HEADER: Final = struct.Struct("!BBHII")
"""Version, kind, flags, stream, and the data's length or a value."""


class Carrier(Protocol):
    """What a stream asks of the connection that it runs on."""

    buffered_bytes: int
    """What all its streams hold unread."""

    async def write_frame(self, frame: bytes) -> None:
        """Send one frame, whole, after what is queued."""
        ...

    def queue_frame(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        """Let a short frame leave soon."""
        ...

    def queue_data(self, frame: bytes) -> bool:
        """Let a frame of data leave soon; False if it is to wait its turn."""
        ...

    def forget(self, stream_id: int) -> None:
        """Drop a stream that is over in both directions."""
        ...

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return where the peer is."""
        ...


class YamuxStream(IMuxedStream):  # type: ignore[misc] # the library is untyped
    """One stream, from our side."""

    def __init__(self, conn: Carrier, stream_id: int) -> None:
        self.muxed_conn = conn
        self.stream_id = stream_id
        self._buffer = bytearray()
        self._window_bytes = WINDOW_BYTES
        self._grantable_bytes = WINDOW_BYTES
        self._consumed_bytes = 0
        self._granted_at_s = trio.current_time()
        self._credit_bytes = WINDOW_BYTES
        self._finished = False
        self.ended = False
        self._broken: str | None = None
        self._changed = trio.Event()

    @property
    def has_unread(self) -> bool:
        """Tell whether something has arrived that was not read yet."""
        return bool(self._buffer)

    async def read(self, n: int | None = None) -> bytes:
        """Y3: return what has arrived, at most ``n`` bytes, waiting for the first.

        Raises:
            MuxedStreamEOF: the peer has ended its direction, and all of it was read.
            MuxedStreamReset: the stream was reset or its connection lost, and all
                that arrived before was read.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._buffer:
            if self.ended:
                raise MuxedStreamEOF("the peer has ended the stream")
            if self._broken:
                raise MuxedStreamReset(self._broken)
            await self._changed.wait()
        stop = len(self._buffer) if n is None or n < 0 else n
        data = bytes(self._buffer[:stop])
        del self._buffer[:stop]
        self.muxed_conn.buffered_bytes -= len(data)
        self._grant(len(data))
        return data

    async def write(self, data: bytes) -> None:
        """C2: send all of this, and wait for the peer as long as `CREDIT_S`.

        A cancelled call may have sent a part.

        Raises:
            MuxedStreamClosed: we have ended our direction.
            MuxedStreamReset: the stream was reset, its connection lost, or the peer
                granted nothing for `CREDIT_S`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        view = memoryview(data)
        while view:
            await self._wait_for_credit()
            size = min(len(view), self._credit_bytes, FRAME_BODY_BYTES)
            self._credit_bytes -= size
            frame = HEADER.pack(0, DATA, 0, self.stream_id, size) + view[:size]
            view = view[size:]
            if size > SOON_BYTES_MAX or not self.muxed_conn.queue_data(frame):
                await self._write_in_turn(frame, size)
            if view:
                # A large piece must not keep everybody else waiting.
                await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        """End our direction; reading goes on."""
        if not self._finished and self._broken is None:
            self._finished = True
            self._say(FIN)
            self._forget_if_over()

    async def reset(self) -> None:
        """Drop both directions."""
        if self._broken is None:
            if not (self._finished and self.ended):
                self._say(RST)
            self.break_off("the stream was reset here")

    def set_deadline(self, ttl: int) -> bool:
        """Refuse, as misuse: cancel scopes do this."""
        raise MisuseError(f"no deadline of {ttl} s is kept here: use a cancel scope")

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return where the peer is."""
        remote: tuple[str, int] | None = self.muxed_conn.get_remote_address()
        return remote

    async def __aenter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End our direction."""
        await self.close()

    def take_in(self, body: bytes) -> bool:
        """Y1: keep what arrived; tell False if it is more than was granted."""
        self._grantable_bytes -= len(body)
        if self._broken is None and not self.ended:
            self._buffer += body
            self.muxed_conn.buffered_bytes += len(body)
            self._stir()
        return self._grantable_bytes >= 0

    def add_credit(self, size: int) -> None:
        """Take note that the peer will take in this much more."""
        self._credit_bytes += size
        self._stir()

    def end(self) -> None:
        """Take note that the peer has ended its direction."""
        self.ended = True
        self._stir()
        self._forget_if_over()

    def break_off(self, why: str, *, keep: bool = False) -> None:
        """Take note that nothing more will come; ``keep`` what came before."""
        if self._broken is None:
            self._broken = why
        if not keep:
            self.ended = False
            self.muxed_conn.buffered_bytes -= len(self._buffer)
            self._buffer.clear()
        self._stir()
        self.muxed_conn.forget(self.stream_id)

    async def _write_in_turn(self, frame: bytes, size: int) -> None:
        try:
            await self.muxed_conn.write_frame(frame)
        except trio.Cancelled:
            # It was still waiting its turn: nothing of it has left.
            self._credit_bytes += size
            raise

    async def _wait_for_credit(self) -> None:
        if self._credit_bytes and not (self._broken or self._finished):
            return
        with trio.move_on_after(CREDIT_S) as patience:
            while self._credit_bytes == 0 and self._broken is None:
                await self._changed.wait()
        if patience.cancelled_caught:
            raise MuxedStreamReset(f"the peer read nothing for {CREDIT_S} s")
        if self._broken is not None:
            raise MuxedStreamReset(self._broken)
        if self._finished:
            raise MuxedStreamClosed("we have ended the stream")

    def _grant(self, size: int) -> None:
        """W2: let the peer send again what was read, in few and large grants."""
        self._consumed_bytes += size
        if self._consumed_bytes * 2 < self._window_bytes or self.ended:
            return
        grant = self._consumed_bytes
        now_s = trio.current_time()
        if now_s - self._granted_at_s < GROW_WITHIN_S:
            grown = min(self._window_bytes * 2, WINDOW_BYTES_MAX)
            grant += grown - self._window_bytes
            self._window_bytes = grown
        self._granted_at_s = now_s
        self._consumed_bytes = 0
        self._grantable_bytes += grant
        self._say(0, grant)

    def _say(self, flags: int, value: int = 0) -> None:
        self.muxed_conn.queue_frame(WINDOW_UPDATE, flags, self.stream_id, value)

    def _forget_if_over(self) -> None:
        if self._finished and self.ended:
            self.muxed_conn.forget(self.stream_id)

    def _stir(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
