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

from nunet_node.executors.jobdir import DEPTH_MAX
from nunet_node.executors.sandbox.holdings import (
    Holdings,
    has_memory,
    queued_bytes,
    read,
    threads,
)

UNMEASURABLE: Final = 2**62
"""What a tree counts as that hides from being measured."""
_BLOCK_BYTES: Final = 512
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICK_MS: Final = 1000 // os.sysconf("SC_CLK_TCK")
PIDS_WALKED_MAX: Final = 4096
"""Most processes looked at in one tree; no job is allowed nearly as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeUse:
    """Processes of one job: memory, processor time, and files without a name.

    ``in_flight`` counts descriptors on their way between them, seen by nobody.
    """

    memory_bytes: int = 0
    cpu_ms: int = 0
    unlinked_bytes: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """What lies in a job's directories: allocated bytes, and entries of any kind."""

    size_bytes: int = 0
    entries: int = 0


def tree_use(root_pid: int, device: int, *, grouped: bool = True) -> TreeUse:
    """Sum over ``root_pid`` and all it started; processes that vanish count 0.

    Files without a name count where they lie on ``device``, the job's file system.
    Memory that no process shows by itself counts unless the tree is ``grouped``: then
    its control group knows better.
    """
    memory = cpu = 0
    held = Holdings(device=device)
    pids = descendants(root_pid)
    for pid in pids:
        cpu += _cpu_ms(pid)
        memory += _process_bytes(pid, held)
    if not grouped:
        memory += held.memory_bytes + queued_bytes(pids)
    return TreeUse(
        memory_bytes=UNMEASURABLE if held.hides_memory and not grouped else memory,
        cpu_ms=cpu,
        unlinked_bytes=UNMEASURABLE if held.hides_files else held.unlinked_bytes,
        in_flight=held.in_flight,
    )


def descendants(root_pid: int) -> list[int]:
    """Return ``root_pid`` and every process below it."""
    found = [root_pid]
    for pid in found:
        if len(found) > PIDS_WALKED_MAX:
            break
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - hot
                children = read(f"/proc/{pid}/task/{thread}/children")
                found.extend(int(child) for child in children.split())
        except OSError:
            continue
    return found


def parent_of(pid: int) -> int | None:
    """Return the parent of ``pid``, or None when it is gone."""
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
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


def _process_bytes(pid: int, held: Holdings) -> int:
    """Return the memory of one process, and note what else it holds."""
    each = threads(pid)
    for thread in each:
        held.add_descriptors(thread)
    # The first thread may have ended, and tells nothing then; the others go on.
    alive = next(filter(has_memory, each), None)
    if alive is None:
        return 0
    held.add_mappings(alive)
    return _memory_bytes(alive)


def _memory_bytes(thread: str) -> int:
    fields = read(f"{thread}/statm").split()
    if not fields:
        return 0
    # Resident minus file-backed pages: libraries shared with the host are not the
    # job's, and memory shared copy-on-write counts once for each process.
    return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES


def _cpu_ms(pid: int) -> int:
    """Return the processor time of a process and of its children that are gone."""
    _, _, fields = read(f"/proc/{pid}/stat").rpartition(")")
    return sum(map(int, fields.split()[11:15])) * _TICK_MS
