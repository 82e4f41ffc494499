"""One conversation between two peers: frames, or raw bytes, both ways.

Rule: a frame is sent whole or the stream is reset, by one writer at a time (N4: two
writers on one py-libp2p stream interleave their bytes); a frame's length is judged
before anything of it is buffered. The framing is `wire.framing`'s; it is read here
byte by byte because raw bytes may follow a frame on the same stream, and a reader
that had taken them in could not give them back.
"""

from types import TracebackType
from typing import Final, Protocol, Self

import trio

from nunet_node.errors import MisuseError, PeerError
from nunet_node.wire.errors import TooLargeError
from nunet_node.wire.framing import frame
from nunet_node.wire.limits import FRAME_BYTES_MAX, FRAME_PREFIX_BYTES

READ_BYTES: Final = 65_536
"""Most bytes taken from the stream at once: a yamux frame, the best size measured."""

SEND_S: Final = 10
"""Longest that one frame may wait for the peer to read on. Cancellation waits for the
frame, so a peer must not be able to hold it up for long."""

CLOSE_S: Final = 2
"""Longest that leaving a stream may take while the peer does not read."""


class StreamBroken(PeerError):  # noqa: N818 - a fact about the stream
    """The stream was reset, or its connection was lost, before its proper end."""

    code = "network.stream"


class ByteStream(Protocol):
    """What a transport provides: bytes in order, and two ways to end."""

    async def read(self, bytes_max: int) -> bytes:
        """Return at least one byte, or none at the peer's proper end."""

    async def write(self, data: bytes) -> None:
        """Send these bytes; raises `StreamBroken` if they cannot all be sent."""

    async def finish(self) -> None:
        """End our direction; the peer reads an end, and may still send."""

    async def reset(self) -> None:
        """Drop both directions at once."""


class Stream:
    """A stream with its peer. One task may send and another receive at a time.

    What is not received makes the sender wait: frames for `SEND_S` at most, raw bytes
    for a minute. So take bulk data to disk as it comes, and look at it later.
    """

    def __init__(self, peer_id: str, protocol: str, transport: ByteStream) -> None:
        self.peer_id = peer_id
        self.protocol = protocol
        self._transport = transport
        self._buffer = bytearray()
        self._writing = trio.Lock()
        self._finished = False
        self._broken = False
        self._ended = False

    async def send(self, data: bytes) -> None:
        """N4: send one frame, whole, whoever else sends; cancellation waits for it.

        Raises:
            MisuseError: it is over `FRAME_BYTES_MAX`, or we have finished.
            StreamBroken: it was reset, the peer is gone, or it did not read on
                within `SEND_S`; then the stream is reset.
        """
        self._check_open()
        framed = frame(data)
        async with self._writing:
            # Half a frame would make every later byte meaningless to the reader.
            deadline = trio.current_time() + SEND_S
            with trio.CancelScope(shield=True, deadline=deadline) as patience:
                await self._transport.write(framed)
        if patience.cancelled_caught:
            await self.reset()
            raise StreamBroken(f"the peer did not read on within {SEND_S} s")

    async def send_raw(self, data: bytes) -> None:
        """Send bytes without a frame. A cancelled call resets the stream.

        Raises:
            MisuseError: we have finished.
            StreamBroken: it was reset, the peer is gone, or did not read for a minute.
        """
        self._check_open()
        async with self._writing:
            try:
                await self._transport.write(data)
            except trio.Cancelled:
                # Nobody knows how much was sent, so nothing may follow it.
                await self.reset()
                raise

    async def receive(self) -> bytes | None:
        """Return the next frame, or None once the peer has finished.

        A cancelled call loses nothing: the next one goes on.

        Raises:
            TooLargeError: the frame is announced larger than `FRAME_BYTES_MAX`;
                the stream is of no use afterwards.
            StreamBroken: the stream ended before its proper end, or within a frame.
        """
        if not await self._fill(FRAME_PREFIX_BYTES):
            return None
        length = int.from_bytes(self._buffer[:FRAME_PREFIX_BYTES], "big")
        if length > FRAME_BYTES_MAX:
            await self.reset()
            raise TooLargeError(
                f"a frame of {length} bytes; at most {FRAME_BYTES_MAX} belong here"
            )
        stop = FRAME_PREFIX_BYTES + length
        await self._fill(stop)
        data = bytes(self._buffer[FRAME_PREFIX_BYTES:stop])
        del self._buffer[:stop]
        return data

    async def receive_some(self, bytes_max: int = READ_BYTES) -> bytes:
        """Return some raw bytes, or none once the peer has finished.

        Raises:
            StreamBroken: the stream ended before its proper end.
        """
        if self._buffer:
            data = bytes(self._buffer[:bytes_max])
            del self._buffer[:bytes_max]
            return data
        return b"" if self._ended else await self._transport.read(bytes_max)

    async def finish(self) -> None:
        """End our direction: the peer receives None. Receiving goes on."""
        if not (self._finished or self._broken):
            self._finished = True
            async with self._writing:
                with trio.CancelScope(shield=True):
                    await self._transport.finish()

    async def reset(self) -> None:
        """Drop the stream: both sides get `StreamBroken` from now on."""
        self._broken = True
        with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_S):
            await self._transport.reset()

    async def __aenter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish after a clean block; reset after any exception."""
        if kind is not None:
            await self.reset()
            return
        try:
            with trio.fail_after(CLOSE_S):
                await self.finish()
        except (StreamBroken, trio.TooSlowError):
            await self.reset()

    def _check_open(self) -> None:
        if self._broken:
            raise StreamBroken("the stream was reset")
        if self._finished:
            raise MisuseError("sending on a stream that we have finished")

    async def _fill(self, wanted: int) -> bool:
        """Buffer this many bytes; tell False at a proper end before the first."""
        while len(self._buffer) < wanted:
            data = b"" if self._ended else await self._transport.read(READ_BYTES)
            if not data:
                self._ended = True
                if self._buffer:
                    raise StreamBroken("the stream ended within a frame")
                return False
            self._buffer += data
        return True
