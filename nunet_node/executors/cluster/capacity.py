"""What a cluster can give, from what its machines have.

Rule: a job runs on one machine, so what all of them have together is no answer to
what one job can have. Our runner takes its share of every machine first. Of a graphics
processor no more is told than the cluster or its owner says: whose memory is not known
meets no demand for memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from nunet_node.executors.cluster.port import ClusterGpus, MachineRoom
from nunet_node.market.offers import LARGEST_MAX
from nunet_node.quantities import GPUS_MAX, KINDS_MAX, Gpus, ResourceVector

RUNNER_BYTES: Final = 384 << 20
"""Memory that is asked for beside a job's own: two interpreters, wasmtime, and a
compiled CPython."""

WALL_SLACK_S: Final = 600
"""What a cluster gives a job beyond its own time: to bring its inputs and outputs, and
to compile what it runs."""

SLACK_DIVISOR: Final = 4
"""Of a cluster's own limit on time, no more than this part is kept back as slack: a
partition for tests ends its jobs after minutes."""

KINDS_TOLD_MAX: Final = 10
"""Kinds of GPU that the kinds of machine have together: with more, an advert would be
half of what gossip carries. Clusters have one or two in a machine."""

_NOTHING: Final = ResourceVector()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKinds:
    """What the graphics processors of a cluster are, by what it calls them."""

    known: Mapping[str, Gpus] = field(default_factory=dict)

    def kind_of(self, gpus: ClusterGpus) -> Gpus:
        """Return their kind; what nobody described is known by its label alone."""
        kind = self.known.get(gpus.label) or Gpus(model=gpus.label)
        return msgspec.structs.replace(kind, count=min(gpus.count, GPUS_MAX))

    def found_on(self, machine: MachineRoom, wanted: Gpus) -> ClusterGpus | None:
        """Return what to ask the cluster for, if a machine has so many of a kind."""
        for each in machine.gpus:
            one = msgspec.structs.replace(self.kind_of(each), count=wanted.count)
            if one == wanted and each.count >= wanted.count:
                return ClusterGpus(label=each.label, count=wanted.count)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRoom:
    """What all machines have together, and what one job can have at most."""

    total: ResourceVector = _NOTHING
    largest: tuple[ResourceVector, ...] = ()
    run_s_max: int = 0
    """The longest that one job may run, where the cluster sets an end."""

    def capped(self, allowed: ResourceVector) -> "ClusterRoom":
        """Return this with no more than an owner allows in all."""
        kinds = (_least(kind, allowed) for kind in self.largest)
        total = _least(self.total, allowed)
        return ClusterRoom(
            total=total, largest=_outstanding(kinds), run_s_max=self.run_s_max
        )


_UNDESCRIBED: Final = GpuKinds()


def room_of(
    machines: Iterable[MachineRoom], disk_bytes: int, kinds: GpuKinds = _UNDESCRIBED
) -> ClusterRoom:
    """Return what these machines can give.

    Args:
        machines: those that take jobs.
        disk_bytes: what one has whose disk the cluster does not tell.
        kinds: what its graphics processors are.
    """
    usable = [machine for machine in machines if _takes_jobs(machine)]
    rooms = [_for_jobs(machine, disk_bytes, kinds) for machine in usable]
    total = sum(rooms, ResourceVector())
    # Of more kinds than one vector tells, the rarest are not offered.
    most = sorted(total.gpu_kinds, key=lambda kind: -kind.count)[:KINDS_MAX]
    total = total.with_gpus(most)
    largest = (_for_jobs(machine.for_one, disk_bytes, kinds) for machine in usable)
    return ClusterRoom(
        total=total,
        largest=_outstanding(_least(room, total) for room in largest),
        run_s_max=longest_run_s(usable),
    )


def longest_run_s(machines: Iterable[MachineRoom]) -> int:
    """Return the longest that a job may run on one of some machines; 0 is for ever.

    Less than the cluster's own limit, which counts what comes before and after too.
    """
    limits = [machine.run_s_max for machine in machines]
    if not limits or 0 in limits:
        return 0
    longest_s = max(limits)
    return max(1, longest_s - min(WALL_SLACK_S, longest_s // SLACK_DIVISOR))


def _takes_jobs(machine: MachineRoom) -> bool:
    return bool(machine.cpu_millis) and machine.for_one.memory_bytes > RUNNER_BYTES


def _for_jobs(machine: MachineRoom, disk_bytes: int, kinds: GpuKinds) -> ResourceVector:
    room = ResourceVector(
        cpu_millis=machine.cpu_millis,
        memory_bytes=max(0, machine.memory_bytes - RUNNER_BYTES),
        disk_bytes=machine.disk_bytes or disk_bytes,
    )
    most: dict[Gpus, Gpus] = {}
    for kind in map(kinds.kind_of, machine.gpus):
        # Two labels for one kind are no more of it: a job gets its GPUs by one label.
        known = most.setdefault(_one(kind), kind)
        most[_one(kind)] = max(known, kind, key=lambda each: each.count)
    return room.with_gpus(sorted(most.values(), key=str))


def _outstanding(rooms: Iterable[ResourceVector]) -> tuple[ResourceVector, ...]:
    """Return the rooms that no other has in it: most GPUs, then processors, first."""
    different = set(rooms)
    kept = [
        room
        for room in different
        if not any(room != one and _least(room, one) == room for one in different)
    ]
    kept.sort(key=_rank, reverse=True)
    told: list[ResourceVector] = []
    for room in kept:
        kinds_told = sum(len(each.gpu_kinds) for each in (*told, room))
        if kinds_told <= KINDS_TOLD_MAX and len(told) < LARGEST_MAX:
            told.append(room)
    return tuple(told)


def _rank(room: ResourceVector) -> tuple[int, int, int, str]:
    count = max((kind.count for kind in room.gpu_kinds), default=0)
    return (count, room.cpu_millis, room.memory_bytes, str(room.gpu_kinds))


def _least(one: ResourceVector, other: ResourceVector) -> ResourceVector:
    """Return what both have; of GPUs by their very kind, in the order of ``one``."""
    theirs = {_one(kind): kind.count for kind in other.gpu_kinds}
    shared = (
        msgspec.structs.replace(kind, count=min(kind.count, theirs[_one(kind)]))
        for kind in one.gpu_kinds
        if _one(kind) in theirs
    )
    return ResourceVector(
        cpu_millis=min(one.cpu_millis, other.cpu_millis),
        memory_bytes=min(one.memory_bytes, other.memory_bytes),
        disk_bytes=min(one.disk_bytes, other.disk_bytes),
    ).with_gpus(shared)


def _one(kind: Gpus) -> Gpus:
    return msgspec.structs.replace(kind, count=1)
