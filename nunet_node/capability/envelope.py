"""The UCAN 1.0 envelope, byte for byte as its fixtures have it.

``[signature, {"h": varsig header, "ucan/<kind>@1.0.0": payload}]`` in DAG-CBOR; the
signature covers the encoded map. Since every value has one encoding here, the map's
bytes are simply the rest of the token. The varsig header names key type, hash and
codec, and must be the one of the issuer's key.
"""

from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from nunet_node.capability.errors import InvalidClaimError, InvalidSignatureError
from nunet_node.identity.curves import PublicKey
from nunet_node.identity.did import (
    KEYS_CACHED_MAX,
    NO_DOCUMENTS,
    Did,
    Documents,
    Relationship,
    is_web,
    keys_for,
)
from nunet_node.identity.keys import Signer
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.cose import ALG_ED25519, ALG_ES256, ALG_ES256K, SIGNATURE_BYTES
from nunet_node.wire.limits import DEPTH_MAX
from nunet_node.wire.schema import decode_record, from_plain, to_plain

T = TypeVar("T")

INVOCATION_TAG: Final = "ucan/inv@1.0.0"
DELEGATION_TAG: Final = "ucan/dlg@1.0.0"
"""What the payload of each kind of token is called."""

NONCE_BYTES_MIN: Final = 8
"""Shortest nonce that is read; the fixtures' shortest has 12 bytes."""

NONCE_BYTES_MAX: Final = 64
"""Longest nonce that is read; nobody needs more than a digest's length."""

_HEADER: Final = "h"
_OPENING: Final = b"\x82\x58\x40"
_BODY: Final = len(_OPENING) + SIGNATURE_BYTES
_ENVELOPE_DEPTH: Final = 2
_VARSIG: Final = {
    ALG_ED25519: bytes.fromhex("3401ed01ed011371"),
    ALG_ES256: bytes.fromhex("3401ec0180241271"),
    ALG_ES256K: bytes.fromhex("3401ec01e7011271"),
}
_BODIES: Final = {
    tag: {
        cbor.encode({_HEADER: varsig, tag: ()})[:-1]: varsig
        for varsig in _VARSIG.values()
    }
    for tag in (INVOCATION_TAG, DELEGATION_TAG)
}
"""For each kind of token what stands before its payload, and the header in that."""

_PAYLOAD: Final = _BODY + len(next(iter(_BODIES[DELEGATION_TAG])))
"""Where the payload begins: every header and every tag is as long as the others."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token taken apart; `check_signature` has yet to be called."""

    payload: Any
    header: bytes
    signature: bytes
    signed: bytes
    cid: Cid
    data: bytes

    def check_signature(
        self,
        issuer: Did,
        uses: tuple[Relationship, ...],
        documents: Documents = NO_DOCUMENTS,
    ) -> None:
        """Check that the issuer signed this token, with a key for all these uses.

        Raises:
            InvalidClaimError: the header is not that of the issuer's key.
            InvalidSignatureError: the signature does not hold.
            IdentityError: the issuer's DID is not valid.
        """
        if documents is NO_DOCUMENTS or not is_web(issuer):
            keys = _own_publics(issuer, uses, self.header)
        elif documents.vouched:
            return
        else:
            keys = _publics(issuer, uses, self.header, documents)
        for key in keys:
            if key.verify(self.signed, self.signature):
                return
        raise InvalidSignatureError("the token's signature does not hold")


def _publics(
    issuer: Did,
    uses: tuple[Relationship, ...],
    header: bytes,
    documents: Documents,
) -> tuple[PublicKey, ...]:
    """Return the keys of an issuer that sign for these uses under this header."""
    keys = keys_for(issuer, uses, documents)
    found = tuple(k.public for k in keys if _VARSIG[k.algorithm] == header)
    if not found:
        raise InvalidClaimError("the varsig header is not the issuer's key's")
    return found


@lru_cache(maxsize=KEYS_CACHED_MAX)
def _own_publics(
    issuer: Did, uses: tuple[Relationship, ...], header: bytes
) -> tuple[PublicKey, ...]:
    """Return the same by what a DID says alone, which never changes.

    What is refused is not kept, so every header that is kept is one of a few.
    """
    return _publics(issuer, uses, header, NO_DOCUMENTS)


def seal_token(tag: str, payload: object, signer: Signer) -> bytes:
    """Return a signed token around a payload record."""
    signed = cbor.encode({_HEADER: _VARSIG[signer.algorithm], tag: to_plain(payload)})
    return _OPENING + signer.sign(signed) + signed


def message_of(draft: bytes) -> bytes:
    """Return what is to be signed of a token that an absent key left room in."""
    return draft[_BODY:]


def completed(draft: bytes, signature: bytes) -> bytes:
    """Return a token with the signature for which an absent key left room."""
    return _OPENING + signature + draft[_BODY:]


def read_token(tag: str, kind: type, data: bytes, *, bytes_max: int) -> Token:
    """Take a token of this kind apart.

    Raises:
        WireError: the bytes are not strict CBOR, or too many, or the payload is not
            of the kind.
        InvalidClaimError: not an envelope, or of another kind or version.
        InvalidSignatureError: the signature cannot be one.
    """
    payload, header, signature = _usual(tag, kind, data, bytes_max) or _any(
        tag, kind, data, bytes_max
    )
    return Token(
        payload=payload,
        header=header,
        signature=signature,
        signed=data[_BODY:],
        cid=Cid.of_dag_cbor(data),
        data=data,
    )


_Parts = tuple[Any, bytes, bytes]
"""Payload, varsig header and signature of a token."""


def _usual(tag: str, kind: type, data: bytes, bytes_max: int) -> _Parts | None:
    """Take apart a token whose payload stands where it does in those made here."""
    header = _BODIES[tag].get(data[_BODY:_PAYLOAD])
    if header is None or not data.startswith(_OPENING) or len(data) > bytes_max:
        return None
    depth_max = DEPTH_MAX - _ENVELOPE_DEPTH
    payload: Any = decode_record(
        kind, data[_PAYLOAD:], bytes_max=bytes_max, depth_max=depth_max
    )
    return payload, header, data[len(_OPENING) : _BODY]


def _any(tag: str, kind: type, data: bytes, bytes_max: int) -> _Parts:
    """Take apart any token, or say why it is none."""
    plain = cbor.decode(data, bytes_max=bytes_max)
    signature, body = _pair(plain)
    if body.keys() != {_HEADER, tag} or not isinstance(body[_HEADER], bytes):
        raise InvalidClaimError(f"not a UCAN envelope of {tag}")
    if len(signature) != SIGNATURE_BYTES:
        raise InvalidSignatureError(f"a signature has {SIGNATURE_BYTES} bytes")
    return from_plain(kind, body[tag]), body[_HEADER], signature


def _pair(plain: object) -> tuple[bytes, dict[str, Any]]:
    match plain:
        case (bytes() as signature, dict() as body):
            return signature, body
        case _:
            raise InvalidClaimError("not a UCAN envelope")
