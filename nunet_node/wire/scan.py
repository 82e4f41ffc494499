"""One tight pass over the usual shapes of strict CBOR.

Most of what honest peers send is maps of few short fields. Those are read here,
with as few calls as an interpreter allows, because reading a message costs as much
of a second as checking its signature. The strict reader of `nunet_node.wire.cbor`
stays the measure of what is valid.

Rule: what is read here the strict reader reads as the same value. Whatever is wrong
or merely unusual is left to it, and it alone says what is wrong. A length that
overruns shortens a slice and moves the place beyond the end for good, so that it is
found out at the next byte or at the end; nothing is set aside for it.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from nunet_node.wire.cid import CID_BYTES, Cid
from nunet_node.wire.errors import NonCanonicalError

SCAN_BYTES_MAX: Final = 65_536
"""Largest value that is tried here; larger ones are few items of many bytes, or an
attempt to have everything read twice."""

SHORT_KEYS_CACHED_MAX: Final = 512
"""Map keys that are kept as text: the fields of every record, several times over; a
stranger's, of 23 bytes at most, push them out at the cost of reading them again."""

# Heads of one byte: the argument is the head less these.
_BYTES_HEAD: Final = 0x40
_TEXT_HEAD: Final = 0x60
_ARRAY_HEAD: Final = 0x80
_MAP_HEAD: Final = 0xA0
_ONE_BYTE: Final = 24
_BEFORE_BYTES: Final = _BYTES_HEAD - 1
_BEFORE_TEXT: Final = _TEXT_HEAD - 1
_BYTES_LONGER: Final = _BYTES_HEAD + _ONE_BYTE
_TEXT_LONGER: Final = _TEXT_HEAD + _ONE_BYTE
_CID_OPENING: Final = bytes.fromhex("d82a582500")

_Read = tuple[Any, int]
"""A value, and the place after it."""


def scan(data: bytes, depth_max: int) -> Any:
    """Read one value that is all of ``data``.

    Args:
        data: at most `SCAN_BYTES_MAX` bytes.
        depth_max: the deepest nesting that is accepted.

    Raises:
        ValueError: unusual, or no strict CBOR.
        IndexError: as ValueError.
        WireError: as ValueError.
    """
    plain, end = _READERS[data[0]](data, 0, depth_max)
    if end != len(data):
        raise ValueError
    return plain


def span(data: bytes, at: int) -> tuple[int, int]:
    """Return where the content of a byte string begins and ends, maybe past the end.

    Raises:
        ValueError: no byte string, or of an unusual length.
        IndexError: as ValueError.
    """
    head = data[at]
    if head == _BYTES_LONGER:
        start, width, least = at + 2, data[at + 1], _ONE_BYTE
    elif head == _BYTES_LONGER + 1:
        start, width, least = at + 3, data[at + 1] << 8 | data[at + 2], 1 << 8
    else:
        start, width, least = at + 1, head - _BYTES_HEAD, 0
        if width >= _ONE_BYTE:
            raise ValueError
    if width < least:
        raise ValueError
    return start, start + width


def _map(data: bytes, at: int, count: int, depth_left: int) -> _Read:
    """Read the pairs of a map from this place on; most values without a call."""
    plain: dict[str, Any] = {}
    last = b""
    for _ in range(count):
        stop = at + data[at] - _BEFORE_TEXT
        key = data[at:stop]
        # Heads stand with their texts, so this order is by length first.
        if key <= last:
            raise ValueError
        name, last, head = _short_key(key), key, data[stop]
        if _TEXT_HEAD <= head < _TEXT_LONGER:
            at = stop + head - _BEFORE_TEXT
            plain[name] = data[stop + 1 : at].decode()
        elif head < _ONE_BYTE:
            at = stop + 1
            plain[name] = head
        elif _BYTES_HEAD <= head < _BYTES_LONGER:
            at = stop + head - _BEFORE_BYTES
            plain[name] = data[stop + 1 : at]
        elif head == _TEXT_LONGER:
            width = data[stop + 1]
            if width < _ONE_BYTE:
                raise ValueError
            at = stop + 2 + width
            plain[name] = data[stop + 2 : at].decode()
        else:
            plain[name], at = _READERS[head](data, stop, depth_left)
    return plain, at


def _array(data: bytes, at: int, count: int, depth_left: int) -> _Read:
    """Read the items of an array from this place on."""
    if depth_left <= 0:
        raise ValueError
    items: list[Any] = []
    for _ in range(count):
        item, at = _READERS[data[at]](data, at, depth_left - 1)
        items.append(item)
    return tuple(items), at


