"""Which graphics processors a job has: those it was given, and nobody else meanwhile.

Rule: a device belongs to at most one job, from before its start until nothing of it is
alive, and its nodes are seen in no other sandbox. The node decides how many of which
kind a job gets; here it is decided which ones.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from nunet_node.executors.port import DevicesError
from nunet_node.quantities import Gpus

SHARED_NODES: Final = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
"""Nodes through which every NVIDIA device is reached; they alone show none of them.
Source: nvidia-container-toolkit, the devices of its container edits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One graphics processor: what it is, and the nodes in /dev that are its own."""

    name: str
    kind: Gpus
    nodes: tuple[str, ...]
    uuid: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Devices:
    """The graphics processors of one machine, and which of them are held."""

    present: tuple[Device, ...] = ()
    _held: set[str] = field(default_factory=set)

    @contextlib.contextmanager
    def held(self, wanted: Iterable[Gpus]) -> Iterator[tuple[str, ...]]:
        """Hold some devices for as long as the block; yield their nodes.

        Raises:
            DevicesError: they are not here, or not free.
        """
        taken: list[Device] = []
        for kind in wanted:
            taken += self._free(kind, taken)
        names = {device.name for device in taken}
        self._held |= names
        try:
            nodes = tuple(node for device in taken for node in device.nodes)
            yield (*nodes, *SHARED_NODES) if nodes else ()
        finally:
            self._held -= names

    def _free(self, wanted: Gpus, taken: list[Device]) -> list[Device]:
        free = [
            device
            for device in self.present
            if device.name not in self._held
            and device not in taken
            and wanted.accepts(device.kind)
        ]
        # The node names the kind exactly; what only resembles it is another job's.
        free.sort(key=lambda device: device.kind != _one(wanted))
        if len(free) < wanted.count:
            raise DevicesError(f"{wanted} wanted, {len(free)} here and free")
        return free[: wanted.count]


def kinds_of(devices: Iterable[Device]) -> tuple[Gpus, ...]:
    """Return how many there are of each kind."""
    counts: dict[Gpus, int] = {}
    for device in devices:
        counts[device.kind] = counts.get(device.kind, 0) + 1
    return tuple(_counted(kind, count) for kind, count in counts.items())


def _one(kind: Gpus) -> Gpus:
    return _counted(kind, 1)


def _counted(kind: Gpus, count: int) -> Gpus:
    return Gpus(
        vendor=kind.vendor,
        model=kind.model,
        memory_bytes=kind.memory_bytes,
        count=count,
    )
