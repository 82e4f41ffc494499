"""What is promised of copies, checked from outside after every turn.

C1: a copy counts only where the holder's own facts say that all of it is there. C2:
nothing is let go before its time: no result before its retention is over, no copy that
its holder's facts still keep. C3: once all is quiet, and audits had their time, a copy
that is gone from a disk counts no longer.
"""

from copy import deepcopy
from dataclasses import dataclass, field

from nunet_node.identity.did import Did
from nunet_node.jobs.specification import JobId
from nunet_node.protocol import facts as ft
from nunet_node.protocol.inputs import Input
from nunet_node.protocol.replicas import events as rp
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.watch.promises import BrokenPromiseError
from nunet_node.simulator.world.machine import Machine


@dataclass(slots=True)
class _Books:
    """What one machine's facts say."""

    until_s: dict[JobId, int] = field(default_factory=dict)
    """Until when each result is to be kept."""
    retention_s: dict[JobId, int] = field(default_factory=dict)
    expired: set[JobId] = field(default_factory=set)
    kept: dict[tuple[Did, JobId], bool] = field(default_factory=dict)
    """The copies that it agreed to keep, and whether they are there."""
    owners: dict[JobId, Did] = field(default_factory=dict)


class CopyPromises:
    """A watcher that raises as soon as a promise about copies is broken."""

    idle_too = False

    def __init__(self, machines: list[Machine]) -> None:
        self._books = [_Books() for _ in machines]
        self._machines = {each.did: each for each in machines if not each.original}
        self.placed = 0
        self.lost = 0
        self._now_ns = 0

    def booted(self, now_ns: int, machine: Machine) -> None:
        """Note what a copied home has; all else is read from the facts."""
        del now_ns
        if machine.original is not None and machine.is_new_copy:
            before = self._books[machine.original.index]
            self._books[machine.index] = deepcopy(before)

    def turned(
        self,
        now_ns: int,
        machine: Machine,
        given: Input,  # noqa: ARG002 - what every watcher is given
        batch: Batch,
    ) -> None:
        """Check one turn.

        Raises:
            BrokenPromiseError: it broke a promise.
        """
        self._now_ns = now_ns
        books = self._books[machine.index]
        for fact in batch.facts:
            self._fact(machine, books, fact)
        for effect in batch.effects:
            if isinstance(effect, rp.DropReplica):
                if (effect.owner, effect.job) in books.kept:
                    self._broken("C2", f"{machine.name} drops a copy of {effect.job}")
            elif isinstance(effect, rp.DropResult) and effect.job not in books.expired:
                self._broken("C2", f"{machine.name} drops the result of {effect.job}")

    def audited(self, now_ns: int, machines: list[Machine]) -> None:
        """Check what must hold once all is quiet and every copy was audited.

        Raises:
            BrokenPromiseError: a copy counts that is nowhere.
        """
        self._now_ns = now_ns
        for machine in machines:
            if machine.gone or not machine.up:
                continue
            for job in machine.node.jobs.values():
                for copy in job.replicas:
                    other = self._machines[copy.holder]
                    # Who forgets may have been asked anew a moment ago.
                    if other.traits.forgets:
                        continue
                    if other.gone or (job.owner, job.job) not in other.copies:
                        self._broken("C3", f"{job.job} counts a copy at {other.name}")

    def _fact(self, machine: Machine, books: _Books, fact: ft.Fact) -> None:
        match fact:
            case ft.JobAccepted():
                books.retention_s[fact.job] = fact.spec.retention_s
                books.owners[fact.job] = fact.owner
            case ft.JobMoved(result=result) if result is not None:
                books.until_s[fact.job] = fact.at_s + books.retention_s[fact.job]
            case ft.ResultExpired():
                if fact.at_s < books.until_s.get(fact.job, 0):
                    self._broken("C2", f"{fact.job} expired before its time")
                books.expired.add(fact.job)
            case ft.ReplicaTaken():
                kept = books.kept.get((fact.owner, fact.job), False)
                books.kept[fact.owner, fact.job] = kept
            case ft.ReplicaKept():
                books.kept[fact.owner, fact.job] = True
            case ft.ReplicaDropped():
                books.kept.pop((fact.owner, fact.job), None)
            case _:
                self._placement(machine, books, fact)

    def _placement(self, machine: Machine, books: _Books, fact: ft.Fact) -> None:
        if isinstance(fact, ft.ReplicaLost):
            self.lost += 1
        elif isinstance(fact, ft.ReplicaPlaced):
            self.placed += 1
            holder = self._machines[fact.holder]
            key = (books.owners[fact.job], fact.job)
            if not self._books[holder.index].kept.get(key):
                said = f"{machine.name} counts a copy of {fact.job} at {holder.name}"
                self._broken("C1", said)

    def _broken(self, promise: str, said: str) -> None:
        raise BrokenPromiseError(promise, self._now_ns, said)
