"""Delegations: somebody allows somebody else a command, under a policy (UCAN 1.0).

Rule: a delegation that could be opened has a valid signature. Whether it holds now,
was revoked, or fits a chain is asked each time it is used.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec

from nunet_node.capability.command import Command, parse_command
from nunet_node.capability.envelope import (
    DELEGATION_TAG,
    NONCE_BYTES_MAX,
    NONCE_BYTES_MIN,
    read_token,
    seal_token,
)
from nunet_node.capability.policy import Policy, parse_policy
from nunet_node.identity.did import (
    DID_CHARS_MAX,
    NO_DOCUMENTS,
    WEB_MARK,
    Did,
    Documents,
    Relationship,
    parse_did,
)
from nunet_node.identity.keys import Signer
from nunet_node.quantities import Count
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record

DELEGATION_BYTES_MAX: Final = 16_384
"""Largest delegation that is read: a policy of 256 conditions fits."""

DELEGATIONS_CACHED_MAX: Final = 512
"""Delegations that are kept verified, so that one that comes with every command of
an owner is verified once; 8 MiB at most."""

Nonce = Annotated[
    bytes, msgspec.Meta(min_length=NONCE_BYTES_MIN, max_length=NONCE_BYTES_MAX)
]
DidText = Annotated[str, msgspec.Meta(max_length=DID_CHARS_MAX)]

_GIVING: Final = (Relationship.CAPABILITY_DELEGATION,)


class _Payload(Record):
    iss: DidText
    aud: DidText
    sub: DidText | None
    cmd: str
    pol: tuple[Any, ...]
    nonce: Nonce
    exp: Count | None
    nbf: Count | None = None
    meta: dict[str, Any] | None = None


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """What its issuer allows its audience; the signature holds."""

    issuer: Did
    audience: Did
    subject: Did | None
    """Whose resources; None allows whatever the issuer is itself allowed."""
    command: Command
    policy: Policy
    not_before_s: int | None
    expires_at_s: int | None
    conditions: tuple[Any, ...]
    """The policy as it was written, for people."""
    meta: Mapping[str, Any]
    """What else the issuer signed; it may narrow what is allowed, never widen it."""
    cid: Cid
    data: bytes


def seal_delegation(  # noqa: PLR0913 - the specification's own fields
    *,
    signer: Signer,
    audience: Did,
    subject: Did | None,
    command: str,
    nonce: bytes,
    expires_at_s: int,
    policy: Sequence[Any] = (),
    not_before_s: int | None = None,
    meta: Mapping[str, Any] | None = None,
) -> bytes:
    """Return a signed delegation; what is minted here always expires.

    Args:
        signer: who allows it.
        audience: who is allowed it.
        subject: whose resources; None passes on whatever the signer is allowed.
        command: what is allowed, with everything below it.
        nonce: fresh random bytes, 8 to 64.
        expires_at_s: the last second in which it holds, unix time.
        policy: conditions on the arguments.
        not_before_s: the first second in which it holds.
        meta: plain values beside it, such as a budget.

    Raises:
        CapabilityError: the command or the policy is not valid.
    """
    parse_policy(policy)
    payload = _Payload(
        iss=signer.did,
        aud=audience,
        sub=subject,
        cmd=parse_command(command),
        pol=tuple(policy),
        nonce=nonce,
        exp=expires_at_s,
        nbf=not_before_s,
        meta=None if meta is None else dict(meta),
    )
    return seal_token(DELEGATION_TAG, payload, signer)


def open_delegation(data: bytes, documents: Documents = NO_DOCUMENTS) -> Delegation:
    """Read and verify a delegation; remembers those that hold by themselves.

    Args:
        data: the delegation's bytes.
        documents: what was fetched of issuers that do not carry their own.

    Raises:
        WireError: not strict CBOR, too large, or other fields than a delegation's.
        CapabilityError: not a delegation, or its signature does not hold.
        IdentityError: one of its DIDs is not valid.
    """
    if documents is NO_DOCUMENTS or WEB_MARK not in data:
        return open_alone(data)
    return _open(data, documents)


def issuer_of_delegation(data: bytes) -> Did:
    """Return who says that a delegation is theirs, unverified.

    Raises:
        PeerError: no delegation's bytes.
    """
    token = read_token(DELEGATION_TAG, _Payload, data, bytes_max=DELEGATION_BYTES_MAX)
    payload: _Payload = token.payload
    return parse_did(payload.iss)


@lru_cache(maxsize=DELEGATIONS_CACHED_MAX)
def open_alone(data: bytes) -> Delegation:
    """Read and verify a delegation by what it says alone; raises as the one above."""
    return _open(data, NO_DOCUMENTS)


def _open(data: bytes, documents: Documents) -> Delegation:
    token = read_token(DELEGATION_TAG, _Payload, data, bytes_max=DELEGATION_BYTES_MAX)
    payload: _Payload = token.payload
    issuer = parse_did(payload.iss)
    delegation = Delegation(
        issuer=issuer,
        audience=parse_did(payload.aud),
        subject=None if payload.sub is None else parse_did(payload.sub),
        command=parse_command(payload.cmd),
        policy=parse_policy(payload.pol),
        not_before_s=payload.nbf,
        expires_at_s=payload.exp,
        conditions=payload.pol,
        meta=payload.meta or {},
        cid=token.cid,
        data=data,
    )
    token.check_signature(issuer, _GIVING, documents)
    return delegation
