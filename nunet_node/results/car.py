"""Archives of blocks, CARv1: how blocks travel in a file.

A header names one root; then follow sections, each an id and the block of that id.
Rule: a section is believed only when its block is the one that its id names, and its
length is judged before its bytes are read. Source: the CARv1 specification (ipld.io).
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Final

from nunet_node.results.errors import BlockError, ManifestError
from nunet_node.results.unixfs import varint
from nunet_node.wire.cid import CID_BYTES
from nunet_node.wire.limits import BLOCK_DECODE_BYTES_MAX

HEADER_BYTES_MAX: Final = 4096
"""Longest header that is read: one of a single root has 58 bytes."""

_PREFIXES: Final = {
    bytes((1, codec, 0x12, 0x20)): codec for codec in (0x55, 0x70, 0x71)
}
_PREFIX_BYTES: Final = 4
_VARINT_BYTES_MAX: Final = 5
"""A length of a section needs four; more is a lie or another format."""

# {"roots": [CID], "version": 1} in DAG-CBOR, around the root's bytes.
_HEADER_BEFORE: Final = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"
_HEADER_AFTER: Final = b"\x67version\x01"


def header(root: bytes) -> bytes:
    """Return how an archive of this root begins."""
    body = _HEADER_BEFORE + root + _HEADER_AFTER
    return varint(len(body)) + body


def section(cid: bytes, data: bytes) -> bytes:
    """Return one block as it stands in an archive."""
    return varint(len(cid) + len(data)) + cid + data


def read(take: Callable[[int], bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the root with no bytes, then each block with its id, checked.

    Args:
        take: returns the next so many bytes, and fewer only at the end.

    Raises:
        ManifestError: it is no archive of one root, of blocks that are spoken here.
        BlockError: a block is not the one that its id names.
    """
    length = _length(take)
    if length is None or length > HEADER_BYTES_MAX:
        raise ManifestError("no archive of blocks (CARv1)")
    body = _exactly(take, length)
    root = body[len(_HEADER_BEFORE) : len(_HEADER_BEFORE) + CID_BYTES]
    if body != _HEADER_BEFORE + root + _HEADER_AFTER or root[:4] not in _PREFIXES:
        raise ManifestError("no CARv1 archive of one root, by SHA-256")
    yield root, b""
    while (length := _length(take)) is not None:
        if not CID_BYTES <= length <= CID_BYTES + BLOCK_DECODE_BYTES_MAX:
            raise ManifestError(f"a section of {length} bytes")
        cid = _exactly(take, CID_BYTES)
        if cid[:_PREFIX_BYTES] not in _PREFIXES:
            raise ManifestError("a block whose id is not by SHA-256")
        data = _exactly(take, length - CID_BYTES)
        if hashlib.sha256(data).digest() != cid[_PREFIX_BYTES:]:
            raise BlockError("a block is not the one that its id names")
        yield cid, data


def _length(take: Callable[[int], bytes]) -> int | None:
    """Read a length; None at the end of the archive."""
    value = 0
    for shift in range(_VARINT_BYTES_MAX):
        byte = take(1)
        if not byte:
            if shift == 0:
                return None
            break
        value |= (byte[0] & 0x7F) << (7 * shift)
        if not byte[0] >> 7:
            return value
    raise ManifestError("an archive with a broken length")


def _exactly(take: Callable[[int], bytes], length: int) -> bytes:
    data = take(length)
    if len(data) != length:
        raise ManifestError("the archive ends within a block")
    return data
