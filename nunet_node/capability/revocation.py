"""Revocations: a delegation is taken back by anybody who gave it, or its giver.

Rule: a revocation is for ever, and brings the delegations that show who may make it,
so it can be judged by a node that never saw them. The set of revoked ids only grows,
until a revoked token would have expired anyway (UCAN 1.0, "Revocation").
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

import msgspec

from nunet_node.capability.delegation import (
    Delegation,
    issuer_of_delegation,
    open_delegation,
)
from nunet_node.capability.errors import InvalidClaimError, InvalidSubjectError
from nunet_node.capability.invocation import (
    issuer_of_invocation,
    open_invocation,
    seal_invocation,
)
from nunet_node.capability.proof_chain import CHAIN_LINKS_MAX, check_joints
from nunet_node.identity.did import NO_DOCUMENTS, VOUCHED, Did, Documents, is_web
from nunet_node.identity.keys import Signer
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import GOSSIP_BYTES_MAX
from nunet_node.wire.schema import Record, decode_record, encode_record

REVOKE: Final = "/ucan/revoke"
"""The command that a revocation is, by UCAN's own name for it."""

REVOCATION_TTL_S: Final = 10 * 365 * 86400
"""Expiry of a revocation whose token has none; nobody relies on it, because what was
revoked once stays so."""

REVOCATION_KEPT_S: Final = 3600
"""How long an id is kept beyond its token's expiry: far more than clocks differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A token that is void from now on."""

    cid: Cid
    revoker: Did
    keep_until_s: int | None
    """When the id may be forgotten; None is never, for a token without an expiry."""
    data: bytes = b""
    """The signed revocation, to be passed on; empty if there is none yet."""
    leans: bool = False
    """A signature in it is a did:web's: its bytes alone do not prove it, so that it
    cannot be gossiped."""


class _Signed(Record):
    """A revocation as it travels: it proves itself, so that anybody may carry it."""

    invocation: bytes
    tokens: Annotated[
        tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=CHAIN_LINKS_MAX)
    ]
    """Delegations, each given on in the next; the last is void."""


def seal_revocation(
    *, signer: Signer, tokens: Sequence[bytes], nonce: bytes, now_s: int
) -> bytes:
    """Return a signed revocation of the last of these tokens.

    It answers no challenge: presenting it again changes nothing, and it can only take
    away.

    Raises:
        CapabilityError: the signer may not revoke it, or the tokens are no chain.
        InvalidClaimError: it would be too large to be passed on.
    """
    revocation = judge_revocation(signer.did, tokens, VOUCHED)
    invocation = seal_invocation(
        signer=signer,
        subject=signer.did,
        audience=signer.did,
        command=REVOKE,
        args={"ucan": revocation.cid},
        nonce=nonce,
        expires_at_s=revocation.keep_until_s or now_s + REVOCATION_TTL_S,
    )
    data = encode_record(_Signed(invocation=invocation, tokens=tuple(tokens)))
    if len(data) > GOSSIP_BYTES_MAX:
        raise InvalidClaimError(f"a revocation has at most {GOSSIP_BYTES_MAX} bytes")
    return data


def open_revocation(data: bytes, documents: Documents = NO_DOCUMENTS) -> Revocation:
    """Read and verify a revocation; a function of the bytes and of what was fetched.

    Raises:
        WireError: no revocation's bytes.
        CapabilityError: it is signed by nobody who may, or about something else.
        PeerError: a token is no valid delegation.
    """
    signed = decode_record(_Signed, data, bytes_max=GOSSIP_BYTES_MAX)
    # Time is no matter: a revocation holds for as long as anybody remembers it.
    invocation = open_invocation(
        signed.invocation,
        now_s=0,
        audience=None,
        proofs={},
        must_expire=False,
        documents=documents,
    )
    revocation = judge_revocation(invocation.issuer, signed.tokens, documents)
    if invocation.command != REVOKE or invocation.args != {"ucan": revocation.cid}:
        raise InvalidClaimError("the revocation is of something else")
    if invocation.audience != invocation.issuer:
        raise InvalidClaimError("a revocation is made for everybody")
    return replace(revocation, data=data)


def issuers_of_revocation(data: bytes) -> tuple[Did, ...]:
    """Return who says that a revocation and the tokens in it are theirs, unverified.

    Raises:
        PeerError: no revocation's bytes.
    """
    signed = decode_record(_Signed, data, bytes_max=GOSSIP_BYTES_MAX)
    revoker = issuer_of_invocation(signed.invocation, now_s=None, audience=None)
    return (revoker, *map(issuer_of_delegation, signed.tokens))


def judge_revocation(
    revoker: Did, tokens: Sequence[bytes], documents: Documents = NO_DOCUMENTS
) -> Revocation:
    """Return what a revocation voids: the last of these tokens.

    Args:
        revoker: who signed the revocation.
        tokens: delegations, each given on in the next; the last is to be void. Its
            issuer need not bring those above it.
        documents: what was fetched of issuers that do not carry their own.

    Raises:
        CapabilityError: a stranger's revocation, or the tokens are no chain.
        PeerError: a token is no valid delegation.
    """
    if not 0 < len(tokens) <= CHAIN_LINKS_MAX:
        raise InvalidClaimError(f"a revocation brings 1 to {CHAIN_LINKS_MAX} tokens")
    chain = [open_delegation(token, documents) for token in tokens]
    target = chain[-1]
    if revoker != target.issuer:
        _check_above(revoker, chain)
    expires_at_s = target.expires_at_s
    return Revocation(
        cid=target.cid,
        revoker=revoker,
        keep_until_s=None if expires_at_s is None else expires_at_s + REVOCATION_KEPT_S,
        leans=any(map(is_web, (revoker, *(link.issuer for link in chain)))),
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
