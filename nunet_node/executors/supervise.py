"""Start one child, watch its promises, and leave nothing of it alive.

Rule: a run returns, or is cancelled, only after every process of its tree is gone.
The child is forked on the trio thread, never in a worker thread: the kernel delivers
the parent-death signal when the forking *thread* ends. A bubblewrap tree is gone
when the first process of its pid namespace is, since the kernel ends that one last.
Source: pidfd_open(2), pid_namespaces(7), prctl(2).
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import trio

import nunet_node
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.port import Limit, Usage
from nunet_node.executors.sandbox import meter
from nunet_node.executors.sandbox.cgroups import ControlGroup

POLL_MIN_S: Final = 0.05
"""Shortest pause between measurements; what a job can exceed its disk by in between
is this times the disk's speed."""
POLL_UNGROUPED_MIN_S: Final = 0.02
"""The same where memory is measured too, because no control group holds it."""
POLL_COST_FACTOR: Final = 10
"""A measurement may take one tenth of one processor, so big trees are polled less."""
STATUS_BYTES_MAX: Final = 16 * 1024
"""Most the child may say about itself; it says a few short lines."""
SETTLE_S: Final = 5
"""Longest wait for the kernel to take down a killed tree before giving up on it."""

_PR_SET_CHILD_SUBREAPER: Final = 36
_STARTED_KEYS: Final = frozenset({"started", "child-pid"})
"""What the WebAssembly runner and bubblewrap say when the guest is about to run."""

OnLog = Callable[[str, bytes], None]
OnStarted = Callable[[], None]

_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv.pop(1).split('\\n');"
    "from nunet_node.executors.inside.main import main; main()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the supervisor itself enforces on one run."""

    wall_s: int
    memory_bytes: int
    disk_bytes: int
    log_bytes_max: int
    files_max: int


@dataclass(slots=True, kw_only=True)
class Watched:
    """Everything known about one run while it goes on."""

    bounds: Bounds
    job_dir: JobDir
    group: ControlGroup | None
    process: subprocess.Popen[bytes]
    handle: int
    status_reader: int
    device: int
    limit: Limit | None = None
    log_bytes: int = 0
    truncated: set[str] = field(default_factory=set)
    init_handle: int | None = None
    init_is_ours: bool = False
    records: dict[str, Any] = field(default_factory=dict)
    memory_peak_bytes: int = 0
    cpu_ms: int = 0
    started: bool = False
    ended: bool = False

    def stop(self, limit: Limit) -> None:
        """Kill the tree because of ``limit``; the first limit is the one reported."""
        if self.limit is None:
            self.limit = limit
        self.kill()

    def kill(self) -> None:
        """Kill the child and, where it has one, the first process of its namespace."""
        ours = self.init_handle if self.init_is_ours else None
        for handle in (ours, self.handle):
            if handle is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)

    def usage(self, wall_s: float) -> Usage:
        """Return what was used, from the best witness there is."""
        peak, cpu_ms = self.memory_peak_bytes, self.cpu_ms
        if self.group is not None:
            peak = max(peak, self.group.memory_peak_bytes())
            cpu_ms = max(cpu_ms, self.group.cpu_ms())
        return Usage(
            cpu_ms=cpu_ms,
            wall_ms=int(wall_s * 1000),
            memory_peak_bytes=max(peak, self.records.get("peak_kib", 0) * 1024),
            fuel=self.records.get("fuel", 0),
        )


async def supervise(  # noqa: PLR0913 - each is a different party to the run
    request: dict[str, Any],
    *,
    bounds: Bounds,
    job_dir: JobDir,
    group: ControlGroup | None,
    inherit: tuple[int, ...] = (),
    on_started: OnStarted | None = None,
    on_log: OnLog | None = None,
) -> tuple[Watched, int, float]:
    """Run one child to its end.

    Returns:
        What was seen, the child's exit status as `subprocess` has it, and how long
        it ran in seconds.

    Raises:
        OSError: the child could not even be forked.
    """
    began = trio.current_time()
    with contextlib.ExitStack() as stack:
        out, err, watched = _spawn(stack, request, bounds, job_dir, group, inherit)
        returncode = -signal.SIGKILL
        try:
            async with trio.open_nursery() as watching:
                watching.start_soon(_measure, watched)
                watching.start_soon(_expire, watched)
                async with trio.open_nursery() as reading:
                    reading.start_soon(_pump, watched, out, "stdout", on_log)
                    reading.start_soon(_pump, watched, err, "stderr", on_log)
                    reading.start_soon(_listen, watched, on_started)
                    await trio.lowlevel.wait_readable(watched.handle)
                    watched.ended = True
                    # What the job left running holds its pipes: end it, and they end.
                    watched.kill()
                    reading.cancel_scope.deadline = trio.current_time() + SETTLE_S
                watching.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                returncode = await _bury(watched)
        await _measure_once(watched)
        return watched, returncode, trio.current_time() - began


def _spawn(
    stack: contextlib.ExitStack,
    request: dict[str, Any],
    bounds: Bounds,
    job_dir: JobDir,
    group: ControlGroup | None,
    inherit: tuple[int, ...],
) -> tuple[int, int, Watched]:
    """Fork the child here and now; the stack closes what only the child needs."""
    _adopt_orphans()
    out, err, status = os.pipe(), os.pipe(), os.pipe()
    whole = {
        "parent": os.getpid(),
        "uid": job_dir.uid,
        "status_fd": status[1],
        "cgroup_procs": [] if group is None else group.procs_files,
        **request,
    }
    order = _sealed(json.dumps(whole).encode())
    passed = (order, status[1], *inherit)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own child program
            [sys.executable, "-I", "-S", "-c", _BOOT, _import_path(), str(order)],
            stdin=subprocess.DEVNULL,
            stdout=out[1],
            stderr=err[1],
            pass_fds=passed,
            env={},
            cwd="/",
        )
    finally:
        for descriptor in (out[1], err[1], status[1], order):
            os.close(descriptor)
    handle = os.pidfd_open(process.pid)
    watched = Watched(
        bounds=bounds,
        job_dir=job_dir,
        group=group,
        process=process,
        handle=handle,
        status_reader=status[0],
        device=job_dir.path.stat().st_dev,
    )
    stack.callback(_close_handles, watched)
    return out[0], err[0], watched