def key_text(key: bytes) -> str:
    """Return a map key's text, if it is its own normal form.

    Raises:
        NonCanonicalError: it is not, or is no text.
    """
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise NonCanonicalError("text is not UTF-8") from None
    if not (text.isascii() or unicodedata.is_normalized("NFC", text)):
        raise NonCanonicalError("a map key is not in normal form C")
    return text


@lru_cache(maxsize=SHORT_KEYS_CACHED_MAX)
def _short_key(key: bytes) -> str:
    """Return the text of a map key that is given with its head."""
    if key[0] >= _TEXT_LONGER or len(key) != key[0] - _BEFORE_TEXT:
        raise ValueError
    return key_text(key[1:])


def _short_map(data: bytes, at: int, depth_left: int) -> _Read:
    if depth_left <= 0:
        raise ValueError
    return _map(data, at + 1, data[at] - _MAP_HEAD, depth_left - 1)


def _short_array(data: bytes, at: int, depth_left: int) -> _Read:
    # Many a record has an empty one: no conditions, no proofs.
    if data[at] == _ARRAY_HEAD and depth_left > 0:
        return (), at + 1
    return _array(data, at + 1, data[at] - _ARRAY_HEAD, depth_left)


def _longer_array(data: bytes, at: int, depth_left: int) -> _Read:
    return _array(data, at + 2, _argument(data, at, 1, _ONE_BYTE), depth_left)


def _uint_0(data: bytes, at: int, _depth_left: int) -> _Read:
    return data[at], at + 1


def _uint_1(data: bytes, at: int, _depth_left: int) -> _Read:
    return _argument(data, at, 1, _ONE_BYTE), at + 2


def _uint_2(data: bytes, at: int, _depth_left: int) -> _Read:
    return _argument(data, at, 2, 1 << 8), at + 3


def _uint_4(data: bytes, at: int, _depth_left: int) -> _Read:
    argument = int.from_bytes(data[at + 1 : at + 5])
    if argument < 1 << 16:
        raise ValueError
    return argument, at + 5


def _uint_8(data: bytes, at: int, _depth_left: int) -> _Read:
    return _argument(data, at, 8, 1 << 32), at + 9


def _bytes(data: bytes, at: int, _depth_left: int) -> _Read:
    start, stop = span(data, at)
    return data[start:stop], stop


def _text_0(data: bytes, at: int, _depth_left: int) -> _Read:
    stop = at + data[at] - _TEXT_HEAD + 1
    return data[at + 1 : stop].decode(), stop


def _text_1(data: bytes, at: int, _depth_left: int) -> _Read:
    width = data[at + 1]
    if width < _ONE_BYTE:
        raise ValueError
    stop = at + 2 + width
    return data[at + 2 : stop].decode(), stop


def _content_id(data: bytes, at: int, _depth_left: int) -> _Read:
    if not data.startswith(_CID_OPENING, at):
        raise ValueError
    start = at + len(_CID_OPENING)
    return Cid.from_bytes(data[start : start + CID_BYTES]), start + CID_BYTES


def _simple(data: bytes, at: int, _depth_left: int) -> _Read:
    return _SIMPLE[data[at]], at + 1


def _unusual(_data: bytes, _at: int, _depth_left: int) -> _Read:
    raise ValueError


def _argument(data: bytes, at: int, width: int, least: int) -> int:
    argument = int.from_bytes(data[at + 1 : at + 1 + width])
    if argument < least:
        raise ValueError
    return argument


_SIMPLE: Final = {0xF4: False, 0xF5: True, 0xF6: None}

_READERS: Final[list[Callable[[bytes, int, int], _Read]]] = [
    *[_uint_0] * _ONE_BYTE,
    *(_uint_1, _uint_2, _uint_4, _uint_8),
    *[_unusual] * (_BYTES_HEAD - 28),
    *[_bytes] * (_ONE_BYTE + 2),
    *[_unusual] * 6,
    *[_text_0] * _ONE_BYTE,
    _text_1,
    *[_unusual] * 7,
    *[_short_array] * _ONE_BYTE,
    _longer_array,
    *[_unusual] * 7,
    *[_short_map] * _ONE_BYTE,
    *[_unusual] * (0x100 - 0xB8),
]
"""What reads the value that each head opens."""

_READERS[_CID_OPENING[0]] = _content_id
for _head in _SIMPLE:
    _READERS[_head] = _simple
