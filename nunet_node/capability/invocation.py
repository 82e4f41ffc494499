"""Invocations: signed commands, the only thing that causes work (UCAN 1.0).

An invocation names who asks (issuer), on whose resources (subject), whom it asks
(audience), what (command, arguments) and why it may (proofs). The issuer must be the
subject, or hold a chain of delegations from it. That no invocation acts twice is its
receiver's to ensure: its id is `Invocation.cid`, and it always expires.
"""

import hashlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from nunet_node.capability.command import Command, parse_command
from nunet_node.capability.delegation import Delegation, DidText, Nonce
from nunet_node.capability.envelope import (
    INVOCATION_TAG,
    Token,
    read_token,
    seal_token,
)
from nunet_node.capability.errors import (
    ExpiredError,
    InvalidAudienceError,
    InvalidClaimError,
)
from nunet_node.capability.proof_chain import (
    Act,
    check_chain,
    check_revocation,
    open_chain,
)
from nunet_node.identity.did import (
    NO_DOCUMENTS,
    Did,
    Documents,
    Relationship,
    parse_did,
)
from nunet_node.identity.keys import Signer
from nunet_node.quantities import Count
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import FRAME_BYTES_MAX
from nunet_node.wire.schema import Record

CHALLENGE_ARG: Final = "challenge"
"""The argument that holds the digest of the challenge that is answered."""


_ASKING: Final = (Relationship.CAPABILITY_INVOCATION,)
_ANSWERING: Final = (*_ASKING, Relationship.AUTHENTICATION)
"""A command that answers a challenge proves who is there, besides what they want."""


class _Payload(Record):
    iss: DidText
    sub: DidText
    cmd: str
    args: dict[str, Any]
    prf: tuple[Cid, ...]
    nonce: Nonce
    exp: Count | None
    aud: DidText | None = None
    iat: Count | None = None
    cause: Cid | None = None
    meta: dict[str, Any] | None = None


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """A command that its issuer may give; signature and proofs hold."""

    issuer: Did
    subject: Did
    audience: Did
    command: Command
    args: Mapping[str, Any]
    """Plain values; arrays are tuples. Parse them before use."""
    nonce: bytes
    expires_at_s: int | None
    proofs: tuple[Delegation, ...]
    """From the subject's own delegation down to the issuer; empty if it is itself."""
    beside: tuple[Delegation, ...] = ()
    """A second chain that the arguments name; its signatures hold, and no more."""
    handed: tuple[Delegation, ...] = ()
    """Delegations that the arguments hand over to whoever is asked; likewise."""
    agreement: bytes = b""
    """The X25519 key in the document that was fetched of the subject; empty if none
    was, or it has none."""
    cid: Cid
    data: bytes

    def request_digest(self) -> bytes:
        """Return what the challenge to this command must name."""
        return request_digest(
            self.issuer, self.subject, self.audience, self.command, self.args
        )


def request_digest(
    issuer: str,
    subject: str,
    audience: str,
    command: str,
    args: Mapping[str, Any],
) -> bytes:
    """Return SHA-256 of a command as it stands before its challenge is known.

    Raises:
        MisuseError: the arguments cannot be encoded.
    """
    asked = {name: value for name, value in args.items() if name != CHALLENGE_ARG}
    request = {"iss": issuer, "sub": subject, "aud": audience, "cmd": command}
    return hashlib.sha256(cbor.encode({**request, "args": asked})).digest()


def seal_invocation(  # noqa: PLR0913 - the specification's own fields
    *,
    signer: Signer,
    subject: Did,
    audience: Did,
    command: str,
    args: Mapping[str, Any],
    nonce: bytes,
    expires_at_s: int,
    issued_at_s: int | None = None,
    proofs: Sequence[Cid] = (),
) -> bytes:
    """Return a signed command.

    Args:
        signer: who asks.
        subject: on whose resources.
        audience: the node that is asked.
        command: what it is to do.
        args: plain values, the challenge's digest among them.
        nonce: fresh random bytes, 8 to 64.
        expires_at_s: the last second in which it holds, unix time.
        issued_at_s: when it was made; for people, nothing relies on it.
        proofs: the ids of the delegations from the subject to the signer, in order.

    Raises:
        InvalidClaimError: the command is not a path.
        MisuseError: the arguments cannot be encoded.
    """
    payload = _Payload(
        iss=signer.did,
        sub=subject,
        aud=audience,
        cmd=parse_command(command),
        args=dict(args),
        prf=tuple(proofs),
        nonce=nonce,
        exp=expires_at_s,
        iat=issued_at_s,
    )
    return seal_token(INVOCATION_TAG, payload, signer)


