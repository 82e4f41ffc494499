"""DIDs: names that are public keys (W3C DID Core; the did:key method).

Rule: one spelling for each DID. A name is decoded, checked and written again, and
must come out as it went in, so that owners can be compared as text. A did:key resolves
without asking anybody, and so does a did:peer that carries its own document. A did:web
is a name alone: its document has to be handed over by whoever fetched it.
"""

import re
from functools import lru_cache
from typing import Final

from nunet_node.identity.curves import (
    ED25519_BYTES,
    Ed25519Key,
    PublicKey,
    x25519_of_ed25519,
)
from nunet_node.identity.document import (
    NO_DOCUMENTS,
    SIGNING,
    VOUCHED,
    AgreementKey,
    Did,
    DidDocument,
    Documents,
    Relationship,
    VerificationKey,
)
from nunet_node.identity.errors import (
    InvalidDidError,
    MethodNotSupportedError,
    UnsupportedKeyError,
)
from nunet_node.identity.methods.did_peer import resolve_peer
from nunet_node.identity.methods.did_web import place_of
from nunet_node.identity.methods.multikey import (
    ED25519_PREFIX,
    encode_multibase,
    signing_key,
    text_of_agreement,
)

__all__ = [
    "DID_CHARS_MAX",
    "ED25519_PREFIX",
    "KEYS_CACHED_MAX",
    "NO_DOCUMENTS",
    "SIGNING",
    "VOUCHED",
    "WEB_MARK",
    "Did",
    "DidDocument",
    "Documents",
    "Relationship",
    "VerificationKey",
    "did_of_ed25519",
    "did_of_key",
    "ed25519_of",
    "is_web",
    "key_for",
    "key_id_of",
    "keys_for",
    "parse_did",
    "resolve",
]

DID_CHARS_MAX: Final = 128
"""Longest DID that is read from a peer; a P-256 key's has 57 characters."""

KEYS_CACHED_MAX: Final = 4_096
"""DIDs whose keys are kept parsed: more than a node talks to at once, at about a
kilobyte each."""

_SCHEME: Final = "did:key:"
_PEER: Final = "did:peer:"
_WEB: Final = "did:web:"
WEB_MARK: Final = _WEB.encode()
"""What every message in which a did:web stands has in it."""

_DID: Final = re.compile(r"did:([a-z0-9]+):[A-Za-z0-9._:%-]+")
_DID_KEY: Final = re.compile(r"did:key:z[1-9A-HJ-NP-Za-km-z]+")


@lru_cache(maxsize=KEYS_CACHED_MAX)
def parse_did(text: str) -> Did:
    """Check that a text is a DID of a method that is spoken, in its only spelling.

    The document of a did:web may be another each time, and is no part of its name.

    Raises:
        InvalidDidError: not a DID, or another spelling of one.
        MethodNotSupportedError: a DID of another method.
        InvalidKeyError: its key is not valid.
        UnsupportedKeyError: its key is of another kind.
    """
    if len(text) > DID_CHARS_MAX:
        raise InvalidDidError(f"a DID has at most {DID_CHARS_MAX} characters")
    if text.startswith(_WEB):
        place_of(text)
        return Did(text)
    return resolve(Did(text)).did


def is_web(did: Did) -> bool:
    """Tell whether a DID's document has to be fetched."""
    return did.startswith(_WEB)


@lru_cache(maxsize=KEYS_CACHED_MAX)
def resolve(did: Did) -> DidDocument:
    """Return what a DID says; asks nobody, and remembers.

    Raises:
        IdentityError: as `parse_did`; a did:peer may be longer here.
    """
    if did.startswith(_PEER):
        return resolve_peer(did)
    text = _key_text(did)
    public = signing_key(text)
    agreement = _agreement_of(did, public)
    return DidDocument(
        did=did,
        keys=(VerificationKey(did=did, key_id=key_id_of(did), public=public),),
        uses=dict.fromkeys(SIGNING, (key_id_of(did),)),
        agreements=() if agreement is None else (agreement,),
    )


def key_for(
    did_or_key_id: str,
    relationship: Relationship,
    documents: Documents = NO_DOCUMENTS,
) -> VerificationKey:
    """Return the key that a DID, or the DID URL of a key, stands for.

    Args:
        did_or_key_id: a DID, or a DID with the name of one of its keys.
        relationship: what the key is wanted for.
        documents: what was fetched of DIDs that do not carry their own.

    Raises:
        IdentityError: as `parse_did`; or the URL names no key of its DID, or one that
            may not be used so.
    """
    text, hash_sign, _ = did_or_key_id.partition("#")
    if not is_web(Did(text)):
        return _own_key(did_or_key_id, relationship)
    document = documents.of(Did(text))
    return document.key_for(relationship, did_or_key_id if hash_sign else None)


def keys_for(
    did: Did, uses: tuple[Relationship, ...], documents: Documents = NO_DOCUMENTS
) -> tuple[VerificationKey, ...]:
    """Return the keys of a DID that are for all of these uses, at most a few.

    Raises:
        IdentityError: as `key_for`.
    """
    return documents.of(did).keys_for(uses) if is_web(did) else _own_keys(did, uses)


@lru_cache(maxsize=KEYS_CACHED_MAX)
def _own_keys(did: Did, uses: tuple[Relationship, ...]) -> tuple[VerificationKey, ...]:
    return resolve(did).keys_for(uses)


@lru_cache(maxsize=KEYS_CACHED_MAX)
def _own_key(did_or_key_id: str, relationship: Relationship) -> VerificationKey:
    """Return a key by what its name says alone, which never changes."""
    text, hash_sign, _ = did_or_key_id.partition("#")
    document = resolve(Did(text))
    return document.key_for(relationship, did_or_key_id if hash_sign else None)


def key_id_of(did: Did) -> str:
    """Return the DID URL of a did:key's signing key."""
    return f"{did}#{did.removeprefix(_SCHEME)}"


def did_of_key(multikey: str) -> Did:
    """Return the did:key of a key as text.

    Raises:
        IdentityError: not a key that can sign.
    """
    signing_key(multikey)
    return Did(_SCHEME + multikey)


def did_of_ed25519(public_bytes: bytes) -> Did:
    """Return the DID of an Ed25519 public key.

    Raises:
        InvalidKeyError: not a valid key.
    """
    public = Ed25519Key(public_bytes).public_bytes
    return Did(_SCHEME + encode_multibase(ED25519_PREFIX + public))


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


def _key_text(text: str) -> str:
    if len(text) > DID_CHARS_MAX:
        raise InvalidDidError(f"a DID has at most {DID_CHARS_MAX} characters")
    if not _DID_KEY.fullmatch(text):
        found = _DID.fullmatch(text)
        if found and found[1] != "key":
            raise MethodNotSupportedError(f"the DID method {found[1]!r} is not spoken")
        raise InvalidDidError("not a did:key")
    return text.removeprefix(_SCHEME)


def _agreement_of(did: Did, public: PublicKey) -> AgreementKey | None:
    if len(public.public_bytes) != ED25519_BYTES:
        return None
    agreement = x25519_of_ed25519(public.public_bytes)
    name = f"{did}#{text_of_agreement(agreement)}"
    return AgreementKey(key_id=name, public_bytes=agreement)
