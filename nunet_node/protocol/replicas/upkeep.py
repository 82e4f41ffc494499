"""What a node does in its own time about results and copies that it keeps.

One timer wakes it for whatever is due first: a result or a copy whose time is over, a
copy that was never handed over, a holder to be audited. Rule: what is due is read from
the records, so that a restart forgets nothing.
"""

from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from nunet_node.jobs.lifecycle import State, is_final
from nunet_node.jobs.specification import JobId
from nunet_node.protocol.effects import SetTimer
from nunet_node.protocol.facts import JobMoved, ReplicaTaken, ResultExpired
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.replicas import holding
from nunet_node.protocol.replicas.charge import charge_of
from nunet_node.protocol.replicas.events import (
    DropResult,
    LogsStored,
    ReplicaArrived,
    ReplicaDelivered,
    ReplicaInput,
    ReplicaNotDelivered,
    SampleTaken,
    StoreLogs,
)
from nunet_node.protocol.replicas.packing import is_to_be_packed, packed
from nunet_node.protocol.replicas.placing import Placing
from nunet_node.protocol.replicas.succession import Succession
from nunet_node.protocol.requester.memory import Outcome
from nunet_node.protocol.turn import NS_PER_S, Turn

UPKEEP_TIMER: Final = "upkeep"

UPKEEP_S_MAX: Final = 3600
"""Longest time between two looks, so that a wall clock that jumps is noticed."""

PACE_MS: Final = 250
"""Shortest time between two looks."""

LOOKS_MAX: Final = 64
"""Results that are looked after at once; the rest follow after a pause, so that a
restart does not make a node talk to everybody in one moment."""

LOGS_S: Final = 30
"""Time between two copies of growing logs: what is lost of them with a provider. Each
costs every holder a talk and the last mebibyte."""

LOGS_FIRST_S: Final = 3
"""Time until logs that begin are copied: a job that ends sooner seldom needs it."""

