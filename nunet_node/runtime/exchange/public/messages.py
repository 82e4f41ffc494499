"""The messages of Bitswap 1.2: what is read of them, and what is said.

Rule: what is not understood is passed over, as protobuf wants it; what is malformed
is refused; only so many wants of one message are looked at. Pure functions.
Source: the Bitswap specification (specs.ipfs.tech/bitswap-protocol), protobuf's
encoding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from nunet_node.errors import PeerError
from nunet_node.results.unixfs import varint
from nunet_node.wire.cid import CID_BYTES

WANTS_MAX: Final = 1024
"""Wants of one message that are looked at; Kubo sends some dozens at once."""

_PREFIX_BYTES: Final = 4
"""Version, codec, hash function and length, before the digest of an id."""

_VARINT_BYTES_MAX: Final = 10
"""A number of 64 bits, by seven in each byte."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES: Final = {_FIXED64: 8, _FIXED32: 4}
_Value = int | bytes


class BitswapError(PeerError):
    """A peer's message is no message of Bitswap."""

    code: ClassVar[str] = "bitswap.message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One block that a peer wants, or wants to know of."""

    cid: bytes
    block: bool
    """Whether the block itself is wanted, not only whether it is here."""
    tell_absence: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is said to some wants."""

    blocks: Sequence[tuple[bytes, bytes]] = ()
    """Ids and blocks."""
    have: Sequence[bytes] = ()
    lack: Sequence[bytes] = ()


def read_wants(message: bytes) -> tuple[Wanted, ...]:
    """Return what a message asks for; what it cancels, offers or says is passed over.

    Raises:
        BitswapError: it is malformed.
    """
    wants: list[Wanted] = []
    for number, value in _fields(message):
        if number == 1 and isinstance(value, bytes):
            for inner, entry in _fields(value):
                if inner == 1 and isinstance(entry, bytes) and len(wants) < WANTS_MAX:
                    wants += _wanted(entry)
    return tuple(wants)


def encode(reply: Reply) -> bytes:
    """Return a message, with the length that precedes it on a stream."""
    # An empty wantlist, for readers who expect one.
    body = _part(1, b"")
    for cid, data in reply.blocks:
        body += _part(3, _part(1, cid[:_PREFIX_BYTES]) + _part(2, data))
    for cid in reply.have:
        body += _part(4, _part(1, cid) + _number(2, 0))
    for cid in reply.lack:
        body += _part(4, _part(1, cid) + _number(2, 1))
    return varint(len(body)) + body


def read_varint(data: bytes, start: int) -> tuple[int, int] | None:
    """Return a number and where it ends; None if it goes on beyond the data.

    Raises:
        BitswapError: it is longer than any.
    """
    value = 0
    for at, byte in enumerate(data[start : start + _VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * at)
        if not byte >> 7:
            return value, start + at + 1
    if len(data) - start >= _VARINT_BYTES_MAX:
        raise BitswapError("a number of more than ten bytes")
    return None


def _wanted(entry: bytes) -> list[Wanted]:
    fields = dict(_fields(entry))
    cid = fields.get(1, b"")
    # Other hashes, and ids of version 0, name nothing that is made here.
    if fields.get(3) or not isinstance(cid, bytes) or len(cid) != CID_BYTES:
        return []
    block, tell = not fields.get(4), bool(fields.get(5))
    return [Wanted(cid=cid, block=block, tell_absence=tell)]


def _fields(data: bytes) -> Iterator[tuple[int, _Value]]:
    at = 0
    while at < len(data):
        key, at = _whole(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _whole(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _whole(data, at)
        elif kind in _FIXED_BYTES:
            size = _FIXED_BYTES[kind]
        else:
            raise BitswapError(f"a field of kind {kind}")
        if len(data) - at < size:
            raise BitswapError("a field that ends beyond its message")
        yield key >> 3, data[at : at + size]
        at += size


def _whole(data: bytes, at: int) -> tuple[int, int]:
    found = read_varint(data, at)
    if found is None:
        raise BitswapError("a number that ends beyond its message")
    return found


def _number(field: int, value: int) -> bytes:
    return varint(field << 3 | _VARINT) + varint(value)


def _part(field: int, data: bytes) -> bytes:
    return varint(field << 3 | _BYTES) + varint(len(data)) + data
