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
from functools import cache
from pathlib import Path
from typing import Final

from nunet_node.executors.inside import confine

REMOVALS_MAX: Final = 100
"""Most tries to remove an emptied group; a later sweep removes what stays."""
_REMOVAL_PAUSE_S: Final = 0.02
_PREFIX: Final = "nunet-node"
_V1_CONTROLLERS: Final = ("memory", "pids", "cpu", "cpuacct")
_CPU_PERIOD_US: Final = 100_000
_PART_BYTES: Final = 4096
"""The kernel gives its tables a page at a time."""
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
    def places(self) -> list[str]:
        """The directories that it is, one in each hierarchy."""
        return sorted({str(path) for path in self.folders.values()})

    @property
    def procs_files(self) -> list[str]:
        """The files into which a process writes ``0`` to join."""
        return [f"{place}/cgroup.procs" for place in self.places]

    def limit(self, limits: GroupLimits) -> bool:
        """Set limits; False where the kernel refuses them, perhaps halfway."""
        try:
            _set_limits(self.folders, limits)
        except OSError:
            return False
        return True

    def oom_kills(self) -> int:
        """Return how many processes the kernel killed for want of memory."""
        name = "memory.events" if _is_unified(self.folders) else "memory.oom_control"
        for line in _read(self.folders["memory"] / name).splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return 0

    def memory_peak_bytes(self) -> int:
        """Return the most memory that the whole group ever held."""
        unified = _is_unified(self.folders)
        name = "memory.peak" if unified else "memory.max_usage_in_bytes"
        return int(_read(self.folders["memory"] / name) or 0)

    def cpu_ms(self) -> int:
        """Return the processor time of every process that was ever in the group."""
        if not _is_unified(self.folders):
            return int(_read(self.folders["cpuacct"] / "cpuacct.usage") or 0) // 10**6
        for line in _read(self.folders["cpuacct"] / "cpu.stat").splitlines():
            if line.startswith("usage_usec "):
                return int(line.split()[1]) // 1000
        return 0

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


def named() -> ControlGroup | None:
    """Return a group that is yet to be made, or None where this host does not let us.

    Whoever cannot make it says so by `refused`.
    """
    parents = _parents()
    if not parents:
        _parents.cache_clear()
        return None
    name = f"{_PREFIX}-{os.getpid()}-{next(_serial)}"
    return ControlGroup(folders={key: at / name for key, at in parents.items()})


def refused(group: ControlGroup) -> None:
    """Take away what there is of a group that could not be made."""
    # Somebody may have moved us, or taken the right back.
    _parents.cache_clear()
    group.remove()


def create() -> ControlGroup | None:
    """Make a group without limits, or None where this host does not let us."""
    group = named()
    if group is None or confine.made_cgroups(group.places):
        return group
    refused(group)
    return None


def limited(limits: GroupLimits) -> ControlGroup | None:
    """Make a group with these limits, or None where this host does not let us."""
    group = create()
    if group is None or group.limit(limits):
        return group
    group.remove()
    return None


def own_folders(
    mount: Path, told: Path = Path("/proc/self/cgroup")
) -> Iterator[tuple[str, Path]]:
    """Yield the groups that bind this process, by controller, up to the mounted top.

    Where a container hides what lies above, and shows names of the host, there is the
    top alone. ``mount`` is where control groups are mounted, ``told`` where the kernel
    names the groups of a process. Version 2 has one folder for all controllers, named
    by an empty word.
    """
    for names, path in _own_groups(told):
        for name in names:
            tops = (mount / name,) if name else (mount, mount / "unified")
            for top in tops:
                own = Path(path.lstrip("/"))
                for folder in (top / own, *(top / each for each in own.parents)):
                    yield name, folder


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
    _write(at["pids"] / "pids.max", f"{limits.pids}")
    if _is_unified(at):
        _write(at["memory"] / "memory.max", f"{memory_bytes}")
        with contextlib.suppress(OSError):
            _write(at["memory"] / "memory.swap.max", "0")
        with contextlib.suppress(OSError):
            _write(at["cpu"] / "cpu.max", f"{quota_us} {_CPU_PERIOD_US}")
        return
    _write(at["memory"] / "memory.limit_in_bytes", f"{memory_bytes}")
    with contextlib.suppress(OSError):
        _write(at["memory"] / "memory.memsw.limit_in_bytes", f"{memory_bytes}")
    _write(at["cpu"] / "cpu.cfs_period_us", f"{_CPU_PERIOD_US}")
    _write(at["cpu"] / "cpu.cfs_quota_us", f"{quota_us}")


def _is_unified(at: dict[str, Path]) -> bool:
    """Tell whether one hierarchy has it all, as in version 2."""
    return at["memory"] == at["cpu"]


@cache
def _parents() -> dict[str, Path]:
    """Return where groups are made; reading the kernel's tables costs as much."""
    return _v2_parents() or _v1_parents()


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


def _own_groups(
    told: Path = Path("/proc/self/cgroup"),
) -> Iterator[tuple[list[str], str]]:
    for line in _read(told).splitlines():
        _, names, path = line.split(":", 2)
        yield names.split(","), path


def _read(path: Path) -> str:
    """Return what the kernel says there; nothing if it says none."""
    try:
        # A file object's buffers cost more than what is read and written here.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    said = b""
    try:
        while part := os.read(file, _PART_BYTES):
            said += part
    except OSError:
        return ""
    finally:
        os.close(file)
    return said.decode().strip()


def _write(path: Path, text: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
