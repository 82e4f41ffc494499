"""Commands to a provider: the challenge first, then who may do what.

The order of checks is the same for every command, cheap before dear: the
challenge is spent; it must have been made for this session, this DID, this
command and these very arguments; the signature and its authority were checked
when the invocation was opened; then the command is looked at.

Rule: a job is always looked up by owner and id together, and a job of somebody
else gets the very answer that a job that does not exist gets.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from nunet_node.capability.errors import RevokedError
from nunet_node.capability.invocation import Invocation, request_digest
from nunet_node.errors import PeerError
from nunet_node.identity.challenge import (
    CHALLENGE_KIND,
    IssuedChallenge,
    answer_mismatch,
)
from nunet_node.identity.challenge import Refusal as ChallengeRefusal
from nunet_node.identity.did import Did
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import NOTICE, REASON_CHARS_MAX, RECEIPT
from nunet_node.market.offers import Refusal
from nunet_node.protocol.effects import GrantLogs, GrantRead
from nunet_node.protocol.messages import (
    CANCEL,
    KEEP,
    LOGS,
    READ,
    STATUS,
    SUBMIT,
    WATCH,
    ChallengeWanted,
    Stated,
)
from nunet_node.protocol.provider import keeping
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.provider.desk import WATCHERS_PER_JOB_MAX, Desk
from nunet_node.protocol.provider.submission import submit
from nunet_node.protocol.provider.telling import answer_report, confirm
from nunet_node.protocol.replicas import holding
from nunet_node.protocol.replicas.record import Replica
from nunet_node.protocol.sessions import Session
from nunet_node.protocol.turn import Turn
from nunet_node.wire.schema import Record, from_plain

UNKNOWN: Final = Refusal(code="job.unknown", reason="no such job, or not yours")

CHALLENGE_NONCE_BYTES: Final = 32


class JobArgs(Record):
    """The arguments of a command about one job."""

    job: JobId
    challenge: bytes


class WatchArgs(Record):
    """Which notices the owner has not seen."""

    job: JobId
    challenge: bytes
    after: Annotated[int, msgspec.Meta(ge=0, le=1 << 20)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A command that has proved its owner, and where its answer goes."""

    session: Session
    frame: int
    invocation: Invocation


def issue_challenge(
    desk: Desk, turn: Turn, session: Session, frame: int, wanted: ChallengeWanted
) -> None:
    """Answer a request for a challenge."""
    issued = desk.challenges.issue(
        str(session.id),
        subject=Did(wanted.subject),
        subject_peer=session.peer_id,
        command=wanted.command,
        request_digest=wanted.request_digest,
        nonce=desk.voice.nonce(CHALLENGE_NONCE_BYTES),
        now=turn.now,
    )
    if isinstance(issued, IssuedChallenge):
        answer = Stated(statement_kind=CHALLENGE_KIND, data=issued.data)
        desk.sessions.send(turn, session.id, answer, re=frame)
    else:
        refuse(desk, turn, session, frame, _of(issued))


def obey(desk: Desk, turn: Turn, asked: Asked) -> None:
    """Carry out a command, or refuse it and change nothing."""
    given = asked.invocation
    refusal = _why_unproved(desk, turn, asked) or _why_revoked(turn, given)
    if refusal is None and given.command == SUBMIT:
        refusal = submit(desk, turn, asked.session, asked.frame, given)
    elif refusal is None and given.command == KEEP:
        refusal = holding.keep(desk, turn, asked.session, asked.frame, given)
    elif refusal is None:
        refusal = _about_a_job(desk, turn, asked)
    if refusal is None:
        links = (link.cid for link in given.proofs)
        desk.lean(turn, asked.session.peer_id, links)
    else:
        refuse(desk, turn, asked.session, asked.frame, refusal)


def refuse(
    desk: Desk, turn: Turn, session: Session, frame: int, refusal: Refusal
) -> None:
    """Send a signed refusal."""
    answer = desk.voice.refuse(turn, session, refusal)
    desk.sessions.send(turn, session.id, answer, re=frame)


def _why_unproved(desk: Desk, turn: Turn, asked: Asked) -> Refusal | None:
    given = asked.invocation
    digest = given.args.get("challenge")
    if not isinstance(digest, bytes):
        return Refusal(code="challenge.missing", reason="the command has no challenge")
    challenge = desk.challenges.spend(str(asked.session.id), digest, turn.now)
    if isinstance(challenge, ChallengeRefusal):
        return _of(challenge)
    wanted = request_digest(
        given.issuer, given.subject, desk.voice.did, given.command, given.args
    )
    mismatch = answer_mismatch(
        challenge,
        subject=given.issuer,
        command=given.command,
        request_digest=wanted,
    )
    return _of(mismatch) if mismatch else None


