"""From bytes to meaning: what was not verified here never reaches the node.

A frame is scanned, decoded and matched against its record; then the statement or
the invocation in it is opened, which checks signature, kind, audience and time.
What fails becomes a `FrameRejected` with a code, or, if not even the frame could
be read, an error that ends the session.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from nunet_node.capability.delegation import Delegation
from nunet_node.capability.errors import (
    InvalidClaimError,
    MatchError,
    RevokedError,
)
from nunet_node.capability.invocation import Invocation, open_invocation
from nunet_node.capability.proof_chain import open_chain
from nunet_node.capability.revocation import open_revocation
from nunet_node.errors import PeerError
from nunet_node.identity.challenge import CHALLENGE_KIND, Challenge
from nunet_node.identity.did import (
    NO_DOCUMENTS,
    Did,
    Documents,
    is_web,
    parse_did,
)
from nunet_node.identity.errors import (
    MethodNotSupportedError,
    StaleError,
    WrongAudienceError,
    WrongKindError,
)
from nunet_node.identity.peer_id import did_of_peer_id
from nunet_node.identity.statement import (
    Statement,
    open_statement,
    topic_audience,
)
from nunet_node.jobs import statements as job_statements
from nunet_node.market import offers
from nunet_node.protocol.inputs import (
    AdvertsHeard,
    FrameReceived,
    FrameRejected,
    OpenedBody,
    RevocationsHeard,
    SessionId,
)
from nunet_node.protocol.messages import (
    REVOKED,
    Adverts,
    AdvertsWanted,
    Body,
    ChallengeWanted,
    Frame,
    Invoke,
    Refused,
    Revocations,
    RevocationsKept,
    RevocationsWanted,
    Stated,
)
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import FRAME_BYTES_MAX, GOSSIP_BYTES_MAX
from nunet_node.wire.schema import decode_record

STATEMENTS: Final[Mapping[str, tuple[type[Any], bool]]] = {
    CHALLENGE_KIND: (Challenge, True),
    offers.CALL: (offers.CallForBids, True),
    offers.BID: (offers.Bid, True),
    offers.REFUSAL: (offers.Refusal, True),
    job_statements.REPORT: (job_statements.Report, True),
    job_statements.HELD: (job_statements.Held, True),
    REVOKED: (RevocationsKept, True),
    job_statements.ACCEPTED: (job_statements.Accepted, False),
    job_statements.NOTICE: (job_statements.Notice, False),
    job_statements.RECEIPT: (job_statements.Receipt, False),
    job_statements.LOG_RECEIPT: (job_statements.LogReceipt, False),
    job_statements.CONFIRMATION: (job_statements.Confirmation, False),
}
"""Every kind of statement on a session: its record, and whether it must be fresh.

