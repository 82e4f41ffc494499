"""Revocations: a delegation is taken back by anybody who gave it, or its giver.

Rule: a revocation is for ever, and brings the delegations that show who may make it,
so it can be judged by a node that never saw them. The set of revoked ids only grows,
until a revoked token would have expired anyway (UCAN 1.0, "Revocation").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nunet_node.capability.delegation import Delegation, open_delegation
from nunet_node.capability.errors import InvalidClaimError, InvalidSubjectError
from nunet_node.capability.proof_chain import CHAIN_LINKS_MAX, check_joints
from nunet_node.identity.did import Did
from nunet_node.wire.cid import Cid

REVOCATION_KEPT_S: Final = 3600
"""How long an id is kept beyond its token's expiry: far more than clocks differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A token that is void from now on."""

    cid: Cid
    revoker: Did
    keep_until_s: int | None
    """When the id may be forgotten; None is never, for a token without an expiry."""


def judge_revocation(revoker: Did, tokens: Sequence[bytes]) -> Revocation:
    """Return what a revocation voids: the last of these tokens.

    Args:
        revoker: who signed the revocation.
        tokens: delegations, each given on in the next; the last is to be void. Its
            issuer need not bring those above it.

    Raises:
        CapabilityError: a stranger's revocation, or the tokens are no chain.
        PeerError: a token is no valid delegation.
    """
    if not 0 < len(tokens) <= CHAIN_LINKS_MAX:
        raise InvalidClaimError(f"a revocation brings 1 to {CHAIN_LINKS_MAX} tokens")
    chain = [open_delegation(token) for token in tokens]
    target = chain[-1]
    if revoker != target.issuer:
        _check_above(revoker, chain)
    expires_at_s = target.expires_at_s
    return Revocation(
        cid=target.cid,
        revoker=revoker,
        keep_until_s=None if expires_at_s is None else expires_at_s + REVOCATION_KEPT_S,
    )


def _check_above(revoker: Did, chain: Sequence[Delegation]) -> None:
    # Anybody can delegate something of their own to the target's issuer. Only a
    # chain about the target's own subject, wide enough for what the target allows,
    # makes its givers those whom the target's power came from.
    if revoker not in {link.issuer for link in chain}:
        raise InvalidClaimError("only who issued a link of the chain may revoke it")
    subject = chain[-1].subject
    if subject is None or {chain[0].issuer, chain[0].subject} != {subject}:
        raise InvalidSubjectError("the chain does not begin with the target's subject")
    if any(link.subject not in (None, subject) for link in chain):
        raise InvalidSubjectError("a link is about somebody else's resources")
    check_joints(chain)
