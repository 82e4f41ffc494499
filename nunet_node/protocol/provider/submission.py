"""Taking custody of a job: the submit command is the award.

Everything is checked before anything is reserved, and the reservation, the queue
place, the first notice and the answer are decided in one turn: two jobs cannot
both take the last slot, and an answer that was sent is never forgotten. A retry
of the same submit gets the recorded answer.
"""

from typing import Annotated, Final

import msgspec

from nunet_node.capability.command import Command, proves
from nunet_node.capability.errors import CapabilityError
from nunet_node.capability.invocation import Invocation
from nunet_node.capability.proof_chain import CHAIN_LINKS_MAX, Act, check_chain
from nunet_node.errors import PeerError
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.scheduler import (
    QUEUE_PER_OWNER_MAX,
    Waiting,
    startable,
    tag_for,
)
from nunet_node.jobs.secrets import SecretsGiven
from nunet_node.jobs.specification import (
    SALT_BYTES,
    JobId,
    JobSpec,
    ResultKind,
    job_id_of,
)
from nunet_node.jobs.statements import (
    ACCEPTED,
    NOTICE,
    REASON_CHARS_MAX,
    Accepted,
    Attempt,
    Queue,
)
from nunet_node.market.offers import CallForBids, Refusal
from nunet_node.protocol.effects import ExpectInputs
from nunet_node.protocol.facts import (
    LINKS_MAX,
    JobAccepted,
    JobForgotten,
    JobMoved,
    ProofUsed,
)
from nunet_node.protocol.messages import KEEP, WATCH, Stated
from nunet_node.protocol.provider import keeping, moving
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.provider.desk import Desk
from nunet_node.protocol.provider.offering import why_not
from nunet_node.protocol.provider.telling import place_of
from nunet_node.protocol.secrets import holding
from nunet_node.protocol.sessions import LASTING_TTL_S, Session
from nunet_node.protocol.trust.admission import (
    proofs_used,
    why_not_admitted,
    why_over_budget,
)
from nunet_node.protocol.turn import Turn
from nunet_node.results.sealing import can_read
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record, encode_record, from_plain

JOBS_KEPT_MAX: Final = 10_000
"""Jobs in the ledger; the oldest ended one leaves for a new one."""


SECRETS_EARLY: Final = Refusal(
    code="job.secrets-early", reason="secrets for a job that is not accepted here"
)


class SubmitArgs(Record):
    """The arguments of a submit: the whole job, bound to its id."""

    job: JobId
    attempt: Attempt
    salt: bytes
    spec: JobSpec
    challenge: bytes
    admission: Annotated[tuple[Cid, ...], msgspec.Meta(max_length=CHAIN_LINKS_MAX)] = ()
    """The delegations by which a provider that asks for them admits the owner."""
    mandate: Annotated[tuple[Cid, ...], msgspec.Meta(max_length=CHAIN_LINKS_MAX)] = ()
    """The delegations by which the provider may have the result kept elsewhere."""
    secrets: SecretsGiven | None = None
    """The job's secrets, once this provider has said that it has the job."""


def submit(
    desk: Desk, turn: Turn, session: Session, frame: int, given: Invocation
) -> Refusal | None:
    """Accept a job, answer a retry, or return why not."""
    try:
        args = from_plain(SubmitArgs, given.args)
    except PeerError as error:
        reason = str(error)[:REASON_CHARS_MAX]
        return Refusal(code=error.code, reason=reason, never=True)
    spec_cid = Cid.of_dag_cbor(encode_record(args.spec))
    if (
        len(args.salt) != SALT_BYTES
        or job_id_of(given.subject, spec_cid, args.salt) != args.job
    ):
        return Refusal(
            code="job.id-mismatch", reason="the id is not this job's", never=True
        )
    known = turn.ledger.jobs.get(args.job)
    if known is None or args.attempt > known.attempt:
        refusal = _why_not_again(known, args.attempt) if known else None
        refusal = refusal or _take_custody(desk, turn, given, args, spec_cid)
    else:
        refusal = _repeated(desk, known, args)
    if refusal is not None:
        return refusal
    job = turn.ledger.jobs[args.job]
    _answer(desk, turn, session, frame, job)
    if all(proves(link.command, Command(WATCH)) for link in given.proofs):
        _tell(desk, turn, session, job)
    keeping.schedule(desk, turn)
    return None


