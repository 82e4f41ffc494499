"""COSE_Sign1 in the one form that is spoken here (RFC 9052, section 4.2).

The protected header holds the algorithm (1), the key's DID URL (4), CWT claims (15,
RFC 9597: issuer 1, audience 3, expiry 4, issue time 6, message id 7) and
the type (16, RFC 9596), in that order; the unprotected header is empty. The reader
knows no other form, so whatever a general reader would have to judge, such as
critical headers, detached payloads or labels in both headers, cannot be expressed.
"""

import hashlib
import re
import struct
from functools import lru_cache
from typing import Final

import cbor2
import msgspec

from nunet_node.wire.cursor import BYTES, NEGATIVE, TEXT, UINT, Cursor
from nunet_node.wire.errors import (
    EnvelopeError,
    NonCanonicalError,
    TooLargeError,
    WireError,
)
from nunet_node.wire.limits import PROTECTED_BYTES_MAX
from nunet_node.wire.scan import span

ALG_ED25519: Final = -19
"""Ed25519 (RFC 9864); the older, ambiguous -8 is refused."""

ALG_ES256: Final = -9
"""ECDSA on P-256 with SHA-256 (RFC 9864)."""

ALG_ES256K: Final = -47
"""ECDSA on secp256k1 with SHA-256 (RFC 8812)."""

SIGNATURE_BYTES: Final = 64
"""Length of every signature that is spoken: R and S, 32 bytes each."""

CTI_BYTES: Final = 16
"""Length of a message id: 128 random bits."""

NAMES_CACHED_MAX: Final = 2_048
"""Pairs of issuer and audience whose names are kept read: more than a node talks to
at once, at a kilobyte and a half each at most."""

ITEMS_CACHED_MAX: Final = 64
"""Domains that are kept encoded: there are a dozen kinds of statement."""

_Names = tuple[int, str, str, str]
"""Algorithm, key id, issuer and audience, with which a header begins."""

_OPENING: Final = b"\xd2\x84"
_CONTEXT: Final = b"\x84\x6aSignature1"
_NO_UNPROTECTED: Final = b"\xa0"
_SIGNATURE_HEAD: Final = b"\x58\x40"
_CTI_HEAD: Final = b"\x07\x50"
_ONE_BYTE: Final = 24
_TEXT_HEAD: Final = 0x60
_TAIL: Final = struct.Struct(">2xI2xI2x16sxB")
_USUAL_TAIL: Final = re.compile(
    rb"\x04\x1a[\x01-\xff].{3}\x06\x1a[\x01-\xff].{3}"
    rb"\x07\x50.{16}\x10[\x60-\x77]([ -~]{0,23})\Z",
    re.DOTALL,
)
"""What follows the audience where times have four bytes and the kind is short."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a statement says about itself, under its signature."""

    algorithm: int
    key_id: str
    issuer: str
    audience: str
    expires_at_s: int
    issued_at_s: int
    cti: bytes
    kind: str


class Sign1(msgspec.Struct, frozen=True, kw_only=True):
    """A statement taken apart; its signature is not verified."""

    header: Header
    protected: bytes
    payload: bytes
    signature: bytes
    data: bytes

    def to_be_signed(self, external_aad: bytes) -> bytes:
        """Return the bytes that the signature covers, as they were received."""
        stop = len(self.data) - len(_SIGNATURE_HEAD) - SIGNATURE_BYTES
        start = stop - len(self.payload) - _head_bytes(len(self.payload))
        protected = self.data[len(_OPENING) : start - len(_NO_UNPROTECTED)]
        payload = self.data[start:stop]
        return b"".join((_CONTEXT, protected, _item(external_aad), payload))


def to_be_signed(protected: bytes, external_aad: bytes, payload: bytes) -> bytes:
    """Return the bytes that the signature covers (RFC 9052, section 4.4)."""
    return cbor2.dumps(["Signature1", protected, external_aad, payload])


def message_id(to_be_signed_bytes: bytes) -> bytes:
    """Return the name of a statement, which its signature is no part of."""
    return hashlib.sha256(to_be_signed_bytes).digest()


def encode_header(header: Header) -> bytes:
    """Return the protected header's only encoding."""
    claims = {
        1: header.issuer,
        3: header.audience,
        4: header.expires_at_s,
        6: header.issued_at_s,
        7: header.cti,
    }
    fields = {1: header.algorithm, 4: header.key_id.encode(), 15: claims}
    return cbor2.dumps({**fields, 16: header.kind})