def _why_revoked(turn: Turn, given: Invocation) -> Refusal | None:
    # Opening knows no revocations; between it and here one may have been kept besides.
    void = turn.ledger.standing.void
    for number, link in enumerate(given.proofs, start=1):
        if link.cid in void:
            reason = (
                f"link {number} of {len(given.proofs)}, given by {link.issuer}, "
                "has been revoked"
            )
            return Refusal(code=RevokedError.code, reason=reason, never=True)
    return None


def _about_a_job(desk: Desk, turn: Turn, asked: Asked) -> Refusal | None:
    handler = _HANDLERS.get(asked.invocation.command)
    if handler is None:
        return Refusal(code="command.unknown", reason="no such command")
    given = asked.invocation
    args: JobArgs | WatchArgs
    try:
        if given.command == WATCH:
            args = from_plain(WatchArgs, given.args)
        else:
            args = from_plain(JobArgs, given.args)
    except PeerError as error:
        return Refusal(code=error.code, reason=str(error)[:REASON_CHARS_MAX])
    job = turn.ledger.jobs.get(args.job)
    if job is None or job.owner != given.subject or job.receipt is None:
        mine = job is not None and job.owner == given.subject
        kept = _copy_for(turn, given, args.job, has_job=mine)
        if kept is not None:
            holding.read(desk, turn, asked.session, asked.frame, kept)
            return None
    if job is None or job.owner != given.subject:
        return UNKNOWN
    return handler(desk, turn, asked, job, args)


def _copy_for(
    turn: Turn, given: Invocation, job: JobId, *, has_job: bool
) -> Replica | None:
    """Return the copy here that answers a command of its owner, if one does.

    Logs are in a copy of a result, too; whoever ran the job here knows them better.
    """
    replica = turn.ledger.replicas.get((given.subject, job))
    kept = replica.whole if replica is not None else None
    if kept is None or (given.command == LOGS and has_job):
        return None
    if given.command == LOGS or (given.command == READ and not kept.logs):
        return kept
    return None


def _status(
    desk: Desk, turn: Turn, asked: Asked, job: Job, _: JobArgs | WatchArgs
) -> None:
    answer_report(desk, turn, asked.session.id, asked.frame, job)


def _logs(
    desk: Desk, turn: Turn, asked: Asked, job: Job, _: JobArgs | WatchArgs
) -> None:
    turn.do(GrantLogs(peer_id=asked.session.peer_id, job=job.job, attempt=job.attempt))
    answer_report(desk, turn, asked.session.id, asked.frame, job)


def _watch(
    desk: Desk, turn: Turn, asked: Asked, job: Job, args: JobArgs | WatchArgs
) -> None:
    after = args.after if isinstance(args, WatchArgs) else 0
    answer_report(desk, turn, asked.session.id, asked.frame, job)
    for data in job.notices[after:]:
        stated = Stated(statement_kind=NOTICE, data=data)
        desk.sessions.send(turn, asked.session.id, stated)
    desk.watch(asked.session, job)


def _read(
    desk: Desk, turn: Turn, asked: Asked, job: Job, _: JobArgs | WatchArgs
) -> Refusal | None:
    if job.result is None or job.receipt is None:
        state = job.state or "queued"
        what = "has no result" if job.ended else "is not there yet"
        return Refusal(
            code="result.none", reason=f"the result {what}: the job is {state}"
        )
    if job.expired:
        at_s = job.kept_until_s
        return Refusal(
            code="result.expired",
            reason=f"the result was kept until {at_s} (unix time), as agreed",
            never=True,
        )
    turn.do(GrantRead(peer_id=asked.session.peer_id, job=job.job, root=job.result))
    answer = Stated(statement_kind=RECEIPT, data=job.receipt)
    desk.sessions.send(turn, asked.session.id, answer, re=asked.frame)
    return None


def _cancel(
    desk: Desk, turn: Turn, asked: Asked, job: Job, _: JobArgs | WatchArgs
) -> Refusal | None:
    if asked.invocation.issuer != job.owner and not job.spec.cancel_delegable:
        return UNKNOWN
    if job.ended:
        confirm(desk, turn, asked.session.id, asked.frame, job, already=True)
        return None
    waiting = desk.cancels.setdefault(job.job, [])
    if len(waiting) < WATCHERS_PER_JOB_MAX:
        waiting.append((asked.session.id, asked.frame))
    keeping.cancel(desk, turn, job)
    return None


Handler = Callable[[Desk, Turn, Asked, Job, JobArgs | WatchArgs], Refusal | None]

_HANDLERS: Final[Mapping[str, Handler]] = {
    STATUS: _status,
    LOGS: _logs,
    WATCH: _watch,
    READ: _read,
    CANCEL: _cancel,
}


def _of(refusal: ChallengeRefusal) -> Refusal:
    return Refusal(code=refusal.code, reason=refusal.detail)
