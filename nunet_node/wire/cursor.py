"""Read CBOR heads one after the other, and only in their shortest form.

Rule: no length is believed before it is compared with the bytes that are left, so
a lie about a length costs nothing (RFC 8949, sections 3 and 4.2.1).
"""

from typing import Final

from nunet_node.wire.errors import (
    EnvelopeError,
    NonCanonicalError,
    TruncatedError,
    UnsupportedError,
)

UINT: Final = 0
NEGATIVE: Final = 1
BYTES: Final = 2
TEXT: Final = 3
ARRAY: Final = 4
MAP: Final = 5
TAG: Final = 6
SIMPLE: Final = 7

_ONE_BYTE: Final = 24
_RESERVED: Final = 28
_SHORTEST_MIN: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}


class Cursor:
    """A place in some bytes, moving forward only."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.end = len(data)
        self.position = 0

    def head(self) -> tuple[int, int]:
        """Return the next item's major type and its argument.

        Raises:
            TruncatedError: the bytes end within the head.
            NonCanonicalError: a shorter head says the same.
            UnsupportedError: an indefinite length or a reserved head.
        """
        position = self.position
        if position >= self.end:
            raise TruncatedError("the value is not complete")
        first = self.data[position]
        info = first & 0x1F
        if info < _ONE_BYTE:
            self.position = position + 1
            return first >> 5, info
        return first >> 5, self._argument(position + 1, info)

    def _argument(self, start: int, info: int) -> int:
        if info >= _RESERVED:
            raise UnsupportedError("indefinite lengths and reserved heads are refused")
        stop = start + (1 << (info - _ONE_BYTE))
        if stop > self.end:
            raise TruncatedError("the value is not complete")
        argument = int.from_bytes(self.data[start:stop], "big")
        if argument < _SHORTEST_MIN[info]:
            raise NonCanonicalError("a head is longer than it need be")
        self.position = stop
        return argument

    def take(self, length: int) -> bytes:
        """Return the next bytes.

        Raises:
            TruncatedError: fewer are left.
        """
        stop = self.position + length
        if stop > self.end:
            raise TruncatedError(f"{length} bytes are claimed, and fewer are left")
        taken = self.data[self.position : stop]
        self.position = stop
        return taken

    def text(self, length: int) -> str:
        """Return the next bytes as text.

        Raises:
            TruncatedError: fewer are left.
            NonCanonicalError: they are not UTF-8.
        """
        try:
            return str(self.take(length), "utf-8")
        except UnicodeDecodeError:
            raise NonCanonicalError("text is not UTF-8") from None

    def expect(self, wanted: bytes) -> None:
        """Step over bytes that can only be these.

        Raises:
            EnvelopeError: there are others.
        """
        if not self.data.startswith(wanted, self.position):
            raise EnvelopeError(f"expected the bytes {wanted.hex()}")
        self.position += len(wanted)

    def argument_of(self, major: int) -> int:
        """Return the argument of a head whose type can only be this one.

        Raises:
            EnvelopeError: it is another type.
            WireError: no acceptable head; see `head`.
        """
        found, argument = self.head()
        if found != major:
            raise EnvelopeError(f"expected an item of major type {major}, not {found}")
        return argument

    def string(self, major: int) -> bytes:
        """Return the content of a string whose type can only be this one.

        Raises:
            EnvelopeError: it is another type.
            WireError: no acceptable head, or fewer bytes are left.
        """
        found, length = self.head()
        if found != major:
            raise EnvelopeError(f"expected an item of major type {major}, not {found}")
        start = self.position
        stop = start + length
        if stop > self.end:
            raise TruncatedError(f"{length} bytes are claimed, and fewer are left")
        self.position = stop
        return self.data[start:stop]

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            NonCanonicalError: bytes follow the value.
        """
        if self.position != self.end:
            raise NonCanonicalError("bytes follow the value")
