"""What a DID says about itself: which of its keys is for what (W3C DID Core).

Rule: a key is only ever had for a use, and a document that does not list it for that
use does not give it. Where a document came from is no concern of this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

from nunet_node.identity.curves import PublicKey
from nunet_node.identity.errors import InvalidDidError, UnsupportedKeyError

Did = NewType("Did", str)
"""A DID that has been parsed: valid, and in its only spelling."""

KEYS_MAX: Final = 32
"""Keys of one document: each of the five uses, several times over."""


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
