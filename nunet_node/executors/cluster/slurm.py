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
from dataclasses import dataclass, replace
from typing import Final

import trio

from nunet_node.executors.cluster.port import (
    DETAIL_CHARS_MAX,
    LABEL_CHARS_MAX,
    TICKET_VARIABLE,
    ClusterError,
    ClusterGpus,
    ClusterJob,
    ClusterRefusedError,
    JobState,
    MachineRoom,
)

COMMAND_S: Final = 30
"""Longest wait for a command; a busy controller takes some seconds."""
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MIB: Final = 1 << 20
_SINFO: Final = ("sinfo", "--noheader", "--Node", "--format=%P|%N|%a|%T|%c|%m|%d|%G")
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
_LIMIT: Final = re.compile(
    r"\b(PartitionName|Default|MaxTime|MaxCPUsPerNode|MaxMemPerNode|MaxMemPerCPU)=(\S*)"
)
_TIME: Final = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")
_GRES_PLACE: Final = re.compile(r"\([^)]*\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionLimits:
    """What a partition allows one job on one machine; 0 where it sets no bound."""

    run_s: int = 0
    cpus: int = 0
    memory_bytes: int = 0
    memory_bytes_per_cpu: int = 0

    def applied_to(self, machine: MachineRoom) -> MachineRoom:
        """Return a machine with no more than is allowed there."""
        whole = machine.cpu_millis // 1000
        cpus = min(whole, self.cpus or whole)
        # Who asks for more memory than its processors bring, is given more of them.
        most = self.memory_bytes_per_cpu * cpus or machine.memory_bytes
        return replace(
            machine,
            cpu_millis=cpus * 1000,
            memory_bytes=min(machine.memory_bytes, most),
            job_memory_bytes_max=self.memory_bytes,
            run_s_max=self.run_s,
        )


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
        found = machines_of(await self._said(*_SINFO), self.partition)
        named = [self.partition] if self.partition else []
        said = await self._said("scontrol", "show", "partition", "--oneliner", *named)
        limits = limits_of(said, self.partition)
        return tuple(limits.applied_to(machine) for machine in found)

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
    if job.gpus is not None:
        kind = f":{job.gpus.label}" if job.gpus.label else ""
        words.append(f"--gres=gpu{kind}:{job.gpus.count}")
    return tuple(words)


def script(job: ClusterJob) -> bytes:
    """Return the batch script, which becomes the runner."""
    return f"#!/bin/sh\nexec {shlex.join(job.words)}\n".encode()


def machines_of(said: str, partition: str) -> tuple[MachineRoom, ...]:
    """Read the machines of a partition, or of the default one, from `sinfo`."""
    found = {}
    for line in said.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 8:  # noqa: PLR2004 - the fields that were asked for
            raise ClusterError(f"sinfo said {line[:DETAIL_CHARS_MAX]!r}")
        group, name, available, state, *amounts, gres = fields
        wanted = group.rstrip("*") == partition if partition else group.endswith("*")
        if wanted and available == "up" and _takes_jobs(state):
            cpus, memory_mib, disk_mib = map(_number, amounts)
            found[name] = MachineRoom(
                name=name,
                cpu_millis=cpus * 1000,
                memory_bytes=memory_mib * _MIB,
                disk_bytes=disk_mib * _MIB,
                gpus=gpus_of(gres),
            )
    return tuple(found.values())


def gpus_of(gres: str) -> tuple[ClusterGpus, ...]:
    """Read the GPUs among a machine's generic resources, by their types.

    Shares of one are none, nor are those that jobs do not have to themselves.
    """
    found = []
    for each in _GRES_PLACE.sub("", gres).split(","):
        name, *middle = each.strip().split(":")
        count = middle.pop() if middle else ""
        label = middle[0] if middle else ""
        whole = len(middle) <= 1 and label != "no_consume" and count.isdigit()
        if name == "gpu" and whole and int(count) and len(label) <= LABEL_CHARS_MAX:
            found.append(ClusterGpus(label=label, count=int(count)))
    return tuple(found)


def limits_of(said: str, partition: str) -> PartitionLimits:
    """Read the limits of a partition, or of the default one, from `scontrol`."""
    for line in said.splitlines():
        fields = dict(_LIMIT.findall(line))
        name, default = fields.get("PartitionName", ""), fields.get("Default", "")
        if name == partition if partition else default == "YES":
            return PartitionLimits(
                run_s=_time_s(fields.get("MaxTime", "")),
                cpus=_bound(fields.get("MaxCPUsPerNode", "")),
                memory_bytes=_bound(fields.get("MaxMemPerNode", "")) * _MIB,
                memory_bytes_per_cpu=_bound(fields.get("MaxMemPerCPU", "")) * _MIB,
            )
    return PartitionLimits()


def _bound(text: str) -> int:
    """Return a limit; 0 for none, whatever the word for it."""
    return int(text) if text.isdigit() else 0


def _time_s(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        return 0
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


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
