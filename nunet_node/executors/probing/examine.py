"""Examining one engine: run its guests, and say whether it may be offered.

Rule: whatever breaks an engine is an answer, never an error of the node. An engine
is ready only if every barrier held under attack.
"""

import contextlib
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol, get_args

import trio

from nunet_node.executors.jobdir import JobDir, ScratchError
from nunet_node.executors.port import (
    Barrier,
    Capability,
    Engine,
    Finding,
    RunEnd,
    RunOrder,
)
from nunet_node.executors.probing.attacks import (
    DISK_BYTES,
    LOG_BYTES_MAX,
    MEMORY_BYTES,
    Attack,
    Seen,
    Surroundings,
    attacks,
)

ATTACK_S: Final = 40
"""Longest attack with all that surrounds it; a loaded machine may take seconds."""
SAID_BYTES_MAX: Final = 4096
"""Most that is read of what a guest said."""
_NAMESPACES: Final = (
    "install bubblewrap 0.8 or newer, and allow unprivileged user namespaces "
    "(sysctl kernel.unprivileged_userns_clone=1, and where AppArmor restricts them "
    "kernel.apparmor_restrict_unprivileged_userns=0)"
)
CONTROL_GROUPS: Final = (
    "let this user write control groups, such as by "
    "`systemd-run --user --scope -p Delegate=yes nunet-node up`"
)
"""What gives a node the means to hold memory, processes and shares of processors."""
REMEDIES: Final[dict[Engine, str]] = {
    "wasm": "check that the package wasmtime is installed and its version fits",
    "python": "start `nunet-node up` once: it compiles CPython, in some seconds",
    "process": _NAMESPACES,
    "container": "install podman or docker, start its API socket, and let this user "
    "write it; DOCKER_HOST=unix://PATH names another than the usual one",
}
"""What to do when an engine does not work at all."""
_PLACE: Final = (
    "let the node write where it keeps its jobs, with some disk free; as root it needs "
    "user ids for them, as an ordinary user none"
)
_BARRIER_REMEDIES: Final[dict[Barrier, str]] = {
    "network": _NAMESPACES,
    "host files": _NAMESPACES,
    "host processes": _NAMESPACES,
    "privileges": "do not run the node as root, and install bubblewrap 0.8 or newer",
    "memory": CONTROL_GROUPS,
    "processes": CONTROL_GROUPS,
}
_OTHERWISE: Final = "free the machine of other load and look again; else report it"


class Runner(Protocol):
    """What runs the guests: the executors that are examined."""

    async def open_job(self, job_id: str, attempt: int) -> JobDir:
        """Make the directory of a run."""
        ...

    async def run(self, order: RunOrder, job_dir: JobDir) -> RunEnd:
        """Run an order to its end."""
        ...

    async def remove(self, job_dir: JobDir) -> None:
        """Delete the directory."""
        ...


async def examine(runner: Runner, engine: Engine, *, thorough: bool) -> Capability:
    """Attack one engine from inside; raises nothing."""
    if not hasattr(os, "pidfd_open"):
        return unready(engine, "jobs run on Linux 5.3 or newer only")
    try:
        return await _examined(runner, engine, thorough=thorough)
    except (ScratchError, OSError) as error:
        return replace(unready(engine, str(error)), remedy=_PLACE)
    except Exception as error:  # noqa: BLE001 - whatever breaks an engine, the node goes on
        return unready(engine, str(error) or type(error).__name__)


async def _examined(runner: Runner, engine: Engine, *, thorough: bool) -> Capability:
    findings: dict[Barrier, Finding] = {}
    async with _aims(runner) as around:
        first, *others = attacks(engine, around, thorough=thorough)
        seen = await _made(runner, engine, first)
        if not seen.stdout:
            return unready(engine, _why_silent(seen))

        async def one(attack: Attack) -> None:
            _note(findings, attack.judge(await _made(runner, engine, attack)))

        _note(findings, first.judge(seen))
        async with trio.open_nursery() as nursery:
            for attack in others:
                nursery.start_soon(one, attack)
    return judged(
        engine,
        seen.end.isolation,
        tuple(findings[each] for each in get_args(Barrier) if each in findings),
    )


def _why_silent(seen: Seen) -> str:
    """Say why a guest said nothing, in the sandbox's own words where it has some."""
    why = seen.end.reason or "the guest said nothing"
    return f"{why}: {seen.complaint}" if seen.complaint else why


@contextlib.asynccontextmanager
async def _aims(runner: Runner) -> AsyncIterator[Surroundings]:
    """Set up what guests aim at: the log of another job, and a port of the host."""
    victim = await runner.open_job("probe", 1)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            yield Surroundings(outside=victim.stdout_path, port=port)
    finally:
        await runner.remove(victim)


async def _made(runner: Runner, engine: Engine, attack: Attack) -> Seen:
    job_dir = await runner.open_job("probe", 1)
    try:
        if attack.file is not None:
            job_dir.add_file(*attack.file)
        with trio.fail_after(ATTACK_S):
            end = await runner.run(_order(engine, attack), job_dir)
        text, errors = map(_said, (job_dir.stdout_path, job_dir.stderr_path))
        return Seen(end=end, stdout=text, complaint=errors.partition("\n")[0])
    finally:
        await runner.remove(job_dir)


def _said(path: Path) -> str:
    with path.open("rb") as said:
        return said.read(SAID_BYTES_MAX).decode(errors="replace")


def _note(findings: dict[Barrier, Finding], found: tuple[Finding, ...]) -> None:
    findings.update({finding.barrier: finding for finding in found})


def _order(engine: Engine, attack: Attack) -> RunOrder:
    return RunOrder(
        job="probe",
        engine=engine,
        argv=attack.argv,
        image=attack.image,
        cpu_millis=1000,
        memory_bytes=MEMORY_BYTES,
        disk_bytes=DISK_BYTES,
        wall_s=attack.wall_s,
        output_bytes_max=0,
        log_bytes_max=LOG_BYTES_MAX,
        files_max=16,
    )


def judged(engine: Engine, isolation: str, findings: tuple[Finding, ...]) -> Capability:
    """Return what the findings mean: one barrier broken, and nothing is offered."""
    broken = [finding for finding in findings if not finding.held]
    if not broken:
        return Capability(
            engine=engine,
            isolation=isolation,
            ready=True,
            detail="it ran, and nothing got out",
            findings=findings,
        )
    shown = ", ".join(f"{each.barrier} ({each.detail})" for each in broken)
    return Capability(
        engine=engine,
        isolation="none",
        ready=False,
        detail=f"did not hold: {shown}",
        remedy=_BARRIER_REMEDIES.get(broken[0].barrier, _OTHERWISE),
        findings=findings,
    )


def unready(engine: Engine, detail: str) -> Capability:
    """Return that an engine does not work at all."""
    remedy = REMEDIES[engine]
    return Capability(
        engine=engine, isolation="none", ready=False, detail=detail, remedy=remedy
    )
