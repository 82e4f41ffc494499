"""What each engine's guests are run with, and what their ends say of the barriers.

Rule: a barrier held only if its attack was really made and really failed. A guest
that could not begin its attack has shown nothing, and that counts as broken.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from nunet_node.executors.engines import PIDS_MAX
from nunet_node.executors.port import (
    PROBE_IMAGE,
    Barrier,
    Engine,
    Finding,
    Limit,
    RunEnd,
)
from nunet_node.executors.probing import guests

DISK_BYTES: Final = 1 << 20
MEMORY_BYTES: Final = 48 << 20
LOG_BYTES_MAX: Final = 64 << 10
"""More than any guest of ours has to say, less than a flood."""

FORKS_TRIED: Final = PIDS_MAX + 32
WALL_ATTACK_S: Final = 1
_TOO_MUCH_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One run of one attack: how it ended, and what it wrote."""

    end: RunEnd
    stdout: str
    complaint: str = ""
    """The first line of its errors, or of the sandbox's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What of the host a guest is told to aim at."""

    outside: Path
    port: int


Judge = Callable[[Seen], tuple[Finding, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One guest: its files, its words, and how to read what came of it."""

    argv: tuple[str, ...]
    judge: Judge
    file: tuple[str, bytes] | None = None
    image: str = ""
    wall_s: int = 20


def attacks(
    engine: Engine, around: Surroundings, *, thorough: bool
) -> tuple[Attack, ...]:
    """Return what is tried against ``engine``; a thorough look takes a second more."""
    if engine == "container":
        boxed = attacks("process", around, thorough=thorough)
        return tuple(replace(each, image=PROBE_IMAGE) for each in boxed)
    made = {"process": _process, "python": _python, "wasm": _wasm}[engine](around)
    if not thorough:
        return made
    walls = {
        "process": _shell(guests.PROCESS_WALL, _ended_by("wall", "wall")),
        "python": _script(guests.PYTHON_WALL, _ended_by("wall", "wall")),
        "wasm": _module(guests.WASM_WALL, _ended_by("wall", "wall")),
    }
    return (*made, replace(walls[engine], wall_s=WALL_ATTACK_S))


def _process(around: Surroundings) -> tuple[Attack, ...]:
    aims = (
        str(around.outside),
        str(around.port),
        str(Path("/proc/self/ns/net").readlink()),
        str(Path("/proc/self/ns/pid").readlink()),
    )
    walls: tuple[Barrier, ...] = (
        "network",
        "host files",
        "host processes",
        "privileges",
    )
    forks = guests.PROCESS_FORKS.replace("{tries}", str(FORKS_TRIED))
    return (
        _shell(guests.PROCESS, _unfiltered(_told(walls)), *aims),
        _shell(guests.PROCESS_MEMORY, _ended_by("memory", "memory")),
        _shell(guests.PROCESS_DISK, _ended_by("disk", "disk")),
        _shell(guests.PROCESS_LOG, _ended_by("log", "log")),
        _shell(forks, _forked),
    )


def _python(around: Surroundings) -> tuple[Attack, ...]:
    words = (str(around.outside), str(around.port), str(_TOO_MUCH_BYTES))
    walls: tuple[Barrier, ...] = (
        "network",
        "host files",
        "host processes",
        "memory",
        "disk",
    )
    told = _told(walls)
    return (
        _script(guests.PYTHON, told, *words, str(DISK_BYTES * 8)),
        _script(guests.PYTHON_LOG, _ended_by("log", "log")),
    )


def _wasm(_around: Surroundings) -> tuple[Attack, ...]:
    return (_module(guests.WASM, _digit),)


def _shell(text: str, judge: Judge, *aims: str) -> Attack:
    return Attack(argv=("/bin/sh", "-c", text, "probe", *aims), judge=judge)


def _script(text: str, judge: Judge, *aims: str) -> Attack:
    return Attack(
        argv=("probe.py", *aims), judge=judge, file=("probe.py", text.encode())
    )


def _module(text: bytes, judge: Judge) -> Attack:
    return Attack(argv=("probe.wasm",), judge=judge, file=("probe.wasm", text))


def _told(barriers: tuple[Barrier, ...]) -> Judge:
    """Return a judge of guests that name what held and what did not."""

    def judge(seen: Seen) -> tuple[Finding, ...]:
        lines = seen.stdout.splitlines()
        broken = dict(
            line.removeprefix("broken ").split(": ", 1)
            for line in lines
            if line.startswith("broken ") and ": " in line
        )
        return tuple(
            _finding(
                barrier,
                held=f"held {barrier}" in lines or seen.end.limit == barrier,
                why=broken.get(barrier) or _nothing_shown(seen),
            )
            for barrier in barriers
        )

    return judge


def _unfiltered(judge: Judge) -> Judge:
    """Return a judge that counts what no namespace holds, and only a filter does.

    A shell cannot try it. What this process can, every process of the machine can.
    """

    def strictly(seen: Seen) -> tuple[Finding, ...]:
        found = judge(seen)
        if "seccomp" in seen.end.isolation.split("+") or not _reaches_machines():
            return found
        why = "it reaches the machine below this virtual one: install libseccomp2"
        broken = _finding("network", held=False, why=why)
        return tuple(
            broken if each.barrier == "network" and each.held else each
            for each in found
        )

    return strictly


def _reaches_machines() -> bool:
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except (OSError, AttributeError):
        return False
    return True


def _ended_by(barrier: Barrier, limit: Limit) -> Judge:
    """Return a judge of guests that only a limit can end."""

    def judge(seen: Seen) -> tuple[Finding, ...]:
        return (
            _finding(barrier, held=seen.end.limit == limit, why=_nothing_shown(seen)),
        )

    return judge


def _forked(seen: Seen) -> tuple[Finding, ...]:
    counted = seen.stdout.split()
    began = counted[:1] == ["0"]
    why = f"it started {FORKS_TRIED} processes" if began else _nothing_shown(seen)
    return (_finding("processes", held=began and "all" not in counted, why=why),)


def _digit(seen: Seen) -> tuple[Finding, ...]:
    """Judge the module, which prints one digit and then fills its disk."""
    said = seen.stdout[:1]
    bits = int(said) if said.isdigit() else -1
    why = "it got through" if bits >= 0 else _nothing_shown(seen)
    walls = tuple(
        _finding(barrier, held=not bits >> place & 1, why=why)
        for place, barrier in enumerate(guests.WASM_BARRIERS)
    )
    held = bits >= 0 and (seen.end.exit_code == 0 or seen.end.limit == "disk")
    return (*walls, _finding("disk", held=held, why=why))


def _nothing_shown(seen: Seen) -> str:
    end = seen.end
    return end.reason or f"it ended with exit code {end.exit_code}"


def _finding(barrier: Barrier, *, held: bool, why: str) -> Finding:
    return Finding(barrier=barrier, held=held, detail="" if held else why)
