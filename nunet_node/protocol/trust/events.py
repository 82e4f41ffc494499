"""What a user wants of providers about delegations, and what they say to it."""

from dataclasses import dataclass

from nunet_node.identity.did import Did
from nunet_node.wire.cid import Cid

Reached = tuple[Did, str, tuple[str, ...]]
"""A provider's DID, peer id and addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeWanted:
    """The user takes a delegation back, at these providers."""

    cid: Cid
    data: bytes
    """The signed revocation."""
    providers: tuple[Reached, ...]
    """Each provider's DID, peer id and addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingWanted:
    """Somebody wants to know whether a token has been revoked."""

    cid: Cid
    providers: tuple[Reached, ...]


TrustWish = RevokeWanted | StandingWanted


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationAnswered:
    """A provider keeps a revocation of ours, on disk; or it does not."""

    cid: Cid
    provider: str
    kept: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingTold:
    """What a provider says of whether a token has been revoked."""

    cid: Cid
    provider: str
    revocation: bytes = b""
    """The signed revocation, which was checked; empty if it knows of none."""
    unanswered: str = ""
    """Why it said nothing; empty if it did."""


TrustNews = RevocationAnswered | StandingTold
