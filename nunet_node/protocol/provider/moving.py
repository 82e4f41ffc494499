"""One move of a job in a provider's custody.

A move is one fact that carries the signed notice of it, so a notice exists exactly if
the move happened. Its watchers are told, and the clocks that the new state wants are
set. Which move is made is for `keeping` and `submission` to choose, among those that
the table of `jobs.lifecycle` has.
"""

from typing import Final

import msgspec

from nunet_node.jobs.lifecycle import State, is_final
from nunet_node.jobs.link import format_link
from nunet_node.jobs.statements import NOTICE, REASON_CHARS_MAX, Notice
from nunet_node.protocol.effects import JobMovedHere, SetTimer
from nunet_node.protocol.facts import JobMoved
from nunet_node.protocol.messages import Stated
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.provider.desk import Desk
from nunet_node.protocol.provider.telling import queue_of
from nunet_node.protocol.sessions import LASTING_TTL_S
from nunet_node.protocol.turn import Turn

QUEUE_TIMER: Final = "queue"
STAGING_TIMER: Final = "staging"

STAGING_S_MIN: Final = 120
"""Time to hand over inputs of any size: a few reconnects of a poor link."""

STAGING_BYTES_PER_S: Final = 64 << 10
"""Slowest hand-over waited for: half a megabit a second."""


def move(desk: Desk, turn: Turn, moved: JobMoved) -> Job:
    """Make a move, tell its watchers, and return the job as it is now.

    Args:
        desk: the provider's working memory.
        turn: the turn in which it is decided.
        moved: the move, its notice still empty.
    """
    job = turn.ledger.jobs[moved.job]
    moved = msgspec.structs.replace(
        moved,
        reason=moved.reason[:REASON_CHARS_MAX],
        gpus=desk.gpus_for(turn, job) if moved.state is State.ALLOCATED else (),
    )
    data = desk.voice.state(
        turn, NOTICE, _notice(desk, turn, job, moved), job.owner, LASTING_TTL_S
    )
    turn.record(msgspec.structs.replace(moved, notice=data))
    for session in sorted(desk.watchers.get(job.job, ())):
        desk.sessions.send(turn, session, Stated(statement_kind=NOTICE, data=data))
    turn.tell(
        JobMovedHere(
            job=job.job,
            owner=job.owner,
            attempt=moved.attempt,
            state=moved.state,
            reason=moved.reason,
        )
    )
    set_timers(desk, turn, moved.state, turn.ledger.jobs[job.job])
    return turn.ledger.jobs[job.job]


def to(turn: Turn, job: Job, state: State, reason: str = "") -> JobMoved:
    """Return the plain move of this attempt to a state, for `move` to make."""
    return JobMoved(
        job=job.job,
        attempt=job.attempt,
        state=state,
        at_s=turn.now.unix_s,
        notice=b"",
        reason=reason,
    )


def set_timers(desk: Desk, turn: Turn, state: State, job: Job) -> None:
    """Set the clocks of a state: the queue's, and the hand-over's."""
    if state is State.QUEUED:
        queued_s = turn.now.unix_s - job.history[-1].at_s
        at_ns = turn.after_s(max(0, job.spec.timeouts.queue_s - queued_s))
        turn.do(SetTimer(name=f"{QUEUE_TIMER}:{job.job}", at_ns=at_ns))
    if state in {State.QUEUED, State.ALLOCATED} and not job.staged:
        allowed_s = STAGING_S_MIN + job.spec.inputs_bytes // STAGING_BYTES_PER_S
        waited_s = turn.now.unix_s - job.accepted_s
        at_ns = turn.after_s(max(0, allowed_s - waited_s))
        turn.do(SetTimer(name=f"{STAGING_TIMER}:{job.job}", at_ns=at_ns))
    elif state is State.ALLOCATED and desk.wants_secrets(job):
        # Who waits for room may wait for secrets too; room itself must not.
        at_ns = turn.after_s(STAGING_S_MIN)
        turn.do(SetTimer(name=f"{STAGING_TIMER}:{job.job}", at_ns=at_ns))


def _notice(desk: Desk, turn: Turn, job: Job, moved: JobMoved) -> Notice:
    same = moved.attempt == job.attempt
    exit_code = job.exit_code if same and moved.exit_code is None else moved.exit_code
    ends = is_final(moved.state)
    log = (moved.log or job.log) if ends and moved.result is None else None
    return Notice(
        job=job.job,
        owner=job.owner,
        attempt=moved.attempt,
        sequence=len(job.notices) + 1,
        previous=job.previous_digest,
        state=moved.state,
        at_s=moved.at_s,
        reason=moved.reason,
        exit_code=exit_code,
        result=moved.result,
        sealed_key=moved.sealed_key,
        log_links=log.links if log is not None else 0,
        log_digest=log.digest if log is not None else b"",
        link=format_link(job.job, job.owner, desk.voice.did, desk.addresses)
        if ends
        else "",
        queue=queue_of(desk, turn, job) if moved.state is State.QUEUED else None,
    )
