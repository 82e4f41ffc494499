"""A cluster of processes on this machine: real runners, scheduled by nobody.

What a cluster promises is easy to keep with processes, so that everything else about
running jobs on one can be seen without installing any.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio

from nunet_node.executors.cluster.executors import (
    RUNNER,
    ClusterExecutors,
    ClusterSettings,
)
from nunet_node.executors.cluster.port import (
    TICKET_VARIABLE,
    ClusterError,
    ClusterJob,
    JobState,
    MachineRoom,
)
from nunet_node.executors.sandbox.given import VARIABLE
from tests.executors_kit import cache_folder

ROOT = Path(__file__).parents[4]
PATHS = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
"""Where everything that is imported here is found by whatever interpreter."""
GIB = 1 << 30
MACHINE = MachineRoom(
    name="here", cpu_millis=4000, memory_bytes=4 * GIB, disk_bytes=4 * GIB
)


@dataclass
class Processes:
    """The cluster; ``starts`` False leaves every job waiting for ever."""

    rooms: tuple[MachineRoom, ...] = (MACHINE,)
    starts: bool = True
    never: bool = False
    broken: bool = False
    waits: bool = False
    """Every runner has ended when it was started: for tests under virtual time."""
    jobs: dict[str, ClusterJob] = field(default_factory=dict)
    running: dict[str, subprocess.Popen] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    submitted: trio.Event = field(default_factory=trio.Event)

    async def describe(self):
        return "processes"

    async def machines(self):
        if self.broken:
            raise ClusterError("out of order")
        return self.rooms

    async def submit(self, job):
        self.jobs[job.name] = job
        if self.starts:
            self.start(job.name)
        self.submitted.set()
        return job.name

    def start(self, handle):
        job = self.jobs[handle]
        self.running[handle] = subprocess.Popen(
            job.words,
            env={"PYTHONPATH": PATHS, TICKET_VARIABLE: job.ticket, **_given(job)},
            cwd="/",
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self.waits:
            self.running[handle].wait()

    async def state(self, handle):
        if self.broken:
            raise ClusterError("out of order")
        process = self.running.get(handle)
        if process is None and handle not in self.stopped:
            return JobState(phase="waiting", detail="no room", never=self.never)
        if process is not None and process.poll() is None:
            return JobState(phase="running")
        code = process.returncode if process else "none"
        return JobState(phase="ended", detail=f"exit code {code}")

    async def stop(self, handle):
        self.stopped.append(handle)
        process = self.running.get(handle)
        if process is not None:
            process.terminate()

    async def living(self):
        return {
            name: name
            for name in self.jobs
            if (await self.state(name)).phase != "ended"
        }

    async def close(self):
        pass

    def kill(self):
        """End every runner as a machine ends that loses its power."""
        for process in self.running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def a_cluster(
    cluster: Processes | None = None, **settings: Any
) -> Iterator[ClusterExecutors]:
    """Executors on a cluster; every runner ends with the block."""
    cluster = cluster or Processes()
    with TemporaryDirectory(prefix="nunet-node-test-") as top:
        os.chmod(top, 0o711)
        _with_compiled_python(Path(top) / "runner")
        runner = (*RUNNER, "--scratch", f"{top}/runner")
        chosen = {"host": "127.0.0.1", "runner": runner, "owner": "us", **settings}
        try:
            yield ClusterExecutors(
                cluster, ClusterSettings(**chosen), Path(top) / "scratch"
            )
        finally:
            cluster.kill()


@contextlib.asynccontextmanager
async def some_cluster(
    cluster: Processes | None = None, **settings: Any
) -> AsyncIterator[tuple[ClusterExecutors, Processes]]:
    """Executors that are ready for jobs, and their cluster."""
    cluster = cluster or Processes()
    with a_cluster(cluster, **settings) as executors:
        async with executors.warmed():
            yield executors, cluster


def _given(job: ClusterJob) -> dict[str, str]:
    """Return how a cluster tells which GPUs it gave."""
    count = job.gpus.count if job.gpus else 0
    return {VARIABLE: ",".join(map(str, range(count)))} if count else {}


def _with_compiled_python(runner: Path) -> None:
    """Let a runner find what other tests have compiled, which takes seconds."""
    runner.mkdir(mode=0o711)
    (runner / "cache").mkdir(mode=0o700)
    for compiled in cache_folder().glob("*.cwasm"):
        shutil.copyfile(compiled, runner / "cache" / compiled.name)