def seal_sign1(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """Return the statement's bytes."""
    return b"".join(
        (
            _OPENING,
            cbor2.dumps(protected),
            _NO_UNPROTECTED,
            cbor2.dumps(payload),
            cbor2.dumps(signature),
        )
    )


def read_sign1(data: bytes, *, bytes_max: int) -> Sign1:
    """Take a statement apart.

    Raises:
        WireError: too large, or not of the one form.
    """
    if len(data) > bytes_max:
        raise TooLargeError(f"{len(data)} bytes; at most {bytes_max} belong here")
    protected, payload, signature = _usual_parts(data) or _any_parts(data)
    return Sign1(
        header=_read_header(protected),
        protected=protected,
        payload=payload,
        signature=signature,
        data=data,
    )


def _usual_parts(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Take a statement apart at the places where its parts can only be."""
    try:
        start, stop = span(data, 2)
        first, last = span(data, stop + 1)
    except (ValueError, IndexError):
        return None
    if (
        data.startswith(_OPENING)
        and data.startswith(_NO_UNPROTECTED, stop)
        and data.startswith(_SIGNATURE_HEAD, last)
        and len(data) == last + 2 + SIGNATURE_BYTES
    ):
        return data[start:stop], data[first:last], data[last + 2 :]
    return None


def _any_parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Take any statement apart, or say why it is none."""
    cursor = Cursor(data)
    cursor.expect(_OPENING)
    protected = cursor.string(BYTES)
    cursor.expect(_NO_UNPROTECTED)
    payload = cursor.string(BYTES)
    cursor.expect(_SIGNATURE_HEAD)
    signature = cursor.take(SIGNATURE_BYTES)
    cursor.finish()
    return protected, payload, signature


def _read_header(protected: bytes) -> Header:
    if len(protected) > PROTECTED_BYTES_MAX:
        raise TooLargeError(f"a header of more than {PROTECTED_BYTES_MAX} bytes")
    tail = _USUAL_TAIL.search(protected)
    if tail is not None:
        expires_at_s, issued_at_s, cti, head = _TAIL.unpack_from(tail[0])
        kind = tail[1].decode()
        if head == _TEXT_HEAD + len(kind):
            # Whichever bytes it was cut at, names that are read whole and a tail
            # that is whole make up the one header that these bytes can be.
            try:
                algorithm, key_id, issuer, audience = _known_names(
                    protected[: tail.start()]
                )
            except WireError:
                return _read_any_header(protected)
            return Header(
                algorithm=algorithm,
                key_id=key_id,
                issuer=issuer,
                audience=audience,
                expires_at_s=expires_at_s,
                issued_at_s=issued_at_s,
                cti=cti,
                kind=kind,
            )
    return _read_any_header(protected)


def _read_any_header(protected: bytes) -> Header:
    cursor = Cursor(protected)
    algorithm, key_id, issuer, audience = _read_names(cursor)
    cursor.expect(b"\x04")
    expires_at_s = cursor.argument_of(UINT)
    cursor.expect(b"\x06")
    issued_at_s = cursor.argument_of(UINT)
    cursor.expect(_CTI_HEAD)
    cti = cursor.take(CTI_BYTES)
    cursor.expect(b"\x10")
    kind = _text(cursor.string(TEXT))
    cursor.finish()
    return Header(
        algorithm=algorithm,
        key_id=key_id,
        issuer=issuer,
        audience=audience,
        expires_at_s=expires_at_s,
        issued_at_s=issued_at_s,
        cti=cti,
        kind=kind,
    )


def _read_names(cursor: Cursor) -> _Names:
    cursor.expect(b"\xa4\x01")
    algorithm = -1 - cursor.argument_of(NEGATIVE)
    cursor.expect(b"\x04")
    key_id = _ascii(cursor.string(BYTES))
    cursor.expect(b"\x0f\xa5\x01")
    issuer = _text(cursor.string(TEXT))
    cursor.expect(b"\x03")
    audience = _text(cursor.string(TEXT))
    return algorithm, key_id, issuer, audience


@lru_cache(maxsize=NAMES_CACHED_MAX)
def _known_names(head: bytes) -> _Names:
    cursor = Cursor(head)
    names = _read_names(cursor)
    cursor.finish()
    return names


@lru_cache(maxsize=ITEMS_CACHED_MAX)
def _item(data: bytes) -> bytes:
    return cbor2.dumps(data)


def _head_bytes(length: int) -> int:
    if length < _ONE_BYTE:
        return 1
    return 2 if length < 1 << 8 else 3 if length < 1 << 16 else 5


def _text(data: bytes) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise NonCanonicalError("text is not UTF-8") from None


def _ascii(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise EnvelopeError("a key id that is not ASCII") from None
