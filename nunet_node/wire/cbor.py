"""Strict CBOR: one encoding for each value, and one value for each encoding.

The subset is where RFC 8949 core deterministic encoding and DAG-CBOR agree: text
keys, in order of length and then bytes; integers from -2**63 to 2**64-1; bytes, text,
booleans, null, arrays, maps; no tag but 42, a content id; no floats. Map keys are in
Unicode normal form C besides, so that no two of them look alike.

A generic decoder runs tags, keeps the last of two equal keys and sets aside memory
for lengths that are lies, so what comes from a peer is read here and only here.
"""

import unicodedata
from typing import Final

import cbor2

from nunet_node.errors import MisuseError
from nunet_node.wire.cid import CID_BYTES, Cid
from nunet_node.wire.cursor import (
    ARRAY,
    BYTES,
    MAP,
    NEGATIVE,
    TAG,
    TEXT,
    UINT,
    Cursor,
)
from nunet_node.wire.errors import (
    NonCanonicalError,
    TooLargeError,
    TruncatedError,
    UnsupportedError,
    WireError,
)
from nunet_node.wire.limits import DEPTH_MAX, ITEMS_MAX
from nunet_node.wire.scan import SCAN_BYTES_MAX, key_text, scan

Plain = None | bool | int | bytes | str | Cid | tuple["Plain", ...] | dict[str, "Plain"]
"""What can be encoded; arrays decode as tuples and may be encoded from lists."""

INT_MIN: Final = -(2**63)
"""Smallest integer: what 64 bits with a sign hold, as in DAG-CBOR."""

INT_MAX: Final = 2**64 - 1
"""Largest integer: what a CBOR head holds; beyond it CBOR needs a tag."""

_INFO: Final = 0x1F
_ONE_BYTE: Final = 24
_NO_SHORT_HEAD: Final = 0xFF
_CID_TAG: Final = 42
_CID_LEAD: Final = b"\x00"
_SIMPLE: Final[dict[int, bool | None]] = {20: False, 21: True, 22: None}


def encode(plain: object) -> bytes:
    """Return the only encoding of a value made of plain things (see `Plain`).

    Raises:
        MisuseError: it holds a float, a key that is no text, an integer that does
            not fit, text that is no Unicode, or nesting deeper than `DEPTH_MAX`.
    """
    _check(plain, DEPTH_MAX)
    try:
        return cbor2.dumps(plain, canonical=True, default=_encode_cid)
    except UnicodeEncodeError:
        raise MisuseError("text with a lone surrogate cannot be encoded") from None


def decode(
    data: bytes,
    bytes_max: int,
    depth_max: int = DEPTH_MAX,
    items_max: int = ITEMS_MAX,
) -> Plain:
    """Read one value that is all of ``data``; arrays come as tuples.

    Raises:
        WireError: too large, not complete, not canonical, or outside the subset; the
            leaf says which.
    """
    size = len(data)
    if size > bytes_max:
        raise TooLargeError(f"{size} bytes; at most {bytes_max} belong here")
    if size <= SCAN_BYTES_MAX and size <= items_max:
        # Each item has a byte at least, so there are not too many. What the scan
        # does not read is read again, and found valid or named.
        try:
            plain: Plain = scan(data, depth_max)
        except (ValueError, IndexError, WireError):
            pass
        else:
            return plain
    return decode_slowly(data, depth_max=depth_max, items_max=items_max)


def decode_slowly(
    data: bytes, *, depth_max: int = DEPTH_MAX, items_max: int = ITEMS_MAX
) -> Plain:
    """Read one value of any shape; the measure of what `decode` reads and refuses.

    Raises:
        WireError: as `decode`.
    """
    reader = _Reader(data, items_max)
    plain = reader.value(depth_max)
    reader.finish()
    return plain


