"""What a cluster can give, from what its machines have.

Rule: a job runs on one machine, so what all of them have together is no answer to
what one job can have. Our runner takes its share of every machine first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from nunet_node.executors.cluster.port import MachineRoom
from nunet_node.market.offers import LARGEST_MAX
from nunet_node.quantities import ResourceVector

RUNNER_BYTES: Final = 384 << 20
"""Memory that is asked for beside a job's own: two interpreters, wasmtime, and a
compiled CPython."""

_NOTHING: Final = ResourceVector()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRoom:
    """What all machines have together, and what one job can have at most."""

    total: ResourceVector = _NOTHING
    largest: tuple[ResourceVector, ...] = ()

    def capped(self, allowed: ResourceVector) -> "ClusterRoom":
        """Return this with no more than an owner allows in all."""
        kinds = (_least(kind, allowed) for kind in self.largest)
        total = _least(self.total, allowed)
        return ClusterRoom(total=total, largest=_outstanding(kinds))


def room_of(machines: Iterable[MachineRoom], disk_bytes: int) -> ClusterRoom:
    """Return what these machines can give.

    Args:
        machines: those that take jobs.
        disk_bytes: what one has whose disk the cluster does not tell.
    """
    rooms = [_for_jobs(machine, disk_bytes) for machine in machines]
    usable = [room for room in rooms if room.cpu_millis and room.memory_bytes]
    total = sum(usable, ResourceVector())
    return ClusterRoom(total=total, largest=_outstanding(usable))


def _for_jobs(machine: MachineRoom, disk_bytes: int) -> ResourceVector:
    return ResourceVector(
        cpu_millis=machine.cpu_millis,
        memory_bytes=max(0, machine.memory_bytes - RUNNER_BYTES),
        disk_bytes=machine.disk_bytes or disk_bytes,
    )


def _outstanding(rooms: Iterable[ResourceVector]) -> tuple[ResourceVector, ...]:
    """Return the rooms that fit into no other, the one of most processors first."""
    kinds = set(rooms)
    kept = [
        room
        for room in kinds
        if not any(room != other and room.fits(other) for other in kinds)
    ]
    kept.sort(key=lambda room: (room.cpu_millis, room.memory_bytes), reverse=True)
    return tuple(kept[:LARGEST_MAX])


def _least(one: ResourceVector, other: ResourceVector) -> ResourceVector:
    return ResourceVector(
        cpu_millis=min(one.cpu_millis, other.cpu_millis),
        memory_bytes=min(one.memory_bytes, other.memory_bytes),
        disk_bytes=min(one.disk_bytes, other.disk_bytes),
    )
