"""COSE_Sign1 in the one form that is spoken here (RFC 9052, section 4.2).

The protected header holds the algorithm (1), the key's DID URL (4), CWT claims (15,
RFC 9597: issuer 1, audience 3, expiry 4, issue time 6, message id 7) and
the type (16, RFC 9596), in that order; the unprotected header is empty. The reader
knows no other form, so whatever a general reader would have to judge, such as
critical headers, detached payloads or labels in both headers, cannot be expressed.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import cbor2

from nunet_node.wire.cursor import BYTES, NEGATIVE, TEXT, UINT, Cursor
from nunet_node.wire.errors import EnvelopeError, NonCanonicalError, TooLargeError
from nunet_node.wire.limits import PROTECTED_BYTES_MAX

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

_OPENING: Final = b"\xd2\x84"
_NO_UNPROTECTED: Final = b"\xa0"
_SIGNATURE_HEAD: Final = b"\x58\x40"
_CTI_HEAD: Final = b"\x07\x50"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a statement says about itself, under its signature."""

    algorithm: int
    key_id: str
    issuer: str
    audience: str
    expires_at_s: int
    issued_at_s: int
    cti: bytes
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign1:
    """A statement taken apart; its signature is not verified."""

    header: Header
    protected: bytes
    payload: bytes
    signature: bytes


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
    cursor = Cursor(data)
    cursor.expect(_OPENING)
    protected = cursor.string(BYTES)
    cursor.expect(_NO_UNPROTECTED)
    payload = cursor.string(BYTES)
    cursor.expect(_SIGNATURE_HEAD)
    signature = cursor.take(SIGNATURE_BYTES)
    cursor.finish()
    return Sign1(
        header=_read_header(protected),
        protected=protected,
        payload=payload,
        signature=signature,
    )


def _read_header(protected: bytes) -> Header:
    if len(protected) > PROTECTED_BYTES_MAX:
        raise TooLargeError(f"a header of more than {PROTECTED_BYTES_MAX} bytes")
    cursor = Cursor(protected)
    cursor.expect(b"\xa4\x01")
    algorithm = -1 - cursor.argument_of(NEGATIVE)
    cursor.expect(b"\x04")
    key_id = _ascii(cursor.string(BYTES))
    cursor.expect(b"\x0f\xa5\x01")
    issuer = _text(cursor.string(TEXT))
    cursor.expect(b"\x03")
    audience = _text(cursor.string(TEXT))
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