class _Reader(Cursor):
    """One pass over the bytes; recursion is bounded by the depth that is left."""

    __slots__ = ("items_left",)

    def __init__(self, data: bytes, items_max: int) -> None:
        super().__init__(data)
        self.items_left = items_max

    def value(self, depth_left: int) -> Plain:
        """Read one value of at most this many levels of nesting."""
        self.items_left -= 1
        if self.items_left < 0:
            raise TooLargeError("more items than belong in one value")
        position = self.position
        first = self.data[position] if position < self.end else _NO_SHORT_HEAD
        if first & _INFO < _ONE_BYTE:
            # Most heads are one byte; what `head` does is done here without a call.
            self.position = position + 1
            major, argument = first >> 5, first & _INFO
        else:
            major, argument = self.head()
        if major == TEXT:
            return self.text(argument)
        if major == BYTES:
            return self.take(argument)
        if major == UINT:
            return argument
        if major == MAP:
            return self.map(argument, depth_left - 1)
        if major == ARRAY:
            return self.array(argument, depth_left - 1)
        return self.rare(major, argument)

    def rare(self, major: int, argument: int) -> Plain:
        """Read a negative integer, a content id, a boolean or null."""
        if major == NEGATIVE:
            if argument > -1 - INT_MIN:
                raise UnsupportedError("an integer below -2**63")
            return -1 - argument
        if major == TAG:
            return self.cid(argument)
        # These three arguments come from heads of one byte only: in a longer head
        # they would be smaller than it need be, and `head` has refused that.
        if argument not in _SIMPLE:
            raise UnsupportedError("floats and simple values are refused")
        return _SIMPLE[argument]

    def cid(self, tag: int) -> Cid:
        """Read the content of tag 42."""
        if tag != _CID_TAG:
            raise UnsupportedError(f"tag {tag}; only 42, a content id, is spoken")
        major, length = self.head()
        if major != BYTES or length != 1 + CID_BYTES:
            raise UnsupportedError("tag 42 without a content id of 36 bytes")
        content = self.take(length)
        if not content.startswith(_CID_LEAD):
            raise NonCanonicalError("a content id lacks its leading zero")
        return Cid.from_bytes(content[1:])

    def array(self, count: int, depth_left: int) -> tuple[Plain, ...]:
        """Read an array whose head has been read."""
        self._check_room(count, depth_left)
        value = self.value
        return tuple([value(depth_left) for _ in range(count)])

    def map(self, count: int, depth_left: int) -> dict[str, Plain]:
        """Read a map whose head has been read."""
        self._check_room(count * 2, depth_left)
        plain: dict[str, Plain] = {}
        last_key = b""
        for index in range(count):
            key = self.key()
            longer = len(key) - len(last_key)
            if index and (longer < 0 or (not longer and key <= last_key)):
                raise NonCanonicalError("map keys repeat or are out of order")
            last_key = key
            plain[key_text(key)] = self.value(depth_left)
        return plain

    def key(self) -> bytes:
        """Return a map key, which is text, as its bytes."""
        major, length = self.head()
        if major != TEXT:
            raise UnsupportedError("a map key that is not text")
        start = self.position
        stop = start + length
        if stop > self.end:
            raise TruncatedError(f"{length} bytes are claimed, and fewer are left")
        self.position = stop
        return self.data[start:stop]

    def _check_room(self, items: int, depth_left: int) -> None:
        if depth_left < 0:
            raise TooLargeError("nested too deep")
        if items > self.end - self.position:
            raise TruncatedError(f"{items} items are claimed in fewer bytes")
        if items > self.items_left:
            raise TooLargeError("more items than belong in one value")


def _encode_cid(encoder: cbor2.CBOREncoder, cid: Cid) -> None:
    encoder.encode(cbor2.CBORTag(_CID_TAG, _CID_LEAD + cid.to_bytes()))


def _check(plain: object, depth_left: int) -> None:
    kind = type(plain)
    if kind is str or kind is bytes or kind is bool or plain is None or kind is Cid:
        return
    if kind is int:
        if not INT_MIN <= plain <= INT_MAX:  # type: ignore[operator]
            raise MisuseError("an integer outside -2**63 to 2**64-1 cannot be encoded")
        return
    if depth_left == 0:
        raise MisuseError(f"nested deeper than {DEPTH_MAX}")
    if kind is dict:
        _check_map(plain, depth_left - 1)  # type: ignore[arg-type]
    elif kind is list or kind is tuple:
        for item in plain:  # type: ignore[attr-defined]
            _check(item, depth_left - 1)
    else:
        raise MisuseError(f"a value of type {kind.__name__} cannot be encoded")


def _check_map(plain: dict[object, object], depth_left: int) -> None:
    for key, value in plain.items():
        if type(key) is not str:
            raise MisuseError(f"a map key of type {type(key).__name__}, not text")
        if not (key.isascii() or unicodedata.is_normalized("NFC", key)):
            raise MisuseError(f"the map key {key!r} is not in normal form C")
        _check(value, depth_left)
