"""What this machine can give to jobs, as its kernel tells.

Rule: the smallest bound counts, because a container or a service manager may allow
less than the machine has, to this process or to a group above it; a share stays with
the system, so that a node that is fully booked does not starve its host. The owner's
own figures override all of it.
Sources: cgroups(7), sched_getaffinity(2), proc(5).
"""

import logging
import os
import shutil
from pathlib import Path
from typing import Final

from nunet_node.executors.modules import find_python
from nunet_node.executors.port import Capability, Executors
from nunet_node.executors.sandbox.cgroups import own_folders
from nunet_node.market.offers import EngineOffer
from nunet_node.quantities import ResourceVector

MEMORY_SHARE_PERCENT: Final = 75
"""Of the memory; the rest is for the node, the page cache and the system."""

DISK_SHARE_PERCENT: Final = 50
"""Of what is free; results and inputs kept for their owners need the other half."""

_CGROUP: Final = Path("/sys/fs/cgroup")
_TOLD: Final = Path("/proc/self/cgroup")
_MEMORY_FILES: Final = {"": "memory.max", "memory": "memory.limit_in_bytes"}

Folders = tuple[tuple[str, Path], ...]
"""Groups of this process and those above, by their controller."""

_log = logging.getLogger("nunet_node.runtime.work.detect")


def detect(
    scratch: Path, *, cgroup: Path = _CGROUP, told: Path = _TOLD
) -> ResourceVector:
    """Measure what can be offered.

    Args:
        scratch: a directory on the file system in which jobs run.
        cgroup: where control groups are mounted.
        told: where the kernel names the groups of this process.
    """
    folders = tuple(own_folders(cgroup, told))
    return ResourceVector(
        cpu_millis=_cpu_millis(folders),
        memory_bytes=_memory_bytes(folders) * MEMORY_SHARE_PERCENT // 100,
        disk_bytes=shutil.disk_usage(scratch).free * DISK_SHARE_PERCENT // 100,
    )


def _cpu_millis(folders: Folders) -> int:
    own = len(os.sched_getaffinity(0)) * 1000
    limits = (_quota_millis(name, folder) for name, folder in folders)
    return max(1, min([own, *(limit for limit in limits if limit is not None)]))


def _quota_millis(controller: str, folder: Path) -> int | None:
    """Return what one group may use of the processors; None without a limit."""
    if controller == "cpu":
        quota_us = _number(folder / "cpu.cfs_quota_us")
        period_us = _number(folder / "cpu.cfs_period_us")
        return quota_us * 1000 // period_us if quota_us and period_us else None
    quota = _words(folder / "cpu.max") if controller == "" else []
    if len(quota) == 2 and quota[0].isdigit():  # noqa: PLR2004 - quota and period
        return int(quota[0]) * 1000 // int(quota[1])
    return None


def _memory_bytes(folders: Folders) -> int:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = (
        _number(folder / _MEMORY_FILES[name])
        for name, folder in folders
        if name in _MEMORY_FILES
    )
    return min([total, *(limit for limit in limits if limit)])


def _number(path: Path) -> int | None:
    """Return a file's one number; None if there is no file, or no limit in it."""
    words = _words(path)
    return int(words[0]) if len(words) == 1 and words[0].isdigit() else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


async def engines(executors: Executors) -> tuple[EngineOffer, ...]:
    """Try every engine, and return those that work or only need to be prepared."""
    found = [_offer(capability) for capability in await executors.probe()]
    return tuple(offer for offer in found if offer is not None)


def some_wait(offers: tuple[EngineOffer, ...]) -> bool:
    """Tell whether an engine could be offered once it is prepared."""
    return any(not offer.ready for offer in offers)


def _offer(capability: Capability) -> EngineOffer | None:
    if capability.http_gap:
        _log.warning("jobs reach no domains: %s", capability.http_gap)
    offer = EngineOffer(
        engine=capability.engine,
        isolation=capability.isolation if capability.ready else "",
        ready=capability.ready,
        secrets=capability.secrets,
        http=capability.http,
    )
    # No room yet is not never: Python compiles while others are served.
    compiles = capability.engine == "python" and find_python() is not None
    if capability.ready or compiles or capability.waits:
        return offer
    _log.info(
        "engine %s is not offered: %s (%s)",
        capability.engine,
        capability.detail,
        capability.remedy or "no remedy is known",
    )
    return None