_NS_PER_MS: Final = 1_000_000


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """The node's own care for what it keeps."""

    placing: Placing
    succession: Succession = field(init=False)
    planned_ns: int | None = None
    awake: bool = False
    undone: bool = False
    looked_ns: int = 0
    results: dict[JobId, int] = field(default_factory=dict)
    """When each result is to be looked after, elapsed time."""
    logs: dict[JobId, tuple[tuple[int, bool], int]] = field(default_factory=dict)
    """Of each job whose logs are packed, its attempt and whether that has ended, and
    when they are packed next, elapsed time."""
    copies_ns: int | None = None
    """When the copies kept for others are to be looked through."""
    acting_ns: int | None = None
    """When to look at those that nobody asks for."""

    def __post_init__(self) -> None:
        self.succession = Succession(desk=self.placing.desk, placing=self.placing)

    def heard(self, turn: Turn, given: ReplicaInput) -> None:
        """Take in what the world says about copies."""
        match given:
            case ReplicaArrived():
                holding.arrived(turn, given)
            case ReplicaDelivered() | ReplicaNotDelivered():
                self.placing.delivered(turn, given)
                self._look_after(turn, given.job)
            case LogsStored():
                packed(self.placing.desk, turn, given)
                self._look_after(turn, given.job)
            case SampleTaken():
                self.placing.sampled(turn, given)
                self._look_after(turn, given.job)

    def ended(self, turn: Turn, outcome: Outcome) -> None:
        """Take the end of a conversation with a holder."""
        self.placing.ended(turn, outcome)
        self._look_after(turn, outcome.errand.job)

    def begin(self, turn: Turn) -> None:
        """Take up everything that is kept; nothing was done before."""
        self.awake, now_ns = True, turn.now.elapsed_ns
        self.results = {
            job.job: now_ns for job in turn.ledger.jobs.values() if job.kept_until_s
        }
        if turn.ledger.replicas:
            self.copies_ns = now_ns
        self._plan_all(turn)

    def settle(self, turn: Turn) -> None:
        """At the end of a turn, look after what it decided."""
        if not self.awake:
            return
        if self.undone:
            self.undone = False
            self.begin(turn)
        for fact in turn.facts:
            match fact:
                case JobMoved(state=state) if is_final(state) or _begins(fact):
                    self._look_after(turn, fact.job)
                case ReplicaTaken():
                    self._copies_at(turn, fact.at_s + holding.HANDING_S_MIN)
                case _:
                    pass

    def timer(self, turn: Turn, name: str) -> bool:
        """Do whatever is due."""
        if name != UPKEEP_TIMER:
            return False
        self.planned_ns, now_ns = None, turn.now.elapsed_ns
        self.looked_ns = now_ns
        if self.copies_ns is not None and self.copies_ns <= now_ns:
            self.copies_ns = None
            next_s = holding.let_go(turn)
            if next_s is not None:
                self._copies_at(turn, next_s)
        if not self.placing.desk.draining:
            self._succeed(turn)
        due = (job for job, due_ns in self.results.items() if due_ns <= now_ns)
        for job in list(islice(due, LOOKS_MAX)):
            self._look_after(turn, job)
        self._plan_all(turn)
        return True

    def undo(self) -> None:
        """Count what was planned in turns that were taken back as unplanned."""
        self.planned_ns, self.undone, self.acting_ns = None, True, None
        self.placing.dealings.clear()
        self.succession.undo()

    def _succeed(self, turn: Turn) -> None:
        """See to the copies here that nobody else looks after."""
        self.succession.go_on(turn)
        if self.acting_ns is None or self.acting_ns <= turn.now.elapsed_ns:
            next_ns = self.succession.look(turn)
            latest_ns = turn.after_s(UPKEEP_S_MAX)
            self.acting_ns = None if next_ns is None else min(next_ns, latest_ns)
        if self.acting_ns is not None:
            dues = (self.acting_ns, *self.succession.acting.values())
            self._plan(turn, min(dues))

    def _look_after(self, turn: Turn, name: JobId) -> None:
        key = self.placing.copies.get(name)
        if key is not None and name not in turn.ledger.jobs:
            self.succession.look_after(turn, key)
            if key in self.succession.acting:
                self._plan(turn, self.succession.acting[key])
            return
        job = turn.ledger.jobs.get(name)
        running = job is not None and job.started and job.spec.replicas
        if job is None or job.expired or not (running or job.kept_until_s):
            self.results.pop(name, None)
            self.placing.leave(name)
            return
        if job.kept_until_s and job.kept_until_s <= turn.now.unix_s:
            self.results.pop(name, None)
            self.placing.leave(name)
            turn.record(ResultExpired(job=name, at_s=turn.now.unix_s))
            turn.do(DropResult(job=name))
            return
        dues = [turn.after_s(UPKEEP_S_MAX)]
        if job.kept_until_s:
            dues.append(_elapsed_ns(turn, job.kept_until_s))
        if not self.placing.desk.draining:
            dues += self._have_kept(turn, job)
        self.results[name] = min(dues)
        self._plan(turn, self.results[name])

    def _have_kept(self, turn: Turn, job: Job) -> list[int]:
        """See to the copies of a job; return when to look again, elapsed time."""
        dues = []
        if is_to_be_packed(job):
            dues.append(self._pack(turn, job))
        else:
            self.logs.pop(job.job, None)
        charge = charge_of(job)
        if charge is not None:
            dues.append(self.placing.look_after(turn, charge))
        return dues

    def _pack(self, turn: Turn, job: Job) -> int:
        """Have logs packed if that is due; return when to look again."""
        about = (job.attempt, job.ended)
        known, due_ns = self.logs.get(job.job, ((0, False), 0))
        if known != about:
            due_ns = turn.after_s(0 if job.ended else LOGS_FIRST_S)
        if due_ns <= turn.now.elapsed_ns:
            # While a copy is on its way, its blocks must stay as they are.
            busy = self.placing.is_busy(job.job)
            due_ns = turn.after_s(LOGS_FIRST_S if busy else LOGS_S)
            if not busy:
                turn.do(StoreLogs(job=job.job, attempt=job.attempt))
        self.logs[job.job] = (about, due_ns)
        return due_ns

    def _copies_at(self, turn: Turn, unix_s: int) -> None:
        due_ns = min(_elapsed_ns(turn, unix_s), turn.after_s(UPKEEP_S_MAX))
        self.copies_ns = min(due_ns, self.copies_ns or due_ns)
        self._plan(turn, self.copies_ns)

    def _plan_all(self, turn: Turn) -> None:
        if self.copies_ns is not None:
            self._plan(turn, self.copies_ns)
        if self.results:
            self._plan(turn, min(self.results.values()))
        if self.acting_ns is not None:
            self._plan(turn, self.acting_ns)

    def _plan(self, turn: Turn, due_ns: int) -> None:
        soonest_ns = self.looked_ns + PACE_MS * _NS_PER_MS
        due_ns = max(due_ns, soonest_ns, turn.now.elapsed_ns)
        if self.planned_ns is None or due_ns < self.planned_ns:
            self.planned_ns = due_ns
            turn.do(SetTimer(name=UPKEEP_TIMER, at_ns=due_ns))


def _begins(moved: JobMoved) -> bool:
    return moved.state is State.RUNNING


def _elapsed_ns(turn: Turn, unix_s: int) -> int:
    return turn.now.elapsed_ns + (unix_s - turn.now.unix_s) * NS_PER_S
