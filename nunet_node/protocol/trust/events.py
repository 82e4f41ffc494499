"""What a user wants of the providers about delegations: take one back, or ask."""

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
