"""One turn of the node: what is decided about one input, and how to take it back.

Rule: durable state changes only by `Ledger.apply`, fact by fact. A turn applies
its facts as it decides them, so that later decisions of the same turn see them,
and remembers what was there before: if the journal cannot take the facts, the
turn is undone and its effects are never performed.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from nunet_node.jobs.specification import JobId
from nunet_node.protocol.effects import Effect, News, Tell
from nunet_node.protocol.facts import (
    Fact,
    JobAccepted,
    JobFact,
    OrderFact,
    ReplicaFact,
    RevocationKept,
)
from nunet_node.protocol.order import Order, apply_order
from nunet_node.protocol.provider.custody import Job, apply_job
from nunet_node.protocol.replicas.record import Replica, ReplicaKey, apply_replica
from nunet_node.protocol.trust.standing import Standing, accepted, revoked
from nunet_node.quantities import Now

NS_PER_S = 1_000_000_000
"""Nanoseconds in a second."""

TURNS_MAX: Final = 64
"""Turns that may be taken back together, so that their facts can be kept with one
sync: as many peers as speak while one lasts, and far fewer facts than one append takes.
"""


@dataclass(slots=True)
class Ledger:
    """Everything that survives a crash."""

    jobs: dict[JobId, Job] = field(default_factory=dict)
    orders: dict[JobId, Order] = field(default_factory=dict)
    active: dict[JobId, None] = field(default_factory=dict)
    """The jobs that have not ended, in no particular order."""
    replicas: dict[ReplicaKey, Replica] = field(default_factory=dict)
    """The copies of others' results that are kept here."""
    started_tag: int = 0
    """The queue tag of the job started last."""
    sequence: int = 0
    standing: Standing = field(default_factory=Standing)
    """Which delegations are void, and what was used up under which."""
    _in_order: tuple[Job, ...] | None = field(default=None, compare=False, repr=False)
    """The active jobs as they were last put in order; None since one changed."""

    def apply(self, fact: Fact) -> None:
        """Change the state by one fact; decide nothing.

        Raises:
            MisuseError: the fact does not fit the state.
        """
        if isinstance(fact, RevocationKept):
            self.standing = revoked(self.standing, fact)
        elif isinstance(fact, JobFact):
            self._apply_job(fact)
        elif isinstance(fact, ReplicaFact):
            key = (fact.owner, fact.job)
            self.put_replica(key, apply_replica(self.replicas.get(key), fact))
        else:
            self.orders[fact.job] = apply_order(self.orders.get(fact.job), fact)

    def _apply_job(self, fact: JobFact) -> None:
        before = self.jobs.get(fact.job)
        if before is None and isinstance(fact, JobAccepted):
            self.standing = accepted(self.standing, fact)
        after = apply_job(before, fact, self.sequence + 1)
        if after is None:
            self.put(fact.job, None)
            return
        if before is None or before.sequence != after.sequence:
            self.sequence += 1
        if after.holding and not (before and before.holding):
            self.started_tag = max(self.started_tag, after.queue_tag)
        self.put(fact.job, after)

    def put(self, name: JobId, job: Job | None) -> None:
        """Set a job's record, or drop it; what is active follows."""
        self._in_order = None
        if job is None:
            self.jobs.pop(name, None)
        else:
            self.jobs[name] = job
        if job is None or job.ended:
            self.active.pop(name, None)
        else:
            self.active[name] = None

    def put_replica(self, key: ReplicaKey, replica: Replica | None) -> None:
        """Set the record of a copy, or drop it."""
        if replica is None:
            self.replicas.pop(key, None)
        else:
            self.replicas[key] = replica

    def active_jobs(self) -> tuple[Job, ...]:
        """Return the jobs that have not ended, in order of acceptance."""
        if self._in_order is None:
            # A turn asks dozens of times, and changes a job or two.
            jobs = (self.jobs[name] for name in self.active)
            self._in_order = tuple(sorted(jobs, key=lambda job: job.sequence))
        return self._in_order


@dataclass(slots=True)
class _Before:
    """What a turn may have to put back."""

    jobs: dict[JobId, Job | None] = field(default_factory=dict)
    orders: dict[JobId, Order | None] = field(default_factory=dict)
    replicas: dict[ReplicaKey, Replica | None] = field(default_factory=dict)
    started_tag: int = 0
    sequence: int = 0
    standing: Standing = field(default_factory=Standing)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from one input: facts to keep first, then orders to carry out."""

    facts: tuple[Fact, ...]
    effects: tuple[Effect, ...]


class Turn:
    """The deciding of one input."""

    __slots__ = ("_before", "_effects", "_facts", "ledger", "now")

    def __init__(self, ledger: Ledger, now: Now) -> None:
        self.ledger = ledger
        self.now = now
        self._facts: list[Fact] = []
        self._effects: list[Effect] = []
        self._before: _Before | None = None
        """Nothing to put back before the first fact."""

    def record(self, *facts: Fact) -> None:
        """Decide these facts, and see them at once."""
        for fact in facts:
            self._remember(fact)
            self.ledger.apply(fact)
            self._facts.append(fact)

    def do(self, *effects: Effect) -> None:
        """Order these, once the facts are on disk."""
        self._effects.extend(effects)

    def tell(self, news: News) -> None:
        """Let whoever watches know."""
        self._effects.append(Tell(news=news))

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What was decided so far, in order."""
        return tuple(self._facts)

    @property
    def decided(self) -> bool:
        """Whether anything durable follows from the input."""
        return bool(self._facts)

    def batch(self) -> Batch:
        """Return everything decided in this turn."""
        return Batch(facts=tuple(self._facts), effects=tuple(self._effects))

    def undo(self) -> None:
        """Put durable state back to what it was before the turn."""
        ledger, before = self.ledger, self._before
        if before is None:
            return
        for name, job in before.jobs.items():
            ledger.put(name, job)
        for key, replica in before.replicas.items():
            ledger.put_replica(key, replica)
        for name, order in before.orders.items():
            if order is None:
                ledger.orders.pop(name, None)
            else:
                ledger.orders[name] = order
        ledger.started_tag = before.started_tag
        ledger.sequence = before.sequence
        ledger.standing = before.standing

    def after_s(self, seconds: int) -> int:
        """Return the elapsed-clock moment that many seconds from now."""
        return self.now.elapsed_ns + seconds * NS_PER_S

    def _remember(self, fact: Fact) -> None:
        ledger, before = self.ledger, self._before
        if before is None:
            before = self._before = _Before(
                started_tag=ledger.started_tag,
                sequence=ledger.sequence,
                standing=ledger.standing,
            )
        if isinstance(fact, OrderFact):
            before.orders.setdefault(fact.job, ledger.orders.get(fact.job))
        elif isinstance(fact, JobFact):
            before.jobs.setdefault(fact.job, ledger.jobs.get(fact.job))
        elif isinstance(fact, ReplicaFact):
            key = (fact.owner, fact.job)
            before.replicas.setdefault(key, ledger.replicas.get(key))
