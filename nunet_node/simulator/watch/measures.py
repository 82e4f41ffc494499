"""What a run measured: times, traffic and fairness, as integers.

Times are virtual, in microseconds; a share is in thousandths. Percentiles are of the
nearest rank, so each is a time that really occurred.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from nunet_node.jobs.lifecycle import State, is_final
from nunet_node.jobs.specification import JobId
from nunet_node.protocol import facts as ft
from nunet_node.protocol.inputs import Input
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.world.machine import Machine

NS_PER_US = 1_000

OWNERS_MAX: Final = 12
"""Owners whose waits are told one by one: as many lines as a person reads."""


@dataclass(slots=True)
class Times:
    """When each job came to which point, in nanoseconds."""

    placed: dict[JobId, int] = field(default_factory=dict)
    accepted: dict[JobId, int] = field(default_factory=dict)
    started: dict[JobId, int] = field(default_factory=dict)
    ended: dict[JobId, int] = field(default_factory=dict)


class Measures:
    """A watcher that keeps what the tables need."""

    idle_too = False

    def __init__(self) -> None:
        self.times = Times()
        self.states: Counter[State] = Counter()
        self.ran_on: Counter[str] = Counter()
        self.owners: dict[JobId, str] = {}
        self.starts: Counter[JobId] = Counter()
        self.started_at: dict[JobId, set[int]] = {}
        """The machines at which each job started, by number."""

    def turned(self, now_ns: int, machine: Machine, given: Input, batch: Batch) -> None:
        """Note when which job came to which point."""
        del given
        for fact in batch.facts:
            match fact:
                case ft.OrderPlaced():
                    self.times.placed.setdefault(fact.job, now_ns)
                    self.owners[fact.job] = fact.owner
                case ft.AwardAccepted():
                    self.times.accepted.setdefault(fact.job, now_ns)
                case ft.JobMoved() if fact.state is State.STARTING:
                    self.times.started.setdefault(fact.job, now_ns)
                    self.starts[fact.job] += 1
                    self.ran_on[machine.name] += 1
                    self.started_at.setdefault(fact.job, set()).add(machine.index)
                case ft.NoticeKept() if is_final(fact.notice.state):
                    self._ends(fact.job, fact.notice.state, now_ns)
                case ft.OrderEnded():
                    self._ends(fact.job, fact.state, now_ns)
                case _:
                    pass

    def booted(self, now_ns: int, machine: Machine) -> None:
        """Measure nothing of a boot."""

    def waits_us(self) -> list[int]:
        """Return how long each started job had waited since it was placed."""
        times = self.times
        return _between(times.placed, times.started)

    def waits_of_us(self, owners: AbstractSet[str], *, theirs: bool) -> list[int]:
        """Return how long the jobs of these owners waited, or those of the others."""
        times = self.times
        kept = {
            job: at_ns
            for job, at_ns in times.started.items()
            if (self.owners.get(job) in owners) is theirs
        }
        return _between(times.placed, kept)

    def accepts_us(self) -> list[int]:
        """Return how long each job took to be in somebody's custody."""
        return _between(self.times.placed, self.times.accepted)

    def ends_us(self) -> list[int]:
        """Return how long each job took from its order to its end."""
        return _between(self.times.placed, self.times.ended)

    def fairness_permille(self) -> int:
        """Return Jain's index over the owners' mean waits; 1000 is all alike.

        Source: Jain, Chiu and Hawe, DEC-TR-301, 1984.
        """
        by_owner = dict[str, list[int]]()
        for job, at_ns in self.times.started.items():
            wait_us = (at_ns - self.times.placed.get(job, at_ns)) // NS_PER_US
            by_owner.setdefault(self.owners.get(job, ""), []).append(wait_us)
        return jain_permille([sum(w) // len(w) for w in by_owner.values()])

    def waits_by_owner_us(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Return the waits of the owners with the most jobs, by their names here."""
        waits = dict[str, list[int]]()
        for job, at_ns in self.times.started.items():
            placed_ns = self.times.placed.get(job)
            if placed_ns is not None:
                owner = names.get(self.owners[job], "?")
                waits.setdefault(owner, []).append((at_ns - placed_ns) // NS_PER_US)
        most = sorted(waits.items(), key=lambda pair: (-len(pair[1]), pair[0]))
        return {
            owner: {"jobs": len(taken), **percentiles(taken)}
            for owner, taken in most[:OWNERS_MAX]
        }

    def starts_by_price(self, prices: Mapping[str, int]) -> dict[str, int]:
        """Return how many attempts began at which price, given each provider's."""
        found = Counter(dict.fromkeys(prices.values(), 0))
        for name, starts in self.ran_on.items():
            found[prices[name]] += starts
        return {str(price): starts for price, starts in sorted(found.items())}

    def _ends(self, job: JobId, state: State, now_ns: int) -> None:
        if self.times.ended.setdefault(job, now_ns) == now_ns:
            self.states[state] += 1


def percentiles(values: Iterable[int]) -> Mapping[str, int]:
    """Return the 50th, 90th and 99th percentile and the largest; zeros of nothing."""
    ranked = sorted(values)
    if not ranked:
        return {"p50": 0, "p90": 0, "p99": 0, "max": 0}
    found = {f"p{p}": ranked[(len(ranked) - 1) * p // 100] for p in (50, 90, 99)}
    return {**found, "max": ranked[-1]}


def jain_permille(shares: Sequence[int]) -> int:
    """Return Jain's index of fairness of these shares, in thousandths."""
    squares = sum(share * share for share in shares)
    if not squares:
        return 1000
    return 1000 * sum(shares) ** 2 // (len(shares) * squares)


def _between(begun: Mapping[JobId, int], ended: Mapping[JobId, int]) -> list[int]:
    return [
        (at_ns - begun[job]) // NS_PER_US
        for job, at_ns in ended.items()
        if job in begun
    ]
