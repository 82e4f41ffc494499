"""Running jobs on a cluster: the executors of a provider whose machines are elsewhere.

Rule: a job of this node is one job of the cluster, whose command is our runner, and
everything that keeps a job in on one machine keeps it in there. The directory of an
attempt is here: inputs are sent from it, logs and outputs come back into it, so that
nobody else has to know where a job ran.
"""

import contextlib
import hashlib
import logging
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import trio

from nunet_node.errors import MisuseError, PeerError
from nunet_node.executors import collect as collecting
from nunet_node.executors import jobdir
from nunet_node.executors.cluster.capacity import (
    RUNNER_BYTES,
    WALL_SLACK_S,
    ClusterRoom,
    GpuKinds,
    longest_run_s,
    room_of,
)
from nunet_node.executors.cluster.link import Examine, Examined, Left, Link, Unable
from nunet_node.executors.cluster.port import (
    Cluster,
    ClusterError,
    ClusterGpus,
    ClusterJob,
    ClusterRefusedError,
    MachineRoom,
)
from nunet_node.executors.cluster.rendezvous import (
    Meeting,
    Rendezvous,
    open_rendezvous,
)
from nunet_node.executors.cluster.visit import LostError, Visit, runner_came
from nunet_node.executors.collect import Collected, OutputsRefused
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.local import own_scratch
from nunet_node.executors.port import (
    ENGINES,
    NO_SECRETS,
    Capability,
    RunEnd,
    RunOrder,
)
from nunet_node.executors.supervise import OnLog, OnStarted

RUNNER: Final = (sys.executable, "-P", "-m", "nunet_node.executors.cluster.runner")
"""The command of a runner where every machine has this environment."""

EXAMINE_S: Final = 300
"""Longest examination of a machine: compiling CPython included."""
LEFTOVER_RETRY_S: Final = 20
_PREFIX: Final = "nunet"
_EXAMINATION: Final = RunOrder(
    job="examination",
    engine="process",
    argv=("true",),
    cpu_millis=1000,
    memory_bytes=256 << 20,
    disk_bytes=64 << 20,
    wall_s=EXAMINE_S,
    output_bytes_max=0,
    log_bytes_max=0,
)

_LACKING: Final = ClusterGpus(label="", count=0)

_log = logging.getLogger("nunet_node.executors.cluster")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """How a node uses its cluster.

    ``host`` and ``port`` are where runners dial it. ``owner`` sets its jobs apart from
    those of other nodes.
    """

    host: str
    port: int = 0
    runner: tuple[str, ...] = RUNNER
    pending_s: int = 900
    """How long a job may wait for a machine before it is lost."""
    poll_s: int = 15
    """How often the cluster is asked what it has."""
    owner: str = ""
    kinds: GpuKinds = field(default_factory=GpuKinds)
    """What its graphics processors are."""


