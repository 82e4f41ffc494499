"""What a running job uses: its processes and its directory, measured from outside.

Rule: the job is an enemy that changes its tree while it is measured, so directories
are walked by descriptor and never through a link, and what cannot be measured counts
as too much. Where a control group holds the memory, only the disk is measured here.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nunet_node.executors.port import DEPTH_MAX

UNMEASURABLE: Final = 2**62
"""What a tree counts as that hides from being measured."""
_BLOCK_BYTES: Final = 512
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICK_MS: Final = 1000 // os.sysconf("SC_CLK_TCK")
NAMELESS_MAPPED_MAX: Final = 8
"""Most files of a tree that are mapped, but neither named nor open any more: their
size cannot be seen, only that each keeps to the limit on one file."""
PIDS_WALKED_MAX: Final = 4096
"""Most processes looked at in one tree; no job is allowed nearly as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeUse:
    """Processes of one job: anonymous memory, processor time, unnamed files."""

    memory_bytes: int = 0
    cpu_ms: int = 0
    unlinked_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """What lies in a job's directories: allocated bytes, and entries of any kind."""

    size_bytes: int = 0
    entries: int = 0


def tree_use(root_pid: int, device: int) -> TreeUse:
    """Sum over ``root_pid`` and all it started; processes that vanish count 0.

    Files without a name count where they lie on ``device``, the job's file system.
    """
    memory = cpu = unlinked = 0
    seen_files: set[tuple[int, int]] = set()
    mapped: set[tuple[int, int]] = set()
    for pid in descendants(root_pid):
        memory += _memory_bytes(pid)
        cpu += _cpu_ms(pid)
        unlinked += _unlinked_bytes(pid, device, seen_files)
        mapped |= _mapped_nameless(pid, device)
    if len(mapped - seen_files) > NAMELESS_MAPPED_MAX:
        unlinked = UNMEASURABLE
    return TreeUse(memory_bytes=memory, cpu_ms=cpu, unlinked_bytes=unlinked)


def descendants(root_pid: int) -> list[int]:
    """Return ``root_pid`` and every process below it."""
    found = [root_pid]
    for pid in found:
        if len(found) > PIDS_WALKED_MAX:
            break
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - hot
                children = _read(f"/proc/{pid}/task/{thread}/children")
                found.extend(int(child) for child in children.split())
        except OSError:
            continue
    return found


def parent_of(pid: int) -> int | None:
    """Return the parent of ``pid``, or None when it is gone."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else None


def disk_use(folders: tuple[Path, ...], entries_max: int) -> DiskUse:
    """Measure directories that an enemy may be writing.

    Stops early beyond ``entries_max``. A tree too deep or closed to us counts as
    `UNMEASURABLE`: both are ways to hide files.
    """
    total = DiskUse()
    for folder in folders:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except PermissionError:
            return DiskUse(size_bytes=UNMEASURABLE, entries=total.entries)
        try:
            total = _measured(descriptor, total, entries_max, depth=0)
        finally:
            os.close(descriptor)
    return total


def _measured(folder: int, so_far: DiskUse, entries_max: int, depth: int) -> DiskUse:
    if depth > DEPTH_MAX:
        return DiskUse(size_bytes=UNMEASURABLE, entries=so_far.entries)
    total = so_far
    with os.scandir(folder) as entries:
        for entry in entries:
            if total.entries > entries_max or total.size_bytes >= UNMEASURABLE:
                break
            total = _with_entry(folder, entry.name, total, entries_max, depth)
    return total


def _with_entry(
    folder: int, name: str, so_far: DiskUse, entries_max: int, depth: int
) -> DiskUse:
    try:
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return so_far
    size = so_far.size_bytes + max(seen.st_blocks, 1) * _BLOCK_BYTES
    total = DiskUse(size_bytes=size, entries=so_far.entries + 1)
    if not stat.S_ISDIR(seen.st_mode):
        return total
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        below = os.open(name, flags, dir_fd=folder)
    except PermissionError:
        return DiskUse(size_bytes=UNMEASURABLE, entries=total.entries)
    except OSError:
        # It was replaced between the two calls; the next round sees what by.
        return total
    try:
        return _measured(below, total, entries_max, depth + 1)
    finally:
        os.close(below)


def _memory_bytes(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    if not fields:
        return 0
    # Resident minus file-backed pages: libraries shared with the host are not the
    # job's, and memory shared copy-on-write counts once for each process.
    return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES


def _cpu_ms(pid: int) -> int:
    _, _, fields = _read(f"/proc/{pid}/stat").rpartition(")")
    numbers = fields.split()
    if not numbers:
        return 0
    user, system = int(numbers[11]), int(numbers[12])
    return (user + system) * _TICK_MS


def _unlinked_bytes(pid: int, device: int, seen: set[tuple[int, int]]) -> int:
    """Bytes in files that have no name any more but are held open."""
    total = 0
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - hot
    except PermissionError:
        # A process that ends is closed to us and has no memory any more; one that
        # has some has made itself unreadable.
        return UNMEASURABLE if _has_memory(pid) else 0
    except OSError:
        return 0
    for descriptor in descriptors:
        try:
            held = os.stat(f"/proc/{pid}/fd/{descriptor}")  # noqa: PTH116 - hot
        except OSError:
            continue
        key = (held.st_dev, held.st_ino)
        nameless = stat.S_ISREG(held.st_mode) and held.st_nlink == 0
        if nameless and held.st_dev == device and key not in seen:
            seen.add(key)
            total += held.st_blocks * _BLOCK_BYTES
    return total


def _has_memory(pid: int) -> bool:
    return _read(f"/proc/{pid}/statm").split()[:1] not in ([], ["0"])


def _mapped_nameless(pid: int, device: int) -> set[tuple[int, int]]:
    found = set()
    for line in _read(f"/proc/{pid}/maps").splitlines():
        if line.endswith(" (deleted)"):
            major, minor = line.split()[3].split(":")
            if os.makedev(int(major, 16), int(minor, 16)) == device:
                found.add((device, int(line.split()[4])))
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as source:  # noqa: PTH123 - hot
            return source.read()
    except OSError:
        return ""
