"""Chains of proofs: from whom a resource belongs to, down to who acts on it.

A chain is in order from its root, whose issuer is the subject, to the delegation
whose audience is the one who acts. Everything is checked at the moment of acting:
each link's window of time, its revocation, and every link's policy on the arguments
(UCAN 1.0, "Validation").
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from nunet_node.capability.command import Command, proves
from nunet_node.capability.delegation import Delegation, open_delegation
from nunet_node.capability.errors import (
    CapabilityError,
    ExpiredError,
    InvalidAudienceError,
    InvalidClaimError,
    InvalidSubjectError,
    MatchError,
    RevokedError,
    TooEarlyError,
    UnavailableProofError,
)
from nunet_node.capability.policy import Meter
from nunet_node.identity.did import NO_DOCUMENTS, Did, Documents
from nunet_node.wire.cid import Cid

CHAIN_LINKS_MAX: Final = 8
"""Longest chain: an organisation, its parts, a team, a person, a program and some to
spare; each link costs a signature check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What is about to be done: by whom, on whose resources, with what."""

    invoker: Did
    subject: Did
    command: Command
    args: Mapping[str, Any]


def open_chain(
    cids: Sequence[Cid],
    proofs: Mapping[Cid, bytes],
    documents: Documents = NO_DOCUMENTS,
) -> tuple[Delegation, ...]:
    """Return the delegations that these ids name, each verified.

    Raises:
        InvalidClaimError: too many, or one twice.
        UnavailableProofError: one was not sent along.
        PeerError: one is no valid delegation.
    """
    if len(cids) > CHAIN_LINKS_MAX:
        raise InvalidClaimError(f"a chain has at most {CHAIN_LINKS_MAX} links")
    if len(set(cids)) != len(cids):
        raise InvalidClaimError("a chain has one link twice")
    return tuple(_open(cid, proofs, documents) for cid in cids)


def check_chain(
    chain: Sequence[Delegation],
    act: Act,
    *,
    now_s: int,
    revoked: AbstractSet[Cid] = frozenset(),
    must_expire: bool = True,
) -> None:
    """Check that a chain allows an act now.

    Args:
        chain: from the root to the invoker; may be empty if the subject itself acts.
        act: what is about to be done.
        now_s: unix seconds.
        revoked: the tokens that are revoked.
        must_expire: refuse links without an expiry, which UCAN itself allows.

    Raises:
        CapabilityError: it does not; the leaf says why.
    """
    _check_ends(chain, act)
    check_joints(chain)
    meter = Meter()
    for number, link in enumerate(chain, start=1):
        try:
            check_link(link, act, now_s, must_expire=must_expire, meter=meter)
            check_revocation(link.cid, revoked)
        except CapabilityError as error:
            where = f"link {number} of {len(chain)}, given by {link.issuer}"
            raise type(error)(f"{where}: {error}") from None


def check_joints(chain: Sequence[Delegation]) -> None:
    """Check that each link was given to the next one's issuer, and allows as much.

    Raises:
        InvalidAudienceError: one was given to somebody else.
        InvalidClaimError: one allows more than the one above it.
    """
    for giver, taker in pairwise(chain):
        if giver.audience != taker.issuer:
            raise InvalidAudienceError("a link was not given to the next one's issuer")
        if not proves(giver.command, taker.command):
            raise InvalidClaimError("a link allows more than the one above it")


def check_revocation(cid: Cid, revoked: AbstractSet[Cid]) -> None:
    """Check that a token is not revoked.

    Raises:
        RevokedError: it is.
    """
    if revoked and cid in revoked:
        raise RevokedError("a proof has been revoked")


def check_link(
    link: Delegation, act: Act, now_s: int, *, must_expire: bool, meter: Meter
) -> None:
    """Check one link by itself: whose, when, which command, which arguments.

    Raises:
        CapabilityError: it does not allow the act; the leaf says why.
    """
    if link.subject is not None and link.subject != act.subject:
        raise InvalidSubjectError("a link is about somebody else's resources")
    check_time(link, now_s, must_expire=must_expire)
    if not proves(link.command, act.command):
        raise InvalidClaimError("a link does not allow this command")
    if not link.policy.holds(act.args, meter):
        raise MatchError("the arguments do not satisfy a policy")


def check_time(link: Delegation, now_s: int, *, must_expire: bool) -> None:
    """Check that a link holds now.

    Raises:
        InvalidClaimError: it never expires, and it must.
        ExpiredError: it holds no longer.
        TooEarlyError: it does not hold yet.
    """
    if link.expires_at_s is None and must_expire:
        raise InvalidClaimError("a delegation must expire")
    if link.expires_at_s is not None and now_s > link.expires_at_s:
        raise ExpiredError("a proof has expired")
    if link.not_before_s is not None and now_s < link.not_before_s:
        raise TooEarlyError("a proof does not hold yet")


def _open(cid: Cid, proofs: Mapping[Cid, bytes], documents: Documents) -> Delegation:
    data = proofs.get(cid)
    if data is None:
        raise UnavailableProofError("a proof was not sent along")
    delegation = open_delegation(data, documents)
    if delegation.cid != cid:
        raise InvalidClaimError("a proof is not the one that its id names")
    return delegation


def _check_ends(chain: Sequence[Delegation], act: Act) -> None:
    if not chain:
        if act.invoker != act.subject:
            raise InvalidClaimError("neither the subject itself nor any proof")
        return
    root, leaf = chain[0], chain[-1]
    if root.subject is None:
        raise InvalidClaimError("the root of a chain must name its subject")
    if root.subject != root.issuer:
        raise InvalidSubjectError("the root of a chain is not its subject's own")
    if leaf.audience != act.invoker:
        raise InvalidAudienceError("the chain was given to somebody else")
