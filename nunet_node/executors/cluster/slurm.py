"""Slurm, by its own commands: a job is one batch script that becomes our runner.

Rule: what Slurm prints is read by fields that are named in the command, and every
command has a deadline. The ticket travels in the environment of `sbatch`, which
other users of the cluster cannot read. Source: sbatch(1), sinfo(1), squeue(1),
scontrol(1) of Slurm 22.05.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import trio

from nunet_node.executors.cluster.port import (
    DETAIL_CHARS_MAX,
    TICKET_VARIABLE,
    ClusterError,
    ClusterJob,
    ClusterRefusedError,
    JobState,
    MachineRoom,
)

COMMAND_S: Final = 30
"""Longest wait for a command; a busy controller takes some seconds."""
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MIB: Final = 1 << 20
_SINFO: Final = ("sinfo", "--noheader", "--Node", "--format=%P|%N|%a|%T|%c|%m|%d")
_USABLE: Final = frozenset(
    {"idle", "mixed", "allocated", "allocated+", "completing", "planned"}
)
"""States of machines that take jobs, now or when others end."""
_SLEEPING: Final = "~#%@"
"""Marks of a machine that is asleep or waking up, which a job may wait for."""
_WAITING: Final = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD"})
_RUNNING: Final = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED"})
_NEVER: Final = frozenset(
    {
        "PartitionTimeLimit",
        "PartitionNodeLimit",
        "BadConstraints",
        "AssocMaxWallDurationPerJobLimit",
        "QOSMaxWallDurationPerJobLimit",
        "InvalidAccount",
        "InvalidQOS",
        "JobHeldAdmin",
        "JobHeldUser",
    }
)
"""Reasons for waiting that only a person could end."""
_REFUSALS: Final = re.compile(
    r"not available|invalid|not permitted|can not be satisfied|violates|exceed",
    re.IGNORECASE,
)
_STATE: Final = re.compile(r"\b(JobState|Reason|ExitCode|NodeList)=(\S*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmCluster:
    """The cluster that the commands of this machine speak to.

    Without a partition jobs go where Slurm sends them; ``account`` is who is charged.
    """

    partition: str = ""
    account: str = ""

    async def describe(self) -> str:
        """Return version and partition."""
        version = (await self._said("sinfo", "--version")).strip()
        where = f"partition {self.partition}" if self.partition else "its own choice"
        return f"Slurm ({version[:DETAIL_CHARS_MAX]}), {where}"

    async def machines(self) -> tuple[MachineRoom, ...]:
        """Return the machines of the partition that take jobs now."""
        return machines_of(await self._said(*_SINFO), self.partition)

    async def submit(self, job: ClusterJob) -> str:
        """Hand over the batch script.

        Raises:
            ClusterError: Slurm did not take it.
            ClusterRefusedError: it never will.
        """
        words = submission(
            job,
            partition=self.partition,
            account=self.account,
            tells_disk=any(each.disk_bytes for each in await self.machines()),
        )
        try:
            said = await self._said(*words, given=script(job), ticket=job.ticket)
        except ClusterError as error:
            if _REFUSALS.search(str(error)):
                raise ClusterRefusedError(str(error)) from None
            raise
        handle = said.strip().partition(";")[0]
        if not handle.isdigit():
            raise ClusterError(f"sbatch named no job: {said[:DETAIL_CHARS_MAX]}")
        return handle

    async def state(self, handle: str) -> JobState:
        """Return where a job is."""
        try:
            said = await self._said("scontrol", "show", "job", "--oneliner", handle)
        except ClusterError as error:
            if "Invalid job id" in str(error):
                return JobState(phase="ended", detail="Slurm no longer knows it")
            raise
        return state_of(said)

    async def stop(self, handle: str) -> None:
        """Begin to end a job."""
        try:
            await self._said("scancel", handle)
        except ClusterError as error:
            if "Invalid job id" not in str(error):
                raise

    async def living(self) -> Mapping[str, str]:
        """Return our user's jobs that have not ended."""
        said = await self._said("squeue", "--noheader", "--me", "--format=%i|%j")
        pairs = (line.strip().partition("|") for line in said.splitlines())
        return {handle: name for handle, _, name in pairs if handle}

    async def close(self) -> None:
        """Do nothing: no connection stays open between commands."""

    async def _said(self, *words: str, given: bytes = b"", ticket: str = "") -> str:
        program = shutil.which(words[0])
        if program is None:
            raise ClusterError(f"no command {words[0]} here: install Slurm's client")
        with trio.move_on_after(COMMAND_S):
            ended = await trio.run_process(
                [program, *words[1:]],
                stdin=given,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=_environment(ticket),
            )
            return _checked(words[0], ended)
        raise ClusterError(f"{words[0]} took longer than {COMMAND_S} s")