What is not fresh is a lasting fact about a job, repeated after any time away."""

LASTING: Final = frozenset(
    {MatchError.code, RevokedError.code, MethodNotSupportedError.code}
)
"""Codes of what fails again however often it is tried, so that nobody waits for it."""

ADMISSION_ARG: Final = "admission"
"""The argument that names the chain by which the owner is admitted."""

MANDATE_ARG: Final = "mandate"
"""The argument that names what the receiver itself is allowed from now on."""


def open_frame(
    session: SessionId,
    data: bytes,
    *,
    now_s: int,
    audiences: Collection[str],
    own_did: Did,
    documents: Documents = NO_DOCUMENTS,
) -> FrameReceived | FrameRejected:
    """Return what a frame says, or why it says nothing.

    Args:
        session: where it came from.
        data: the frame's bytes.
        now_s: unix seconds.
        audiences: the DIDs that this process speaks for.
        own_did: the node's own DID, the only one that commands may be meant for.
        documents: what was fetched of its signers, as `trust.signers` names them.

    Raises:
        PeerError: it is no frame at all; the session should end.
    """
    frame = decode_record(Frame, data, bytes_max=FRAME_BYTES_MAX)
    try:
        body = _open_body(frame.body, now_s, audiences, own_did, documents)
    except PeerError as error:
        return FrameRejected(
            session=session,
            frame=frame.id,
            re=frame.re,
            code=error.code,
            reason=str(error),
        )
    return FrameReceived(session=session, frame=frame.id, re=frame.re, body=body)


def open_adverts(items: Iterable[bytes], *, now_s: int) -> AdvertsHeard:
    """Return the adverts that verify; a bad one is no fault of who passed it on."""
    opened, stale = [], 0
    for data in items:
        try:
            opened.append(open_advert(data, now_s=now_s))
        except StaleError:
            stale += 1
        except PeerError:
            continue
    return AdvertsHeard(adverts=tuple(opened), stale=stale)


def open_advert(data: bytes, *, now_s: int) -> Statement[offers.Advert]:
    """Read and verify one advert.

    Raises:
        PeerError: it does not verify, or is somebody else's peer.
    """
    heard = open_statement(
        data,
        kind=offers.ADVERT,
        payload_type=offers.Advert,
        now_s=now_s,
        audience=topic_audience(offers.ADVERT_TOPIC),
        bytes_max=GOSSIP_BYTES_MAX,
    )
    if did_of_peer_id(heard.payload.peer_id) != heard.issuer:
        raise WrongAudienceError("an advert for another peer than its author")
    return heard


def advert_is_authentic(data: bytes) -> bool:
    """Tell whether gossip carries an authentic advert, stale or not.

    A pure function of the bytes, because gossip routers cache the verdict: a stale
    advert is no reason to punish whoever forwarded it, so age is judged later.
    """
    try:
        heard = open_statement(
            data,
            kind=offers.ADVERT,
            payload_type=offers.Advert,
            now_s=0,
            audience=topic_audience(offers.ADVERT_TOPIC),
            bytes_max=GOSSIP_BYTES_MAX,
            check_time=False,
        )
        return did_of_peer_id(heard.payload.peer_id) == heard.issuer
    except PeerError:
        return False


def open_revocations(
    items: Iterable[bytes], *, more: bool = False, documents: Documents = NO_DOCUMENTS
) -> RevocationsHeard:
    """Return the revocations that verify; a bad one is no fault of who passed it on."""
    opened = []
    for data in items:
        try:
            opened.append(open_revocation(data, documents))
        except PeerError:
            continue
    return RevocationsHeard(revocations=tuple(opened), more=more)


def revocation_is_authentic(data: bytes) -> bool:
    """Tell whether gossip carries an authentic revocation.

    A pure function of the bytes, because gossip routers cache the verdict.
    """
    return bool(open_revocations((data,)).revocations)


def _open_body(
    body: Body,
    now_s: int,
    audiences: Collection[str],
    own_did: Did,
    documents: Documents,
) -> OpenedBody:
    match body:
        case AdvertsWanted() | ChallengeWanted() | RevocationsWanted():
            if isinstance(body, ChallengeWanted):
                _check_subject(body.subject, documents)
            return body
        case Adverts():
            return open_adverts(body.items, now_s=now_s)
        case Revocations():
            return open_revocations(body.items, more=body.more, documents=documents)
        case Invoke():
            return _open_command(body, now_s, own_did, documents)
        case Stated():
            return _open_stated(body, now_s, audiences)
        case Refused():
            stated = Stated(statement_kind=offers.REFUSAL, data=body.data)
            return _open_stated(stated, now_s, audiences)


def _check_subject(text: str, documents: Documents) -> None:
    # Whose document is not looked up here need not sign anything to hear so.
    if is_web(parse_did(text)) and not documents.spoken:
        documents.of(Did(text))


def _open_command(
    body: Invoke, now_s: int, own_did: Did, documents: Documents
) -> Invocation:
    proofs = {Cid.of_dag_cbor(data): data for data in body.proofs}
    invocation = open_invocation(
        body.invocation,
        now_s=now_s,
        audience=own_did,
        proofs=proofs,
        documents=documents,
    )
    # Their signatures are checked here; whether the chain admits is the provider's.
    return msgspec.structs.replace(
        invocation,
        beside=_named_chain(invocation, ADMISSION_ARG, proofs, documents),
        handed=_named_chain(invocation, MANDATE_ARG, proofs, documents),
    )


def _named_chain(
    invocation: Invocation, arg: str, proofs: Mapping[Cid, bytes], documents: Documents
) -> tuple[Delegation, ...]:
    named = invocation.args.get(arg, ())
    if not isinstance(named, tuple) or not all(isinstance(c, Cid) for c in named):
        raise InvalidClaimError(f"the delegations of {arg} are named by content ids")
    return open_chain(named, proofs, documents)


def _open_stated(body: Stated, now_s: int, audiences: Collection[str]) -> OpenedBody:
    known = STATEMENTS.get(body.statement_kind)
    if known is None:
        raise WrongKindError(f"no statement of kind {body.statement_kind[:64]!r}")
    payload_type, fresh = known
    statement: Statement[Any] = open_statement(
        body.data,
        kind=body.statement_kind,
        payload_type=payload_type,
        now_s=now_s,
        audience=None,
        check_time=fresh,
    )
    if statement.audience not in audiences:
        raise WrongAudienceError("a statement made for somebody else")
    return statement
