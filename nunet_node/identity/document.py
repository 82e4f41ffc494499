"""What a DID says about itself: which of its keys is for what (W3C DID Core).

Rule: a key is only ever had for a use, and a document that does not list it for that
use does not give it. Where a document came from is no concern of this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NewType

from nunet_node.identity.curves import PublicKey
from nunet_node.identity.errors import (
    InvalidDidError,
    MethodNotSupportedError,
    UnresolvedDidError,
    UnsupportedKeyError,
)

Did = NewType("Did", str)
"""A DID that has been parsed: valid, and in its only spelling."""

KEYS_MAX: Final = 32
"""Keys of one document: each of the five uses, several times over."""

KEYS_TRIED_MAX: Final = 4
"""Keys of one DID that a signature is tried with: an old one and a new one while keys
change, twice over. A signature names its DID and not its key, and each try costs as
much as a message."""


class Relationship(StrEnum):
    """What a key may be used for (DID Core, section 5.3)."""

    AUTHENTICATION = "authentication"
    ASSERTION_METHOD = "assertionMethod"
    CAPABILITY_INVOCATION = "capabilityInvocation"
    CAPABILITY_DELEGATION = "capabilityDelegation"
    KEY_AGREEMENT = "keyAgreement"


SIGNING: Final = frozenset(Relationship) - {Relationship.KEY_AGREEMENT}
"""Every use that is a signature."""


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
class AgreementKey:
    """A DID's X25519 key, for whoever encrypts to it."""

    key_id: str
    public_bytes: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DidDocument:
    """A DID with its keys, and what each of them is for."""

    did: Did
    keys: tuple[VerificationKey, ...]
    uses: Mapping[Relationship, tuple[str, ...]]
    """For each use the DID URLs of its keys, the preferred one first."""
    agreements: tuple[AgreementKey, ...] = ()
    also_known_as: tuple[str, ...] = ()

    @property
    def signing(self) -> VerificationKey:
        """The first key that can sign.

        Raises:
            UnsupportedKeyError: there is none.
        """
        if not self.keys:
            raise UnsupportedKeyError("the DID has no key that can sign")
        return self.keys[0]

    @property
    def key_agreement(self) -> bytes | None:
        """The first X25519 key; None if there is none."""
        return self.agreements[0].public_bytes if self.agreements else None

    @property
    def key_agreement_id(self) -> str | None:
        """The DID URL of the key-agreement key."""
        return self.agreements[0].key_id if self.agreements else None

    def key_for(
        self, relationship: Relationship, key_id: str | None = None
    ) -> VerificationKey:
        """Return the key for a use that is a signature.

        Args:
            relationship: the use.
            key_id: the DID URL of the very key, if one is named.

        Raises:
            InvalidDidError: the URL names no signing key of this DID.
            UnsupportedKeyError: the key, or every key, is for other uses.
        """
        if relationship not in SIGNING:
            raise UnsupportedKeyError(f"no signing key is for {relationship}")
        if key_id is not None and all(key.key_id != key_id for key in self.keys):
            raise InvalidDidError("the DID URL names no signing key of its DID")
        for allowed in self.uses.get(relationship, ()):
            for key in self.keys:
                if key.key_id == allowed and key_id in (None, allowed):
                    return key
        raise UnsupportedKeyError(f"the DID lists no such key for {relationship}")

    def keys_for(self, uses: tuple[Relationship, ...]) -> tuple[VerificationKey, ...]:
        """Return the keys that are for every one of these uses, at most a few.

        A key may be listed for each use under a name of its own, as a did:peer:2 does.

        Raises:
            UnsupportedKeyError: there is none.
        """
        found = tuple(
            key
            for key in self.keys
            if key.key_id in self.uses.get(uses[0], ())
            and all(self._is_for(key.public, use) for use in uses[1:])
        )
        if not found:
            raise UnsupportedKeyError(f"the DID lists no key for {' and '.join(uses)}")
        return found[:KEYS_TRIED_MAX]

    def _is_for(self, public: PublicKey, use: Relationship) -> bool:
        names = self.uses.get(use, ())
        same = (public.algorithm, public.public_bytes)
        return any(
            key.key_id in names
            and (key.public.algorithm, key.public.public_bytes) == same
            for key in self.keys
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What was fetched so that one message can be read: documents of did:webs.

    Invariant: nothing here stands for a DID that carries its own document.
    """

    found: Mapping[Did, DidDocument] = field(default_factory=dict)
    missing: Mapping[Did, str] = field(default_factory=dict)
    """Why there is no document of these."""
    spoken: bool = True
    """Whether did:webs are looked up here at all."""
    vouched: bool = False
    """The message was verified when it was taken in, and its signature is not tried
    again where that would need a document."""

    def of(self, did: Did) -> DidDocument:
        """Return the document of a did:web.

        Raises:
            UnresolvedDidError: it could not be had.
            MethodNotSupportedError: did:webs are not looked up here.
        """
        document = self.found.get(did)
        if document is not None:
            return document
        if not self.spoken:
            raise MethodNotSupportedError(
                "the DID method 'web' is not spoken here; a node that runs as "
                "`nunet-node up --did-web` speaks it"
            )
        why = self.missing.get(did, "it was not asked for")
        raise UnresolvedDidError(f"the document of {did} cannot be had: {why}")


NO_DOCUMENTS: Final = Documents(spoken=False)
"""For whoever asks nobody."""

VOUCHED: Final = Documents(spoken=False, vouched=True)
"""For reading again what was verified before it was kept."""
