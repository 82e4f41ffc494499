"""A check-up of this machine: what it can run, what held, and what would help.

Rule: every gap names its remedy. An engine that works without one of its barriers is
a gap too: it is offered, but its owner should know what it lacks.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from nunet_node.errors import PeerError
from nunet_node.executors.cluster.capacity import RUNNER_BYTES, ClusterRoom
from nunet_node.executors.cluster.port import MachineRoom
from nunet_node.executors.container.find import find_socket
from nunet_node.executors.local import LocalExecutors
from nunet_node.executors.port import Capability
from nunet_node.executors.probing.examine import CONTROL_GROUPS
from nunet_node.executors.sandbox.devices import kinds_of
from nunet_node.executors.sandbox.nvml import usable_devices
from nunet_node.quantities import ResourceVector, size_text
from nunet_node.runtime.work.detect import detect

if TYPE_CHECKING:
    from nunet_node.executors.cluster.executors import ClusterExecutors

_UNGROUPED: Final = (
    "no control group: memory is measured, and a share of a processor is not held"
)
_NO_HTTP: Final = "its jobs cannot be let reach domains: "
_HTTP: Final = (
    "install bash, with which that is tried, and allow unprivileged user namespaces"
)
_NO_ROOM: Final = (
    "no machine has a processor, and memory for a job beside our runner's own: "
    f"{size_text(RUNNER_BYTES)}"
)
_WEAKNESSES: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "wasm": (
        ("cgroup", _UNGROUPED, CONTROL_GROUPS),
        ("landlock", "no Landlock behind WebAssembly", "run Linux 5.13 or newer"),
    ),
    "python": (),
    "container": (),
    "process": (
        ("cgroup", _UNGROUPED, CONTROL_GROUPS),
        ("seccomp", "no filter of system calls", "install libseccomp2"),
    ),
}
"""Barriers that an engine can do without, and what it lacks then. CPython shares the
runner of `wasm`, so its gaps are told once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something that this machine lacks, and what to do about it."""

    engine: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """What was found."""

    capabilities: tuple[Capability, ...]
    gaps: tuple[Gap, ...]
    room: ResourceVector
    backend: str = "this machine"
    """Where jobs run, for people."""
    machines: tuple[MachineRoom, ...] = ()
    """Those of a cluster."""
    domains: tuple[str, ...] = ()
    """What jobs may be let reach over HTTP, as the node's owner allows."""

    @property
    def http(self) -> bool:
        """Whether some engine's jobs were seen to reach domains, and no others."""
        return any(each.http for each in self.capabilities)


async def check_up_cluster(executors: "ClusterExecutors") -> Checkup:
    """Have one machine of a cluster attack every engine, thoroughly.

    Raises:
        PeerError: the cluster cannot be used; the text says why.
    """
    async with executors.warmed():
        backend = await executors.describe()
        found = await executors.probe(thorough=True)
        room = await executors.room()
        machines = await executors.machines()
    return Checkup(
        capabilities=found,
        gaps=(*_without_room(backend, room), *gaps(found)),
        room=room.total,
        backend=backend,
        machines=machines,
    )


async def check_up(
    scratch: Path, cache: Path, domains: tuple[str, ...] = ()
) -> Checkup:
    """Attack every engine thoroughly; compiles CPython if nobody has yet.

    ``domains`` are what jobs may be let reach. Takes two seconds, and some more for the
    compilation.

    Raises:
        ScratchError: a directory cannot be trusted.
    """
    executors = await trio.to_thread.run_sync(
        partial(LocalExecutors, scratch, cache, container_socket=find_socket())
    )
    with contextlib.suppress(PeerError):
        # Where it fails, the probe says what is missing.
        await executors.compile_python()
    found = await executors.probe(thorough=True)
    room = await trio.to_thread.run_sync(detect, scratch)
    room = room.with_gpus(kinds_of(await trio.to_thread.run_sync(usable_devices)))
    return Checkup(
        capabilities=found, gaps=tuple(gaps(found)), room=room, domains=domains
    )


def _without_room(backend: str, room: ClusterRoom) -> tuple[Gap, ...]:
    if room.largest:
        return ()
    return (Gap(engine="backend", what=_NO_ROOM, remedy=f"look after {backend}"),)


def gaps(found: Iterable[Capability]) -> Iterable[Gap]:
    """Yield what is missing, engine by engine."""
    for each in found:
        if not each.ready:
            remedy = each.remedy or "no remedy is known"
            yield Gap(engine=each.engine, what=each.detail, remedy=remedy)
            continue
        if each.http_gap:
            yield Gap(
                engine=each.engine, what=f"{_NO_HTTP}{each.http_gap}", remedy=_HTTP
            )
        barriers = each.isolation.split("+")
        for barrier, what, remedy in _WEAKNESSES.get(each.engine, ()):
            if barrier not in barriers:
                yield Gap(engine=each.engine, what=what, remedy=remedy)
