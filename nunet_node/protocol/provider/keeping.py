"""How a provider moves the jobs in its custody, from acceptance to the end.

Rules kept here: room is taken and freed only by moves (see `moving`); a job that was
cancelled never starts; one job has at most one process tree at a time; what a crash
interrupted is lost, unless its owner allowed another try.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.scheduler import startable
from nunet_node.jobs.specification import JobId, RetryCause
from nunet_node.protocol.effects import (
    CancelTimer,
    DiscardScratch,
    StartJob,
    StopJob,
    StoreResult,
)
from nunet_node.protocol.facts import CancelAccepted, JobMoved, JobStaged
from nunet_node.protocol.inputs import (
    InputsArrived,
    InputsNotKept,
    JobExited,
    JobStarted,
    ResultNotStored,
    ResultStored,
)
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.provider.desk import Desk
from nunet_node.protocol.provider.moving import (
    QUEUE_TIMER,
    STAGING_TIMER,
    move,
    set_timers,
    to,
)
from nunet_node.protocol.provider.telling import confirm, queue_of, receipt_of
from nunet_node.protocol.trust.standing import why_void
from nunet_node.protocol.turn import Turn
from nunet_node.results.logs.chain import LogHead

OUTPUT_LIMIT: Final = "output"
"""What a receipt calls the limit on a job's outputs; the job itself ran to its end."""


def schedule(desk: Desk, turn: Turn) -> None:
    """Give room to whoever is next, and start what has room and inputs."""
    if not desk.awake or desk.draining or desk.full:
        return
    _end_what_lost_its_authority(desk, turn)
    holding, waiting = desk.holding(turn), desk.waiting(turn)
    for name in startable(desk.total, holding, waiting, desk.largest):
        move(desk, turn, to(turn, turn.ledger.jobs[name], State.ALLOCATED))
    for job in turn.ledger.active_jobs():
        if job.state is State.ALLOCATED and desk.ready(job):
            move(desk, turn, to(turn, job, State.STARTING))
            turn.do(
                StartJob(
                    job=job.job,
                    attempt=job.attempt,
                    owner=job.owner,
                    spec=job.spec,
                    gpus=job.gpus,
                    secrets=desk.secrets_of(job),
                    agreement=job.agreement,
                )
            )


def inputs_arrived(desk: Desk, turn: Turn, given: InputsArrived) -> None:
    """The job's inputs are on disk: only room may keep it waiting now."""
    job = _current(turn, given.job, given.attempt)
    if job is not None and not job.staged and not job.ended:
        turn.record(JobStaged(job=job.job))
        if not desk.wants_secrets(job):
            turn.do(CancelTimer(name=f"{STAGING_TIMER}:{job.job}"))
        schedule(desk, turn)


def inputs_not_kept(desk: Desk, turn: Turn, given: InputsNotKept) -> None:
    """There is no place for the inputs here, so trying again would not help."""
    job = _current(turn, given.job, given.attempt)
    if job is not None and not job.staged and not job.ended:
        reason = f"its inputs could not be stored: {given.reason}"
        end(desk, turn, to(turn, job, State.FAILED, reason))


def job_started(desk: Desk, turn: Turn, given: JobStarted) -> None:
    """The job's process runs."""
    job = _current(turn, given.job, given.attempt)
    if job is not None and job.state is State.STARTING:
        desk.secrets.pop(job.job, None)
        move(desk, turn, to(turn, job, State.RUNNING))


def job_exited(desk: Desk, turn: Turn, given: JobExited) -> None:
    """The job's process tree is gone: store what it left, or end it."""
    job = _current(turn, given.job, given.attempt)
    if job is None or job.state not in {State.STARTING, State.RUNNING}:
        return
    if job.cancelling:
        moved = to(turn, job, State.CANCELLED, "cancelled by its owner")
        end(desk, turn, msgspec.structs.replace(moved, log=given.log))
    elif given.limit in {"cancelled", "lost"}:
        why = given.reason if given.limit == "lost" else "the provider was stopped"
        _interrupted(desk, turn, job, why, given.log)
    else:
        moved = msgspec.structs.replace(
            to(turn, job, State.STORING, given.reason),
            exit_code=given.exit_code,
            limit=given.limit,
            isolation=given.isolation,
            cpu_ms=given.cpu_ms,
            memory_peak_bytes=given.memory_peak_bytes,
            fuel=given.fuel,
            log=given.log,
            reached=given.reached,
        )
        move(desk, turn, moved)
        turn.do(
            StoreResult(
                job=job.job,
                attempt=job.attempt,
                spec=job.spec,
                exit_code=given.exit_code,
                limit=given.limit,
            )
        )


def result_stored(desk: Desk, turn: Turn, given: ResultStored) -> None:
    """Outputs and logs are safe: the job has ended, and its receipt is signed."""
    job = _current(turn, given.job, given.attempt)
    if job is None or job.state is not State.STORING:
        return
    state, reason = _outcome(job, given.refused)
    reason = "; ".join(part for part in (reason, given.reason) if part)
    if state is State.FAILED and _may_retry(job, RetryCause.FAILED):
        turn.do(DiscardScratch(job=job.job, attempt=job.attempt))
        _again(desk, turn, job, reason)
        return
    moved = msgspec.structs.replace(
        to(turn, job, state, reason),
        exit_code=job.exit_code,
        limit=job.limit or (OUTPUT_LIMIT if given.refused else ""),
        result=given.root,
        sealed_key=given.sealed_key,
        kept_bytes=given.kept_bytes or given.size_bytes,
    )
    receipt = receipt_of(desk, turn, job, moved, given.size_bytes)
    end(desk, turn, msgspec.structs.replace(moved, receipt=receipt))


