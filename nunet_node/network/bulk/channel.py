"""One bulk connection, used by one thread that waits.

Rule: every call ends by a deadline of its own, however slowly the peer sends or
reads; whoever cuts the channel from another thread ends what it waits for. Nothing is
given out that did not open (`records`). A thread and large pieces, because a turn of
an event loop for each small one costs more than all the rest.
"""

import socket
import time
from contextlib import suppress
from typing import Final

import trio

from nunet_node.errors import MisuseError
from nunet_node.network.bulk.records import (
    HEADER_BYTES,
    RECORD_BYTES_MAX,
    TAG_BYTES,
    RecordError,
    Sealing,
)
from nunet_node.network.stream import StreamBroken
from nunet_node.wire.errors import TooLargeError
from nunet_node.wire.limits import BLOCK_BYTES_MAX, BLOCK_DECODE_BYTES_MAX

STALL_S: Final = 60
"""Longest that one record may take to come or to leave."""

FRAME_BYTES_MAX: Final = 16_384
"""Largest frame here: a full request of blocks has eleven kilobytes."""

_WORD_BYTES: Final = 64
"""What is said before a block, and no more."""


GREETING_BYTES: Final = HEADER_BYTES + TAG_BYTES
"""An empty record, by which whoever comes shows that they know the key."""


class Channel:
    """A bulk connection, from either side.

    Args:
        bare: its socket, in nobody else's hands.
        key: the ticket's key.
        door: whether this is the side of the door.
    """

    def __init__(self, bare: socket.socket, key: bytes, *, door: bool) -> None:
        self._socket = bare
        self._sends = Sealing(key, outward=door)
        self._receives = Sealing(key, outward=not door)
        self._going = memoryview(bytearray(_room(BLOCK_BYTES_MAX) + _room(_WORD_BYTES)))
        self._coming = memoryview(bytearray(_room(BLOCK_BYTES_MAX)))

    def send(self, *records: bytes | memoryview, within_s: float = STALL_S) -> None:
        """Send frames, or blocks' bytes, each as one record, and all at once.

        Raises:
            StreamBroken: the connection was lost, or the peer does not read.
        """
        if max(map(len, records)) > BLOCK_DECODE_BYTES_MAX:
            raise MisuseError(f"a record of {max(map(len, records))} bytes")
        room = sum(_room(len(each)) for each in records)
        if len(self._going) < room:
            self._going = memoryview(bytearray(room))
        size = 0
        for each in records:
            size += self._sends.seal(each, self._going[size:])
        send_all(self._socket, self._going[:size], within_s)

    def receive_into(self, place: memoryview, *, within_s: float = STALL_S) -> None:
        """Take the next record, which must be as long as this place.

        Raises:
            RecordError: it is not, or does not open.
            StreamBroken: the connection was lost or ended, or the peer is too slow.
        """
        header = self._header(within_s)
        if header is None:
            raise StreamBroken("the bulk connection ended early")
        if _length(header) != len(place):
            raise RecordError(f"{_length(header)} bytes came, not {len(place)}")
        self._open(header, place, within_s)

    def receive_frame(self, *, within_s: float = STALL_S) -> bytes | None:
        """Return the next frame, or None once the peer has ended.

        Raises:
            TooLargeError: it is announced larger than `FRAME_BYTES_MAX`.
            RecordError: it does not open.
            StreamBroken: as `receive_into`.
        """
        header = self._header(within_s)
        if header is None:
            return None
        length = _length(header)
        if length > FRAME_BYTES_MAX:
            raise TooLargeError(
                f"a frame of {length} bytes; at most {FRAME_BYTES_MAX} belong here"
            )
        data = bytearray(length)
        self._open(header, memoryview(data), within_s)
        return bytes(data)

    def take_greeting(self, record: bytes) -> None:
        """Take the first record of whoever came, which is empty.

        Raises:
            RecordError: they do not know the key.
        """
        header, sealed = record[:HEADER_BYTES], memoryview(record)[HEADER_BYTES:]
        if _length(header):
            raise RecordError("a greeting that is not empty")
        self._receives.open(header, sealed, memoryview(bytearray()))

    def cut(self) -> None:
        """End the connection at once, from any thread; its thread's calls fail."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back; only when no thread uses it any more."""
        self.cut()
        self._socket.close()

    def _header(self, within_s: float) -> bytes | None:
        header = bytearray(HEADER_BYTES)
        if not fill(self._socket, memoryview(header), within_s):
            return None
        if not 0 <= _length(header) <= RECORD_BYTES_MAX - TAG_BYTES:
            raise RecordError(f"a record of {_length(header)} bytes")
        return bytes(header)

    def _open(self, header: bytes, place: memoryview, within_s: float) -> None:
        size = len(place) + TAG_BYTES
        if len(self._coming) < size:
            self._coming = memoryview(bytearray(size))
        sealed = self._coming[:size]
        if not fill(self._socket, sealed, within_s):
            raise StreamBroken("the bulk connection ended within a record")
        self._receives.open(header, sealed, place)


def send_all(bare: socket.socket, data: memoryview | bytes, within_s: float) -> None:
    """Send bytes as they are; raises as `Channel.send`."""
    end_s = time.monotonic() + within_s
    rest = memoryview(data)
    try:
        while rest:
            _wait_until(bare, end_s)
            rest = rest[bare.send(rest) :]
    except OSError as error:
        raise StreamBroken(f"the bulk connection was lost: {error}") from None


def fill(bare: socket.socket, place: memoryview, within_s: float) -> bool:
    """Fill a place with bytes; tell False at the peer's end before the first.

    Raises:
        StreamBroken: the connection was lost, ended on the way, or is too slow.
    """
    end_s = time.monotonic() + within_s
    filled = 0
    try:
        while filled < len(place):
            _wait_until(bare, end_s)
            taken = bare.recv_into(place[filled:])
            if not taken:
                break
            filled += taken
    except OSError as error:
        raise StreamBroken(f"the bulk connection was lost: {error}") from None
    if 0 < filled < len(place):
        raise StreamBroken("the bulk connection ended within a record")
    return filled == len(place)


def own_socket(theirs: trio.SocketStream) -> socket.socket:
    """Take a socket out of trio's hands, for a thread."""
    inner = theirs.socket
    kind, family = inner.type, inner.family
    return socket.socket(family, kind, fileno=inner.detach())


def _wait_until(bare: socket.socket, end_s: float) -> None:
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise StreamBroken("the peer at the bulk connection is too slow")
    bare.settimeout(left_s)


def _room(size_bytes: int) -> int:
    return HEADER_BYTES + size_bytes + TAG_BYTES


def _length(header: bytes | bytearray) -> int:
    return int.from_bytes(header, "big") - TAG_BYTES
