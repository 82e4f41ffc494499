"""The states of a job and the moves between them, as one table.

Rule: a job moves only along `MOVES`; a state without moves is final, and final
states never change. Everything that waits, runs or ends a job looks here.

A job that runs always passes through ``storing``, however it ended, because its
logs are worth keeping; only a cancel cuts that short.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from nunet_node.errors import MisuseError


class State(StrEnum):
    """Where a job is; the words are part of the protocol."""

    QUEUED = "queued"
    ALLOCATED = "allocated"
    STARTING = "starting"
    RUNNING = "running"
    STORING = "storing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    REFUSED = "refused"


_ENDS: Final = {State.FAILED, State.CANCELLED, State.TIMED_OUT, State.LOST}

MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.QUEUED: frozenset({State.ALLOCATED, *_ENDS}),
    State.ALLOCATED: frozenset({State.STARTING, State.QUEUED, *_ENDS}),
    State.STARTING: frozenset({State.RUNNING, State.STORING, State.QUEUED, *_ENDS}),
    State.RUNNING: frozenset({State.STORING, State.QUEUED, *_ENDS}),
    State.STORING: frozenset({State.COMPLETED, State.QUEUED, *_ENDS}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.TIMED_OUT: frozenset(),
    State.LOST: frozenset(),
    State.REFUSED: frozenset(),
}
"""Every legal move. A move back to ``queued`` is a new attempt, or the same one
of a job that had room but had not begun when its provider went down."""

HOLDING: Final = frozenset(
    {State.ALLOCATED, State.STARTING, State.RUNNING, State.STORING}
)
"""States in which the job's resources are reserved."""

STARTED: Final = frozenset({State.STARTING, State.RUNNING, State.STORING})
"""States in which a process of the job may exist."""


def is_final(state: State) -> bool:
    """Tell whether a job in ``state`` has ended for good."""
    return not MOVES[state]


def check_move(before: State, after: State) -> None:
    """Assert that the table has this move.

    Raises:
        MisuseError: it does not, which is our bug.
    """
    if after not in MOVES[before]:
        raise MisuseError(f"no move from {before} to {after}")
