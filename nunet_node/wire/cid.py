"""Content ids: the name of some bytes is the hash of those bytes.

Rule: one text and one binary form for each id, so that ids can be compared as they
stand. Only CIDv1 with SHA-256, over raw bytes or DAG-CBOR, is spoken; text is
multibase base32 in lower case (multiformats CID specification).
"""

import base64
import hashlib
import re
from functools import total_ordering
from typing import Final

from nunet_node.errors import MisuseError
from nunet_node.wire.errors import CidError

RAW: Final = 0x55
"""Multicodec of bytes without structure."""

DAG_CBOR: Final = 0x71
"""Multicodec of a deterministic CBOR value."""

CID_BYTES: Final = 36
"""Version, codec, hash function and length: one byte each; then the digest."""

_DIGEST_BYTES: Final = 32
_DIGEST_START: Final = CID_BYTES - _DIGEST_BYTES
_TEXT: Final = re.compile(r"b[a-z2-7]{58}")
_BASE32_DIGITS: Final = str.maketrans(
    "abcdefghijklmnopqrstuvwxyz234567", "0123456789abcdefghijklmnopqrstuv"
)
"""From the letters of RFC 4648 to the digits that `int` reads: a store has a hundred
thousand names to read at its start, and `base64` takes ten times as long."""

_PREFIXES: Final = {codec: bytes((1, codec, 0x12, 0x20)) for codec in (RAW, DAG_CBOR)}
_KNOWN: Final = frozenset(_PREFIXES.values())


@total_ordering
class Cid:
    """The id of some bytes: how to read them, and their SHA-256.

    Ids are immutable and are equal, hashed and ordered as their binary forms. This
    is no dataclass, because a schema would take one for a map of its fields.
    """

    __slots__ = ("_bytes",)
    _bytes: bytes

    def __init__(self, codec: int, digest: bytes) -> None:
        if codec not in _PREFIXES or len(digest) != _DIGEST_BYTES:
            raise MisuseError(f"no content id: codec {codec:#x}")
        _set_bytes(self, _PREFIXES[codec] + digest)

    @classmethod
    def of_raw(cls, data: bytes | memoryview) -> "Cid":
        """Return the id of bytes without structure."""
        return cls._made(_PREFIXES[RAW] + hashlib.sha256(data).digest())

    @classmethod
    def of_dag_cbor(cls, data: bytes | memoryview) -> "Cid":
        """Return the id of an encoded value; the encoding is not checked."""
        return cls._made(_PREFIXES[DAG_CBOR] + hashlib.sha256(data).digest())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Cid":
        """Read the 36 bytes of a binary id.

        Raises:
            CidError: another version, codec or hash, or another length.
        """
        # As `is_cid`, without a call: a chain names its links by their ids.
        if len(data) != CID_BYTES or data[:_DIGEST_START] not in _KNOWN:
            raise CidError("not a CIDv1 of SHA-256 over raw bytes or DAG-CBOR")
        return cls._made(bytes(data))

    @classmethod
    def _made(cls, data: bytes) -> "Cid":
        cid = _new(cls)
        _set_bytes(cid, data)
        return cid

    @classmethod
    def parse(cls, text: str) -> "Cid":
        """Read the text of an id, ``bafk…`` or ``bafy…``.

        Raises:
            CidError: not an id, or not its only spelling.
        """
        if not _TEXT.fullmatch(text):
            raise CidError("not a content id in lower-case base32")
        number, spare = divmod(int(text[1:].translate(_BASE32_DIGITS), 32), 1 << 2)
        if spare:
            raise CidError("not the only spelling of this content id")
        return cls.from_bytes(number.to_bytes(CID_BYTES, "big"))

    def to_bytes(self) -> bytes:
        """Return the binary id, 36 bytes."""
        return self._bytes

    def matches(self, data: bytes | memoryview) -> bool:
        """Tell whether this is the id of these bytes."""
        return hashlib.sha256(data).digest() == self.digest

    @property
    def codec(self) -> int:
        """How to read the bytes: `RAW` or `DAG_CBOR`."""
        return self._bytes[1]

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the bytes."""
        return self._bytes[_DIGEST_START:]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a content id is immutable: {name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cid):
            return NotImplemented
        return self._bytes == other._bytes

    def __lt__(self, other: "Cid") -> bool:
        return self._bytes < other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __reduce__(self) -> tuple[type["Cid"], tuple[int, bytes]]:
        return Cid, (self.codec, self.digest)

    def __repr__(self) -> str:
        return f"Cid({self})"

    def __str__(self) -> str:
        return "b" + base64.b32encode(self.to_bytes()).decode().lower().rstrip("=")


def is_cid(data: bytes) -> bool:
    """Tell whether these bytes are a binary id."""
    return len(data) == CID_BYTES and data[:_DIGEST_START] in _KNOWN


_new = object.__new__
_set_bytes = Cid.__dict__["_bytes"].__set__
"""How an id is made without going through what forbids changing one."""
