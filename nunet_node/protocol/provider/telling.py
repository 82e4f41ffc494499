"""What a provider states about the jobs it keeps: receipts, reports, confirmations."""

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.scheduler import Waiting, in_order, starts_in_s
from nunet_node.jobs.statements import (
    CONFIRMATION,
    RECEIPT,
    REPORT,
    Confirmation,
    Queue,
    Receipt,
    Report,
)
from nunet_node.protocol.facts import JobMoved
from nunet_node.protocol.inputs import SessionId
from nunet_node.protocol.messages import Stated
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.provider.desk import Desk
from nunet_node.protocol.sessions import LASTING_TTL_S
from nunet_node.protocol.turn import Turn


def queue_of(desk: Desk, turn: Turn, job: Job) -> Queue:
    """Return where the job stands in the queue, why, and when it should start."""
    return place_of(desk, turn, desk.as_waiting(job), desk.queue_reason(job))


def place_of(desk: Desk, turn: Turn, waiting: Waiting, reason: str) -> Queue:
    """Return the place of a job that is in the queue or about to join it.

    Args:
        desk: the provider's working memory.
        turn: the turn in which it is told.
        waiting: the job as the scheduler sees it.
        reason: why it waits if there is room; empty if for others ahead of it.
    """
    key = (waiting.tag, waiting.sequence)
    ahead = [w for w in in_order(desk.waiting(turn)) if (w.tag, w.sequence) < key]
    short = waiting.need.shortfall(desk.free(turn))
    if short is not None:
        wanted, left = waiting.need.text(short), desk.free(turn).text(short)
        room = f"no room now: {short}: {wanted} wanted, {left} free"
    else:
        room = reason or f"no room now: {len(ahead)} jobs are ahead of it"
    estimate_s = starts_in_s(
        desk.total, desk.holding(turn), ahead, waiting.need, desk.largest
    )
    return Queue(position=len(ahead) + 1, reason=room, estimate_s=estimate_s)


def report_of(desk: Desk, turn: Turn, job: Job) -> Report:
    """Return where a job stands, for its owner."""
    state = job.state or State.QUEUED
    log = job.log if job.ended and job.result is None else None
    return Report(
        job=job.job,
        owner=job.owner,
        name=job.spec.name,
        attempt=job.attempt,
        state=state,
        resources=job.spec.resources,
        history=job.history,
        reason=job.reason,
        exit_code=job.exit_code,
        queue=queue_of(desk, turn, job) if state is State.QUEUED else None,
        result=job.result,
        sequence=len(job.notices),
        kept_until_s=job.kept_until_s,
        expired=job.expired,
        replicas=tuple(each.holder for each in job.replicas),
        log_links=log.links if log is not None else 0,
        log_digest=log.digest if log is not None else b"",
        wants_secrets=desk.wants_secrets(job),
    )


def answer_report(
    desk: Desk, turn: Turn, session: SessionId, frame: int, job: Job
) -> None:
    """Send the owner a report, in answer to a frame."""
    answer = desk.voice.answer(turn, REPORT, report_of(desk, turn, job), job.owner)
    desk.sessions.send(turn, session, answer, re=frame)


def receipt_of(
    desk: Desk, turn: Turn, job: Job, moved: JobMoved, size_bytes: int
) -> bytes:
    """Return the signed receipt of a job that ends with a result."""
    if moved.result is None:
        return b""
    receipt = Receipt(
        job=job.job,
        owner=job.owner,
        attempt=job.attempt,
        spec=job.spec_cid,
        state=moved.state,
        engine=job.spec.engine,
        isolation=job.isolation,
        started_s=job.started_s,
        ended_s=max(job.started_s, moved.at_s),
        result=moved.result,
        result_bytes=size_bytes,
        sealed_key=moved.sealed_key,
        exit_code=job.exit_code,
        limit=moved.limit or job.limit,
        cpu_ms=job.cpu_ms,
        memory_peak_bytes=job.memory_peak_bytes,
        fuel=job.fuel,
        reached=job.reached,
        kept_until_s=moved.at_s + job.spec.retention_s,
    )
    return desk.voice.state(turn, RECEIPT, receipt, job.owner, LASTING_TTL_S)


def confirm(
    desk: Desk,
    turn: Turn,
    session: SessionId,
    frame: int,
    job: Job,
    *,
    already: bool = False,
) -> None:
    """Send the owner the signed end of a cancelled, or already ended, job."""
    confirmation = Confirmation(
        job=job.job,
        owner=job.owner,
        attempt=job.attempt,
        state=job.state or State.CANCELLED,
        at_s=job.history[-1].at_s,
        already_ended=already,
        reason=job.reason,
    )
    data = desk.voice.state(turn, CONFIRMATION, confirmation, job.owner, LASTING_TTL_S)
    stated = Stated(statement_kind=CONFIRMATION, data=data)
    desk.sessions.send(turn, session, stated, re=frame)
