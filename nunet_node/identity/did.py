"""DIDs: names that are public keys (W3C DID Core; the did:key method).

Rule: one spelling for each DID. A name is decoded, checked and written again, and
must come out as it went in, so that owners can be compared as text. Only did:key is
spoken, because it resolves without asking anybody: Ed25519 in full, secp256k1 and
P-256 for signatures.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, NewType

import base58

from nunet_node.identity.curves import (
    ED25519_BYTES,
    EcdsaKey,
    Ed25519Key,
    PublicKey,
    x25519_of_ed25519,
)
from nunet_node.identity.errors import (
    InvalidDidError,
    MethodNotSupportedError,
    UnsupportedKeyError,
)
from nunet_node.wire.cose import ALG_ES256, ALG_ES256K

Did = NewType("Did", str)
"""A DID that has been parsed: valid, and in its only spelling."""

DID_CHARS_MAX: Final = 128
"""Longest DID that is read; a P-256 key's has 57 characters."""

KEYS_CACHED_MAX: Final = 4_096
"""DIDs whose keys are kept parsed: more than a node talks to at once, at about a
kilobyte each."""

ED25519_PREFIX: Final = b"\xed\x01"
"""Multicodec of an Ed25519 public key, as it begins a did:key."""

_X25519_PREFIX: Final = b"\xec\x01"
_SCHEME: Final = "did:key:"
_DID: Final = re.compile(r"did:([a-z0-9]+):[A-Za-z0-9._:%-]+")
_DID_KEY: Final = re.compile(r"did:key:z[1-9A-HJ-NP-Za-km-z]+")
_KEY_KINDS: Final[dict[bytes, Callable[[bytes], PublicKey]]] = {
    ED25519_PREFIX: Ed25519Key,
    b"\xe7\x01": lambda public: EcdsaKey(public, ALG_ES256K),
    b"\x80\x24": lambda public: EcdsaKey(public, ALG_ES256),
}
_PREFIX_BYTES: Final = 2


class Relationship(StrEnum):
    """What a key may be used for (DID Core, section 5.3)."""

    AUTHENTICATION = "authentication"
    ASSERTION_METHOD = "assertionMethod"
    CAPABILITY_INVOCATION = "capabilityInvocation"
    CAPABILITY_DELEGATION = "capabilityDelegation"
    KEY_AGREEMENT = "keyAgreement"


SIGNING: Final = frozenset(Relationship) - {Relationship.KEY_AGREEMENT}
"""What a did:key's own key may be used for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """A DID's signing key, under the DID URL that names it."""

    did: Did
    key_id: str
    public: PublicKey

    @property
    def algorithm(self) -> int:
        """The COSE algorithm of its signatures."""
        return self.public.algorithm

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this key made this signature over this message."""
        return self.public.verify(message, signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class DidDocument:
    """What a DID says about itself."""

    did: Did
    signing: VerificationKey
    key_agreement: bytes | None
    """The X25519 key that belongs to an Ed25519 DID; other curves have none."""

    @property
    def key_agreement_id(self) -> str | None:
        """The DID URL of the key-agreement key."""
        if self.key_agreement is None:
            return None
        return f"{self.did}#{_multibase(_X25519_PREFIX + self.key_agreement)}"

    def key_for(self, relationship: Relationship) -> VerificationKey:
        """Return the key for a use that is a signature.

        Raises:
            UnsupportedKeyError: the key may not be used so.
        """
        if relationship not in SIGNING:
            raise UnsupportedKeyError(f"no signing key is for {relationship}")
        return self.signing


def parse_did(text: str) -> Did:
    """Check that a text is a DID that can be resolved here, in its only spelling.

    Raises:
        InvalidDidError: not a DID, not a did:key, or another spelling of one.
        MethodNotSupportedError: a DID of another method.
        InvalidKeyError: its key is not valid.
        UnsupportedKeyError: its key is of another kind.
    """
    return resolve(Did(text)).did


@lru_cache(maxsize=KEYS_CACHED_MAX)
def resolve(did: Did) -> DidDocument:
    """Return what a DID says; asks nobody, and remembers.

    Raises:
        IdentityError: as `parse_did`.
    """
    value = _key_bytes(did)
    make = _KEY_KINDS.get(value[:_PREFIX_BYTES])
    if make is None:
        raise UnsupportedKeyError("the DID's key is of a kind that cannot sign here")
    public = make(value[_PREFIX_BYTES:])
    if _did_of(value) != did:
        raise InvalidDidError("not the only spelling of this DID")
    return DidDocument(
        did=did,
        signing=VerificationKey(did=did, key_id=key_id_of(did), public=public),
        key_agreement=_agreement_key(public),
    )


def key_for(did_or_key_id: str, relationship: Relationship) -> VerificationKey:
    """Return the key that a DID, or the DID URL of a key, stands for.

    Raises:
        IdentityError: as `parse_did`; or the URL names no key of its DID, or one that
            may not be used so.
    """
    did, hash_sign, _ = did_or_key_id.partition("#")
    key = resolve(Did(did)).key_for(relationship)
    if hash_sign and key.key_id != did_or_key_id:
        raise InvalidDidError("the DID URL names no signing key of its DID")
    return key


def key_id_of(did: Did) -> str:
    """Return the DID URL of a did:key's signing key."""
    return f"{did}#{did.removeprefix(_SCHEME)}"


def did_of_ed25519(public_bytes: bytes) -> Did:
    """Return the DID of an Ed25519 public key.

    Raises:
        InvalidKeyError: not a valid key.
    """
    return _did_of(ED25519_PREFIX + Ed25519Key(public_bytes).public_bytes)


def ed25519_of(did: Did) -> bytes:
    """Return the public key of an Ed25519 DID.

    Raises:
        UnsupportedKeyError: its key is of another kind.
        IdentityError: as `parse_did`.
    """
    public = resolve(did).signing.public
    if not isinstance(public, Ed25519Key):
        raise UnsupportedKeyError("the DID's key is not Ed25519")
    return public.public_bytes


def _key_bytes(text: str) -> bytes:
    if len(text) > DID_CHARS_MAX:
        raise InvalidDidError(f"a DID has at most {DID_CHARS_MAX} characters")
    if not _DID_KEY.fullmatch(text):
        found = _DID.fullmatch(text)
        if found and found[1] != "key":
            raise MethodNotSupportedError(f"the DID method {found[1]!r} is not spoken")
        raise InvalidDidError("not a did:key")
    value: bytes = base58.b58decode(text[len(_SCHEME) + 1 :])
    return value


def _did_of(prefixed: bytes) -> Did:
    return Did(_SCHEME + _multibase(prefixed))


def _multibase(data: bytes) -> str:
    return f"z{base58.b58encode(data).decode()}"


def _agreement_key(public: PublicKey) -> bytes | None:
    if len(public.public_bytes) != ED25519_BYTES:
        return None
    return x25519_of_ed25519(public.public_bytes)