def result_not_stored(desk: Desk, turn: Turn, given: ResultNotStored) -> None:
    """What the job left could not be kept, so it has failed."""
    job = _current(turn, given.job, given.attempt)
    if job is not None and job.state is State.STORING:
        reason = f"its result could not be stored: {given.reason}"
        end(desk, turn, to(turn, job, State.FAILED, reason))


def cancel(desk: Desk, turn: Turn, job: Job) -> None:
    """Begin to end a job at its owner's word; from here on it never starts."""
    if job.ended or job.cancelling:
        return
    turn.record(CancelAccepted(job=job.job, at_s=turn.now.unix_s))
    if job.state in {State.STARTING, State.RUNNING}:
        turn.do(StopJob(job=job.job, attempt=job.attempt))
        return
    job = turn.ledger.jobs[job.job]
    end(desk, turn, to(turn, job, State.CANCELLED, "cancelled by its owner"))


def end(desk: Desk, turn: Turn, moved: JobMoved) -> None:
    """Make the last move: free the room, answer who cancelled, start the next."""
    _end(desk, turn, moved)
    schedule(desk, turn)


def _end(desk: Desk, turn: Turn, moved: JobMoved) -> None:
    job = move(desk, turn, moved)
    turn.do(
        CancelTimer(name=f"{QUEUE_TIMER}:{job.job}"),
        CancelTimer(name=f"{STAGING_TIMER}:{job.job}"),
        DiscardScratch(job=job.job, attempt=job.attempt),
    )
    desk.secrets.pop(job.job, None)
    for session, frame in desk.cancels.pop(job.job, []):
        confirm(desk, turn, session, frame, job)


def _end_what_lost_its_authority(desk: Desk, turn: Turn) -> None:
    """End the jobs that have not begun and whose delegations no longer hold."""
    for job in turn.ledger.active_jobs():
        if job.proofs and not job.started:
            why = why_void(turn.ledger.standing, job.proofs, turn.now.unix_s)
            if why is not None:
                _end(desk, turn, to(turn, job, State.FAILED, f"not started: {why}"))


def queue_timed_out(desk: Desk, turn: Turn, name: JobId) -> None:
    """The job waited as long as its owner allows."""
    job = turn.ledger.jobs.get(name)
    if job is not None and job.state is State.QUEUED:
        why = queue_of(desk, turn, job).reason
        reason = f"queued for {job.spec.timeouts.queue_s} s, its queue timeout: {why}"
        end(desk, turn, to(turn, job, State.TIMED_OUT, reason))


def staging_timed_out(desk: Desk, turn: Turn, name: JobId) -> None:
    """The inputs never came; room must not wait for them."""
    job = turn.ledger.jobs.get(name)
    if job is None or job.ended:
        return
    if not job.staged:
        end(desk, turn, to(turn, job, State.FAILED, "its inputs were not handed over"))
    elif job.holding and desk.wants_secrets(job):
        end(desk, turn, to(turn, job, State.FAILED, "its secrets were not handed over"))


def resume(desk: Desk, turn: Turn, logs: Mapping[tuple[JobId, int], LogHead]) -> None:
    """Take up every job again after a restart; nothing runs yet.

    Args:
        desk: the provider's working memory.
        turn: the turn in which it is decided.
        logs: how far the logs go of what was under way.
    """
    for job in turn.ledger.active_jobs():
        if job.cancelling:
            moved = to(turn, job, State.CANCELLED, "cancelled by its owner")
            log = logs.get((job.job, job.attempt))
            end(desk, turn, msgspec.structs.replace(moved, log=log))
        elif job.started:
            log = logs.get((job.job, job.attempt))
            _interrupted(desk, turn, job, "the provider went down while it ran", log)
        elif job.state is State.ALLOCATED:
            # What this machine offers may be less than before: room is given anew.
            move(desk, turn, to(turn, job, State.QUEUED, "the provider restarted"))
        elif job.state is not None:
            set_timers(desk, turn, job.state, job)
    schedule(desk, turn)


def drain(turn: Turn) -> None:
    """The grace is over: stop every running job."""
    for job in turn.ledger.active_jobs():
        if job.started:
            turn.do(StopJob(job=job.job, attempt=job.attempt))


def _interrupted(
    desk: Desk, turn: Turn, job: Job, reason: str, log: LogHead | None
) -> None:
    if _may_retry(job, RetryCause.LOST):
        turn.do(DiscardScratch(job=job.job, attempt=job.attempt))
        _again(desk, turn, job, reason)
    else:
        moved = to(turn, job, State.LOST, reason)
        end(desk, turn, msgspec.structs.replace(moved, log=log))


def _again(desk: Desk, turn: Turn, job: Job, reason: str) -> None:
    again = msgspec.structs.replace(
        to(turn, job, State.QUEUED, f"attempt {job.attempt} ended: {reason}"),
        attempt=job.attempt + 1,
    )
    move(desk, turn, again)
    schedule(desk, turn)


def _may_retry(job: Job, cause: RetryCause) -> bool:
    retry = job.spec.retry
    return not job.cancelling and cause in retry.on and job.attempt < retry.attempts


def _outcome(job: Job, refused: str) -> tuple[State, str]:
    if job.limit == "wall":
        return State.TIMED_OUT, f"ran for its {job.spec.timeouts.run_s} s and was ended"
    if job.limit:
        return State.FAILED, f"ended by its {job.limit} limit"
    if job.exit_code is None:
        return State.FAILED, job.reason or "it could not be run"
    if job.exit_code:
        return State.FAILED, f"exit code {job.exit_code}"
    if refused:
        return State.FAILED, refused
    return State.COMPLETED, ""


def _current(turn: Turn, name: JobId, attempt: int) -> Job | None:
    job = turn.ledger.jobs.get(name)
    return job if job is not None and job.attempt == attempt else None