def open_invocation(  # noqa: PLR0913 - each is something to be checked against
    data: bytes,
    *,
    now_s: int,
    audience: Did | None,
    proofs: Mapping[Cid, bytes],
    revoked: AbstractSet[Cid] = frozenset(),
    must_expire: bool = True,
    bytes_max: int = FRAME_BYTES_MAX,
    documents: Documents = NO_DOCUMENTS,
) -> Invocation:
    """Read a command and verify that its issuer may give it now.

    Args:
        data: the invocation's bytes.
        now_s: unix seconds.
        audience: the node that was asked, which is us; None accepts any.
        proofs: the delegations that were sent along, by their ids.
        revoked: the tokens that are revoked.
        must_expire: refuse tokens without an expiry, which UCAN itself allows.
        bytes_max: the largest invocation that belongs here.
        documents: what was fetched of issuers that do not carry their own.

    Raises:
        WireError: not strict CBOR, too large, or other fields than an invocation's.
        CapabilityError: the issuer may not; the leaf says why.
        IdentityError: one of its DIDs is not valid.
    """
    token = read_token(INVOCATION_TAG, _Payload, data, bytes_max=bytes_max)
    payload: _Payload = token.payload
    _check_time(payload, now_s, must_expire=must_expire)
    _check_audience(payload, audience)
    check_revocation(token.cid, revoked)
    chain = open_chain(payload.prf, proofs, documents)
    invocation = _unsigned(token, chain, documents)
    act = Act(
        invoker=invocation.issuer,
        subject=invocation.subject,
        command=invocation.command,
        args=invocation.args,
    )
    check_chain(
        invocation.proofs, act, now_s=now_s, revoked=revoked, must_expire=must_expire
    )
    uses = _ANSWERING if CHALLENGE_ARG in payload.args else _ASKING
    token.check_signature(invocation.issuer, uses, documents)
    return invocation


def issuer_of_invocation(
    data: bytes, *, now_s: int | None, audience: Did | None
) -> Did:
    """Return who says that a command is theirs, unverified.

    Args:
        data: the invocation's bytes.
        now_s: unix seconds; None if its time is no matter.
        audience: the node that was asked, which is us; None accepts any.

    Raises:
        PeerError: no invocation's bytes, out of time, or given to somebody else.
    """
    token = read_token(INVOCATION_TAG, _Payload, data, bytes_max=FRAME_BYTES_MAX)
    payload: _Payload = token.payload
    if now_s is not None:
        _check_time(payload, now_s, must_expire=True)
    _check_audience(payload, audience)
    return parse_did(payload.iss)


def _unsigned(
    token: Token, chain: tuple[Delegation, ...], documents: Documents
) -> Invocation:
    payload: _Payload = token.payload
    subject = parse_did(payload.sub)
    document = documents.found.get(subject)
    return Invocation(
        issuer=parse_did(payload.iss),
        subject=subject,
        audience=subject if payload.aud is None else parse_did(payload.aud),
        command=parse_command(payload.cmd),
        args=payload.args,
        nonce=payload.nonce,
        expires_at_s=payload.exp,
        proofs=chain,
        agreement=(document.key_agreement if document else None) or b"",
        cid=token.cid,
        data=token.data,
    )


def _check_audience(payload: _Payload, audience: Did | None) -> None:
    if audience not in (None, payload.sub if payload.aud is None else payload.aud):
        raise InvalidAudienceError("the command was given to somebody else")


def _check_time(payload: _Payload, now_s: int, *, must_expire: bool) -> None:
    if payload.exp is None:
        if must_expire:
            raise InvalidClaimError("a command must expire")
    elif now_s > payload.exp:
        raise ExpiredError("the command has expired")
