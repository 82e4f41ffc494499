"""Control groups: limits on a whole process tree that the kernel itself keeps.

Works with version 1 when the node may write its own groups (root on an older host)
and with version 2 when an operator delegated ``memory`` and ``pids`` to the node's
group. Otherwise there is no group, and the supervisor measures instead. Source:
Linux Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REMOVALS_MAX: Final = 100
"""Most tries to remove an emptied group; a later sweep removes what stays."""
_REMOVAL_PAUSE_S: Final = 0.02
_PREFIX: Final = "nunet-node"
_V1_CONTROLLERS: Final = ("memory", "pids", "cpu", "cpuacct")
_CPU_PERIOD_US: Final = 100_000
_serial = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimits:
    """What a whole process tree may hold and use."""

    memory_bytes: int
    pids: int
    cpu_millis: int


@dataclass(slots=True, kw_only=True)
class ControlGroup:
    """One job's group; in version 1 a directory in each hierarchy."""

    folders: dict[str, Path]

    @property
    def procs_files(self) -> list[str]:
        """The files into which a process writes ``0`` to join."""
        return sorted({str(path / "cgroup.procs") for path in self.folders.values()})

    def limit(self, limits: GroupLimits) -> bool:
        """Set limits; False where the kernel refuses them, perhaps halfway."""
        try:
            _set_limits(self.folders, limits)
        except OSError:
            return False
        return True

    def oom_kills(self) -> int:
        """Return how many processes the kernel killed for want of memory."""
        for name in ("memory.events", "memory.oom_control"):
            for line in _read(self.folders["memory"] / name).splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def memory_peak_bytes(self) -> int:
        """Return the most memory that the whole group ever held."""
        for name in ("memory.peak", "memory.max_usage_in_bytes"):
            text = _read(self.folders["memory"] / name)
            if text:
                return int(text)
        return 0

    def cpu_ms(self) -> int:
        """Return the processor time of every process that was ever in the group."""
        for line in _read(self.folders["cpuacct"] / "cpu.stat").splitlines():
            if line.startswith("usage_usec "):
                return int(line.split()[1]) // 1000
        return int(_read(self.folders["cpuacct"] / "cpuacct.usage") or 0) // 10**6

    def pids(self) -> list[int]:
        """Return the processes now in the group."""
        return [
            int(pid) for pid in _read(self.folders["pids"] / "cgroup.procs").split()
        ]

    def remove_patiently(self) -> None:
        """Remove the emptied group; blocks while the kernel still counts a process."""
        for _ in range(REMOVALS_MAX):
            if self.remove():
                return
            time.sleep(_REMOVAL_PAUSE_S)

    def remove(self) -> bool:
        """Remove the empty group; False while the kernel still counts a process."""
        for folder in set(self.folders.values()):
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not any(folder.exists() for folder in self.folders.values())


def create() -> ControlGroup | None:
    """Make a group without limits, or None where this host does not let us."""
    name = f"{_PREFIX}-{os.getpid()}-{next(_serial)}"
    parents = _v2_parents() or _v1_parents()
    if not parents:
        return None
    group = ControlGroup(folders={key: at / name for key, at in parents.items()})
    try:
        for folder in set(group.folders.values()):
            folder.mkdir()
    except OSError:
        group.remove()
        return None
    return group


def limited(limits: GroupLimits) -> ControlGroup | None:
    """Make a group with these limits, or None where this host does not let us."""
    group = create()
    if group is None or group.limit(limits):
        return group
    group.remove()
    return None


def sweep() -> None:
    """Remove the empty groups that killed nodes left behind.

    The group of a node that lives is left alone: it may be empty because its first
    process is about to join.
    """
    for parent in set((_v2_parents() or _v1_parents()).values()):
        for folder in parent.glob(f"{_PREFIX}-*"):
            if _maker_lives(folder.name):
                continue
            with contextlib.suppress(OSError):
                folder.rmdir()


def _maker_lives(name: str) -> bool:
    pid = name.removeprefix(f"{_PREFIX}-").partition("-")[0]
    return Path("/proc", pid).exists()


def _set_limits(at: dict[str, Path], limits: GroupLimits) -> None:
    quota_us = max(1000, limits.cpu_millis * _CPU_PERIOD_US // 1000)
    memory_bytes = limits.memory_bytes
    (at["pids"] / "pids.max").write_text(str(limits.pids))
    if at["memory"] == at["cpu"]:
        (at["memory"] / "memory.max").write_text(str(memory_bytes))
        with contextlib.suppress(OSError):
            (at["memory"] / "memory.swap.max").write_text("0")
        with contextlib.suppress(OSError):
            (at["cpu"] / "cpu.max").write_text(f"{quota_us} {_CPU_PERIOD_US}")
        return
    (at["memory"] / "memory.limit_in_bytes").write_text(str(memory_bytes))
    with contextlib.suppress(OSError):
        swap_too = at["memory"] / "memory.memsw.limit_in_bytes"
        swap_too.write_text(str(memory_bytes))
    (at["cpu"] / "cpu.cfs_period_us").write_text(str(_CPU_PERIOD_US))
    (at["cpu"] / "cpu.cfs_quota_us").write_text(str(quota_us))


def _v1_parents() -> dict[str, Path]:
    mounts = {
        controller: mount
        for mount, kind, options in _mounts()
        if kind == "cgroup"
        for controller in options
    }
    parents = {
        controller: mounts[controller] / path.lstrip("/")
        for names, path in _own_groups()
        for controller in names
        if controller in _V1_CONTROLLERS and controller in mounts
    }
    whole = set(parents) == set(_V1_CONTROLLERS)
    return parents if whole and all(_writable(at) for at in parents.values()) else {}


def _v2_parents() -> dict[str, Path]:
    mount = next((at for at, kind, _ in _mounts() if kind == "cgroup2"), None)
    own = next((path for names, path in _own_groups() if names == [""]), None)
    if mount is None or own is None:
        return {}
    parent = mount / own.lstrip("/")
    delegated = _read(parent / "cgroup.subtree_control").split()
    if not {"memory", "pids"} <= set(delegated) or not _writable(parent):
        return {}
    return dict.fromkeys(_V1_CONTROLLERS, parent)


def _writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK)


def _mounts() -> Iterator[tuple[Path, str, list[str]]]:
    for line in _read(Path("/proc/self/mountinfo")).splitlines():
        place, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        if kind.startswith("cgroup"):
            yield Path(place.split()[4]), kind, options.split(",")


def _own_groups() -> Iterator[tuple[list[str], str]]:
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, names, path = line.split(":", 2)
        yield names.split(","), path


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