class ClusterExecutors:
    """The engines of one node on a cluster; its methods may run concurrently."""

    def __init__(
        self, cluster: Cluster, settings: ClusterSettings, scratch: Path
    ) -> None:
        """Use ``scratch`` for the directories of jobs on this machine.

        Raises:
            ScratchError: somebody else owns it, or could write there.
        """
        self._cluster = cluster
        self.settings = settings
        self._scratch = own_scratch(scratch)
        digest = hashlib.sha256(settings.owner.encode()).hexdigest()[:12]
        self._owner = f"{_PREFIX}-{digest}"
        # The name of this process sets its jobs apart from those it finds.
        self._prefix = f"{self._owner}-{secrets.token_hex(4)}"
        self._count = 0
        self._rendezvous: Rendezvous | None = None
        self._examined: Examined | None = None
        self._left: dict[JobDir, Left] = {}

    def sweep(self) -> int:
        """Remove what a killed node left here; its jobs end with `warmed`."""
        return jobdir.sweep(self._scratch)

    async def describe(self) -> str:
        """Return which cluster it is, for people.

        Raises:
            ClusterError: it does not answer.
        """
        return await self._cluster.describe()

    async def machines(self) -> tuple[MachineRoom, ...]:
        """Return the machines that take jobs now.

        Raises:
            ClusterError: the cluster does not answer.
        """
        return await self._cluster.machines()

    async def room(self) -> ClusterRoom:
        """Return what the cluster has now.

        Raises:
            ClusterError: it does not answer.
        """
        disk_bytes = self._examined.disk_bytes if self._examined else 0
        machines = await self._cluster.machines()
        return room_of(machines, disk_bytes, self.settings.kinds)

    @property
    def architecture(self) -> str:
        """What the examined machine is; empty before."""
        return self._examined.architecture if self._examined else ""

    async def probe(self, *, thorough: bool = False) -> tuple[Capability, ...]:
        """Return what held on a machine of the cluster when it was examined.

        Without ``thorough``, before `prepare`, every engine waits for it.

        Raises:
            ClusterError: a ``thorough`` examination could not be made.
        """
        if thorough:
            self._examined = await self._examination(thorough=True)
        if self._examined is not None:
            return self._examined.capabilities
        return tuple(
            Capability(
                engine=engine,
                isolation="none",
                ready=False,
                detail="no machine of the cluster was examined yet",
                waits=engine != "container",
            )
            for engine in ENGINES
        )

    async def prepare(self) -> None:
        """Have a machine of the cluster examine itself; takes seconds.

        Raises:
            ClusterError: the cluster does not answer, or has no room.
            LostError: no runner came, or it went away.
        """
        self._examined = await self._examination(thorough=False)

    @contextlib.asynccontextmanager
    async def warmed(self) -> AsyncIterator[None]:
        """Meet runners within this context; nothing runs outside of it.

        Raises:
            ClusterError: nobody can be met where the settings say.
        """
        host, port = self.settings.host, self.settings.port
        try:
            async with open_rendezvous(host, port) as rendezvous:
                self._rendezvous = rendezvous
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._end_leftovers)
                    yield
                    nursery.cancel_scope.cancel()
        finally:
            self._rendezvous = None
            with trio.CancelScope(shield=True):
                await self._cluster.close()

    async def open_job(self, job_id: str, attempt: int) -> JobDir:
        """Make the directory of one attempt; give it to `remove` in the end.

        Raises:
            ScratchError: no place or no user id for it.
            OSError: the disk is full.
        """
        if not job_id or attempt < 1:
            raise MisuseError("a job directory needs a job and an attempt from 1")
        return await trio.to_thread.run_sync(jobdir.open_job_dir, self._scratch)

    async def run(
        self,
        order: RunOrder,
        job_dir: JobDir,
        on_started: OnStarted | None = None,
        on_log: OnLog | None = None,
    ) -> RunEnd:
        """Run one order to its end, somewhere in the cluster.

        Cancelling returns when nothing of it is alive that could be reached; a machine
        that cannot be reached ends it by itself.
        """
        if not order.argv:
            raise MisuseError("an order needs a command")
        if order.secrets:
            return RunEnd(exit_code=None, reason=NO_SECRETS)
        async with self._expecting() as meeting:
            try:
                handle = await self._submitted(order, meeting)
            except ClusterRefusedError as error:
                return RunEnd(exit_code=None, reason=f"not started: {error}")
            except ClusterError as error:
                return RunEnd(exit_code=None, limit="lost", reason=str(error))
            visit = Visit(
                cluster=self._cluster,
                handle=handle,
                meeting=meeting,
                order=order,
                job_dir=job_dir,
                pending_s=self.settings.pending_s,
                on_started=on_started,
                on_log=on_log,
            )
            end = await visit.run()
            if visit.left is not None:
                self._left[job_dir] = visit.left
            return end

    async def collect(
        self, job_dir: JobDir, globs: tuple[str, ...], *, bytes_max: int, files_max: int
    ) -> Collected | OutputsRefused:
        """Find the outputs that came back; see `collect_outputs`."""
        left = self._left.get(job_dir, Left())
        if left.refused is not None:
            return left.refused
        found = await trio.to_thread.run_sync(
            lambda: collecting.collect_outputs(
                job_dir, globs, bytes_max=bytes_max, files_max=files_max
            )
        )
        if isinstance(found, OutputsRefused):
            return found
        return Collected(
            files=found.files, skipped=left.skipped, skipped_more=left.skipped_more
        )

    async def remove(self, job_dir: JobDir) -> None:
        """Delete a job's directory and free its user id."""
        self._left.pop(job_dir, None)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(jobdir.remove_job_dir, job_dir)

    def _expecting(self) -> contextlib.AbstractAsyncContextManager[Meeting]:
        if self._rendezvous is None:
            raise MisuseError("nothing runs on a cluster outside of `warmed`")
        return self._rendezvous.expecting()

    async def _submitted(self, order: RunOrder, meeting: Meeting) -> str:
        """Hand the order to the cluster, unless no machine could ever hold it.

        Not cancelled: a job whose handle nobody knows could not be stopped.
        """
        self._count += 1
        job = ClusterJob(
            name=f"{self._prefix}-{self._count}",
            words=self.settings.runner,
            ticket=meeting.ticket,
            cpu_millis=order.cpu_millis,
            memory_bytes=order.memory_bytes + RUNNER_BYTES,
            disk_bytes=order.disk_bytes,
            wall_s=order.wall_s + WALL_SLACK_S,
        )
        with trio.CancelScope(shield=True):
            machines = await self._cluster.machines()
            return await self._cluster.submit(self._fitted(job, order, machines))

    def _fitted(
        self, job: ClusterJob, order: RunOrder, machines: tuple[MachineRoom, ...]
    ) -> ClusterJob:
        """Return a job as the first machine that could hold it lets it be.

        Raises:
            ClusterRefusedError: none could.
        """
        for machine in machines:
            longest_s = longest_run_s([machine])
            gpus = self._gpus_on(machine, order)
            in_time = not longest_s or order.wall_s <= longest_s
            if in_time and gpus is not _LACKING and _could_hold(machine, job):
                # Some of the slack is given up before a job that could end in time is.
                wall_s = min(job.wall_s, machine.run_s_max or job.wall_s)
                return replace(job, wall_s=wall_s, gpus=gpus)
        raise ClusterRefusedError("no machine of the cluster could hold it")

    def _gpus_on(self, machine: MachineRoom, order: RunOrder) -> ClusterGpus | None:
        """Return what to ask for; `_LACKING` if a machine has not got it."""
        if not order.gpus:
            return None
        if len(order.gpus) > 1:
            # Which of those that a cluster gave is of which kind, it does not say.
            return _LACKING
        return self.settings.kinds.found_on(machine, order.gpus[0]) or _LACKING

    async def _examination(self, *, thorough: bool) -> Examined:
        async with self._expecting() as meeting:
            longest_s = longest_run_s(await self._cluster.machines()) or EXAMINE_S
            order = replace(_EXAMINATION, wall_s=min(EXAMINE_S, longest_s))
            handle = await self._submitted(order, meeting)
            waits_s = self.settings.pending_s
            try:
                link = await runner_came(self._cluster, handle, meeting, waits_s)
                with trio.fail_after(EXAMINE_S):
                    return await _examined(link, thorough=thorough)
            except trio.TooSlowError:
                state = await self._cluster.state(handle)
                raise LostError(
                    f"no machine could be examined: {state.detail}"
                ) from None
            finally:
                with trio.CancelScope(shield=True), contextlib.suppress(ClusterError):
                    await self._cluster.stop(handle)

    async def _end_leftovers(self) -> None:
        """End what an earlier process of this node left in the cluster."""
        while True:
            try:
                living = await self._cluster.living()
                for handle, name in living.items():
                    ours = name.startswith(f"{self._owner}-")
                    if ours and not name.startswith(f"{self._prefix}-"):
                        _log.info("job %s of an earlier process is ended", handle)
                        await self._cluster.stop(handle)
            except PeerError as error:
                _log.info("what was left in the cluster is not known: %s", error)
                await trio.sleep(LEFTOVER_RETRY_S)
            else:
                return


def _could_hold(machine: MachineRoom, job: ClusterJob) -> bool:
    return (
        job.cpu_millis <= machine.cpu_millis
        and job.memory_bytes <= machine.for_one.memory_bytes
        and (not machine.disk_bytes or job.disk_bytes <= machine.disk_bytes)
    )


async def _examined(link: Link, *, thorough: bool) -> Examined:
    async with link.beating():
        await link.send(Examine(thorough=thorough))
        word = await link.receive()
    if isinstance(word, Unable):
        raise LostError(f"{link.machine} could not be examined: {word.reason}")
    if not isinstance(word, Examined):
        raise LostError(f"{link.machine} answered {type(word).__name__}")
    return word