def _take_custody(
    desk: Desk, turn: Turn, given: Invocation, args: SubmitArgs, spec_cid: Cid
) -> Refusal | None:
    """Accept a new attempt, or return why not."""
    if args.secrets is not None:
        return SECRETS_EARLY
    try:
        proofs = proofs_used(given)
    except CapabilityError as error:
        return Refusal(code=error.code, reason=str(error)[:500], never=True)
    refusal = (
        _why_untrusted(desk, turn, given, args, proofs)
        or _why_not(desk, turn, given, args.spec, spec_cid)
        or _why_no_replicas(desk, turn, given, args)
    )
    if refusal is not None:
        return refusal
    _make_room(turn)
    _accept(desk, turn, given, args, spec_cid, proofs)
    return None


def _repeated(desk: Desk, known: Job, args: SubmitArgs) -> Refusal | None:
    """Take the secrets that come with a submit said again; return why not."""
    refusal = _why_not_again(known, args.attempt)
    if refusal is None and args.secrets is not None:
        refusal = holding.take(desk, known, args.secrets)
    return refusal


def _why_not_again(known: Job, attempt: int) -> Refusal | None:
    """Return why this attempt at a known job is not taken, if it is not."""
    if attempt > known.attempt and known.cancelling:
        return Refusal(
            code="job.cancelled", reason="its owner cancelled it", never=True
        )
    if attempt > known.attempt and not known.ended:
        return Refusal(
            code="job.attempt-running", reason=f"attempt {known.attempt} has not ended"
        )
    if attempt < _first_attempt(known):
        return Refusal(
            code="job.attempt-past", reason=f"attempt {known.attempt} is known already"
        )
    return None


def _first_attempt(known: Job) -> int:
    # Attempts that this provider began by itself belong to the acceptance.
    attempts = [m.attempt for m in known.history if m.at_s >= known.accepted_s]
    return min(attempts, default=known.attempt)


def _why_untrusted(
    desk: Desk,
    turn: Turn,
    given: Invocation,
    args: SubmitArgs,
    proofs: tuple[ProofUsed, ...],
) -> Refusal | None:
    standing, ledger = turn.ledger.standing, turn.ledger
    return why_not_admitted(
        desk.admission, given, standing, turn.now.unix_s
    ) or why_over_budget(
        standing,
        ledger.active_jobs(),
        proofs,
        args.spec.resources,
        counted=args.job in ledger.jobs,
    )


def _why_not(
    desk: Desk, turn: Turn, given: Invocation, spec: JobSpec, spec_cid: Cid
) -> Refusal | None:
    owner = given.subject
    call = CallForBids(
        call=b"",
        spec=spec_cid,
        engine=spec.engine,
        resources=spec.resources,
        run_s=spec.timeouts.run_s,
        inputs_bytes=spec.inputs_bytes,
        price_micro_ntx_max=spec.price_micro_ntx_max,
        isolation=spec.isolation or "",
        secrets=bool(spec.secrets),
        http=spec.network.http,
    )
    refusal = why_not(desk, turn, call)
    if refusal is not None:
        return refusal
    if spec.results is ResultKind.SEALED and not can_read(owner, given.agreement):
        return Refusal(
            code="job.owner-cannot-read",
            reason="results are sealed to their owner, whose DID has no key for that; "
            "use an Ed25519 identity or a document with an X25519 key, or ask for "
            "public results",
            never=True,
        )
    if spec.inputs_bytes > spec.resources.disk_bytes:
        return Refusal(
            code="job.inputs-too-large",
            reason=f"inputs of {spec.inputs_bytes} bytes on a disk of "
            f"{spec.resources.disk_bytes}",
            dimension="disk_bytes",
            never=True,
        )
    mine = [j for j in turn.ledger.active_jobs() if j.owner == owner and not j.holding]
    if len(mine) >= QUEUE_PER_OWNER_MAX:
        return Refusal(
            code="provider.owner-queue-full",
            reason=f"this owner has {QUEUE_PER_OWNER_MAX} jobs waiting here, as many "
            "as one owner may",
        )
    return None