def submission(
    job: ClusterJob, *, partition: str, account: str, tells_disk: bool
) -> tuple[str, ...]:
    """Return the words that submit a job, whose script is its standard input.

    A machine whose disk Slurm does not know counts as one without, so that disk is
    asked for only where it is told.
    """
    words = [
        *("sbatch", "--parsable", f"--job-name={job.name}", "--no-requeue"),
        *("--nodes=1", "--ntasks=1", f"--cpus-per-task={-(-job.cpu_millis // 1000)}"),
        *(f"--mem={-(-job.memory_bytes // _MIB)}M", f"--time={-(-job.wall_s // 60)}"),
        *("--chdir=/", "--output=/dev/null", "--error=/dev/null"),
        f"--export=PATH,{TICKET_VARIABLE}",
    ]
    words += [f"--tmp={-(-job.disk_bytes // _MIB)}M"] if tells_disk else []
    words += [f"--partition={partition}"] if partition else []
    words += [f"--account={account}"] if account else []
    return tuple(words)


def script(job: ClusterJob) -> bytes:
    """Return the batch script, which becomes the runner."""
    return f"#!/bin/sh\nexec {shlex.join(job.words)}\n".encode()


def machines_of(said: str, partition: str) -> tuple[MachineRoom, ...]:
    """Read the machines of a partition, or of the default one, from `sinfo`."""
    found = {}
    for line in said.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 7:  # noqa: PLR2004 - the fields that were asked for
            raise ClusterError(f"sinfo said {line[:DETAIL_CHARS_MAX]!r}")
        group, name, available, state, *amounts = fields
        wanted = group.rstrip("*") == partition if partition else group.endswith("*")
        if wanted and available == "up" and _takes_jobs(state):
            cpus, memory_mib, disk_mib = map(_number, amounts)
            found[name] = MachineRoom(
                name=name,
                cpu_millis=cpus * 1000,
                memory_bytes=memory_mib * _MIB,
                disk_bytes=disk_mib * _MIB,
            )
    return tuple(found.values())


def state_of(said: str) -> JobState:
    """Read where a job is from `scontrol show job`."""
    fields = dict(_STATE.findall(said))
    state, reason = fields.get("JobState", ""), fields.get("Reason", "")
    where = fields.get("NodeList", "")
    if state in _WAITING:
        never = reason.partition(":")[0] in _NEVER
        return JobState(phase="waiting", detail=reason, never=never)
    if state in _RUNNING:
        return JobState(phase="running", detail=where)
    if not state:
        raise ClusterError(f"scontrol said {said[:DETAIL_CHARS_MAX]!r}")
    parts = [state, f"exit code {fields.get('ExitCode', '')}"]
    parts += [reason] if reason not in {"", "None"} else []
    parts += [f"on {where}"] if where not in {"", "(null)"} else []
    return JobState(phase="ended", detail=", ".join(parts)[:DETAIL_CHARS_MAX])


def _takes_jobs(state: str) -> bool:
    return state.rstrip(_SLEEPING) in _USABLE


def _number(text: str) -> int:
    digits = text.rstrip("+")
    if not digits.isdigit():
        raise ClusterError(f"sinfo said {text[:DETAIL_CHARS_MAX]!r} for a number")
    return int(digits)


def _environment(ticket: str) -> dict[str, str]:
    """Return what the commands see; variables such as SBATCH_* change what they do."""
    kept = ("HOME", "USER", "LOGNAME", "SLURM_CONF")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env |= {"PATH": _PATH, "LC_ALL": "C"}
    return {**env, TICKET_VARIABLE: ticket} if ticket else env


def _checked(program: str, ended: subprocess.CompletedProcess[bytes]) -> str:
    if ended.returncode == 0:
        return bytes(ended.stdout).decode(errors="replace")
    said = bytes(ended.stderr).decode(errors="replace").strip()
    last = " ".join(said.splitlines()[-2:])[-DETAIL_CHARS_MAX:]
    raise ClusterError(last or f"{program} ended with {ended.returncode}")