@cache
def _adopt_orphans() -> None:
    """Become the parent of a box's first process when bubblewrap ends before it.

    Otherwise it waits, dead and counted against its user's processes, for an init
    that in many containers never reaps.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _sealed(content: bytes) -> int:
    descriptor = os.memfd_create("request")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


@cache
def _import_path() -> str:
    """The parent's import path, handed over so that the child searches nothing."""
    home = str(Path(nunet_node.__file__).parent.parent)
    return "\n".join([home, *(entry for entry in sys.path if entry)])


async def _pump(watched: Watched, reader: int, name: str, on_log: OnLog | None) -> None:
    path = watched.job_dir.root / name
    with path.open("ab", buffering=0) as target:
        async with trio.lowlevel.FdStream(reader) as stream:
            async for chunk in stream:
                room = watched.bounds.log_bytes_max - watched.log_bytes
                kept = bytes(chunk[:room])
                watched.log_bytes += len(kept)
                target.write(kept)
                if on_log is not None and kept:
                    on_log(name, kept)
                if len(kept) < len(chunk):
                    watched.truncated.add(name)
                    watched.stop("log")
                    return


async def _listen(watched: Watched, on_started: OnStarted | None) -> None:
    """Take in what the child says about itself, a JSON line at a time."""
    pending, total = b"", 0
    async with trio.lowlevel.FdStream(watched.status_reader) as stream:
        async for chunk in stream:
            total += len(chunk)
            if total > STATUS_BYTES_MAX:
                return
            *lines, pending = (pending + bytes(chunk)).split(b"\n")
            for line in lines:
                _take_record(watched, line)
            if not watched.started and watched.records.keys() & _STARTED_KEYS:
                watched.started = True
                if on_started is not None:
                    on_started()


def _take_record(watched: Watched, line: bytes) -> None:
    with contextlib.suppress(ValueError):
        record = json.loads(line)
        if isinstance(record, dict):
            watched.records.update(record)
            child = record.get("child-pid")
            if isinstance(child, int) and watched.init_handle is None:
                _watch_namespace(watched, child)


def _watch_namespace(watched: Watched, first_pid: int) -> None:
    """Hold on to the first process of the job's pid namespace."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(first_pid)
        watched.init_handle = handle
        # A number read from a pipe may have been given to another process since;
        # only a child of our child is ours to kill. Otherwise we merely wait for it.
        watched.init_is_ours = meter.parent_of(first_pid) == watched.process.pid


async def _expire(watched: Watched) -> None:
    await trio.sleep(watched.bounds.wall_s)
    watched.stop("wall")


async def _measure(watched: Watched) -> None:
    pause_s = POLL_MIN_S if watched.group is not None else POLL_UNGROUPED_MIN_S
    while True:
        began = trio.current_time()
        await _measure_once(watched)
        cost_s = trio.current_time() - began
        await trio.sleep(max(pause_s, cost_s * POLL_COST_FACTOR))


async def _measure_once(watched: Watched) -> None:
    """Look once at the tree and the directory, and stop the job if it has too much."""
    tree, disk = await trio.to_thread.run_sync(_look, watched)
    watched.memory_peak_bytes = max(watched.memory_peak_bytes, tree.memory_bytes)
    watched.cpu_ms = max(watched.cpu_ms, tree.cpu_ms)
    bounds = watched.bounds
    too_big = disk.size_bytes + tree.unlinked_bytes > bounds.disk_bytes
    if too_big or disk.entries > bounds.files_max:
        watched.stop("disk")
    if watched.group is not None:
        # The kernel has killed one process; half a job is no use to anyone.
        too_much_memory = watched.group.oom_kills() > 0
    else:
        too_much_memory = tree.memory_bytes > bounds.memory_bytes
    if too_much_memory and not watched.ended:
        watched.stop("memory")


def _look(watched: Watched) -> tuple[meter.TreeUse, meter.DiskUse]:
    folders = (watched.job_dir.path, watched.job_dir.tmp_path)
    return (
        meter.tree_use(watched.process.pid, watched.device),
        meter.disk_use(folders, watched.bounds.files_max),
    )


async def _bury(watched: Watched) -> int:
    """Kill whatever is left, reap the child, and see that the tree is gone."""
    watched.kill()
    await trio.lowlevel.wait_readable(watched.handle)
    # It has ended, so this does not wait; it alone tells what its children spent.
    _, status, spent = os.wait4(watched.process.pid, 0)  # noqa: ASYNC222
    watched.process.returncode = os.waitstatus_to_exitcode(status)
    reaped_ms = int((spent.ru_utime + spent.ru_stime) * 1000)
    watched.cpu_ms = max(watched.cpu_ms, reaped_ms)
    with trio.move_on_after(SETTLE_S):
        if watched.init_handle is not None:
            await trio.lowlevel.wait_readable(watched.init_handle)
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, watched.init_handle, os.WEXITED)  # noqa: ASYNC222
        while watched.group is not None and watched.group.pids():
            for pid in watched.group.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await trio.sleep(POLL_MIN_S / 10)
    return watched.process.returncode


def _close_handles(watched: Watched) -> None:
    os.close(watched.handle)
    if watched.init_handle is not None:
        os.close(watched.init_handle)