def _why_no_replicas(
    desk: Desk, turn: Turn, given: Invocation, args: SubmitArgs
) -> Refusal | None:
    """Return why this provider could not have the result kept elsewhere."""
    if not args.spec.replicas:
        return None
    act = Act(
        invoker=desk.voice.did,
        subject=given.subject,
        command=Command(KEEP),
        args={"job": args.job, "copies": args.spec.replicas},
    )
    try:
        void = turn.ledger.standing.void.keys()
        check_chain(given.handed, act, now_s=turn.now.unix_s, revoked=void)
    except CapabilityError as error:
        reason = f"replicas are asked for, but not allowed: {error}"
        return Refusal(code=error.code, reason=reason[:REASON_CHARS_MAX], never=True)
    return None


def _make_room(turn: Turn) -> None:
    if len(turn.ledger.jobs) < JOBS_KEPT_MAX:
        return
    ended = (j for j in turn.ledger.jobs.values() if j.ended)
    oldest = min(ended, key=lambda j: j.sequence, default=None)
    if oldest is not None:
        turn.record(JobForgotten(job=oldest.job))


def _accept(
    desk: Desk,
    turn: Turn,
    given: Invocation,
    args: SubmitArgs,
    spec_cid: Cid,
    proofs: tuple[ProofUsed, ...],
) -> None:
    owner, spec, now_s = given.subject, args.spec, turn.now.unix_s
    active = turn.ledger.active_jobs()
    last = max((j.queue_tag for j in active if j.owner == owner), default=0)
    tag = tag_for(last, turn.ledger.started_tag)
    queue = _queue(desk, turn, args, tag)
    accepted = Accepted(
        job=args.job,
        owner=owner,
        attempt=args.attempt,
        spec=spec_cid,
        state=State.QUEUED if queue else State.ALLOCATED,
        lease_until_s=now_s + spec.lease_s,
        price_micro_ntx=desk.price_micro_ntx,
        queue=queue,
        wants_inputs=spec.inputs is not None,
    )
    fact = JobAccepted(
        job=args.job,
        owner=owner,
        attempt=args.attempt,
        spec=spec,
        spec_cid=spec_cid,
        at_s=now_s,
        lease_until_s=accepted.lease_until_s,
        queue_tag=tag,
        answer=desk.voice.state(turn, ACCEPTED, accepted, owner, LASTING_TTL_S),
        proofs=proofs[:LINKS_MAX],
        mandate=tuple(link.data for link in given.handed),
        agreement=given.agreement,
    )
    turn.record(fact)
    moved = JobMoved(
        job=args.job,
        attempt=args.attempt,
        state=accepted.state,
        at_s=now_s,
        notice=b"",
        reason=queue.reason if queue else "",
    )
    moving.move(desk, turn, moved)


def _queue(desk: Desk, turn: Turn, args: SubmitArgs, tag: int) -> Queue | None:
    """Return the place in the queue, or None if there is room at once."""
    spec = args.spec
    ahead = desk.waiting(turn)
    offer = desk.engine(spec.engine)
    new = Waiting(
        job=args.job,
        tag=tag,
        sequence=turn.ledger.sequence + 1,
        need=spec.resources,
        run_s=spec.timeouts.run_s,
        ready=offer is not None and offer.ready,
    )
    queue, holding = (*ahead, new), desk.holding(turn)
    if args.job in startable(desk.total, holding, queue, desk.largest):
        return None
    reason = "" if new.ready else f"engine {spec.engine} is being prepared"
    return place_of(desk, turn, new, reason)


def _answer(desk: Desk, turn: Turn, session: Session, frame: int, job: Job) -> None:
    stated = Stated(statement_kind=ACCEPTED, data=job.answer)
    # Also when they are staged: the word that they are may have been lost.
    if job.spec.inputs is not None and (job.staged or not job.ended):
        turn.do(
            ExpectInputs(
                job=job.job,
                attempt=job.attempt,
                peer_id=session.peer_id,
                root=job.spec.inputs,
                bytes_max=job.spec.inputs_bytes,
            )
        )
    desk.sessions.send(turn, session.id, stated, re=frame)


def _tell(desk: Desk, turn: Turn, session: Session, job: Job) -> None:
    """Let whoever submits and may watch hear everything without asking for it."""
    for data in job.notices:
        desk.sessions.send(turn, session.id, Stated(statement_kind=NOTICE, data=data))
    desk.watch(session, job)
