"""Frames on a stream: a 4-byte big-endian length, then that many bytes.

Rule: a length over the limit is refused as soon as it is read, before anything of
the frame is buffered.
"""

from nunet_node.errors import MisuseError
from nunet_node.wire.errors import TooLargeError, TruncatedError
from nunet_node.wire.limits import FRAME_BYTES_MAX, FRAME_PREFIX_BYTES


def frame(data: bytes) -> bytes:
    """Return the bytes that carry this frame.

    Raises:
        MisuseError: it is larger than `FRAME_BYTES_MAX`.
    """
    if len(data) > FRAME_BYTES_MAX:
        raise MisuseError(f"a frame of {len(data)} bytes; at most {FRAME_BYTES_MAX}")
    return len(data).to_bytes(FRAME_PREFIX_BYTES, "big") + data


class FrameReader:
    """Turns what a stream brings, in any pieces, into frames."""

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that these bytes complete, in order.

        Raises:
            TooLargeError: the next frame is announced as larger than the limit. The
                reader is of no use afterwards.
        """
        self._buffer += data
        frames: list[bytes] = []
        start = 0
        while (stop := self._frame_end(start)) is not None:
            frames.append(bytes(self._buffer[start + FRAME_PREFIX_BYTES : stop]))
            start = stop
        del self._buffer[:start]
        return frames

    def finish(self) -> None:
        """Check that the stream did not end within a frame.

        Raises:
            TruncatedError: it did.
        """
        if self._buffer:
            raise TruncatedError("the stream ended within a frame")

    def _frame_end(self, start: int) -> int | None:
        body = start + FRAME_PREFIX_BYTES
        if len(self._buffer) < body:
            return None
        length = int.from_bytes(self._buffer[start:body], "big")
        if length > self._bytes_max:
            raise TooLargeError(
                f"a frame of {length} bytes; at most {self._bytes_max} belong here"
            )
        return body + length if len(self._buffer) >= body + length else None
