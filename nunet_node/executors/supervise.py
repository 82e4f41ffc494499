"""Watch one child, hold it to its promises, and leave nothing of it alive.

Rule: a run returns, or is cancelled, only after every process of its tree is gone. A
bubblewrap tree is gone when the first process of its pid namespace is, since the
kernel ends that one last. What the child says of itself is a claim, never a command.
Source: pidfd_open(2), pid_namespaces(7).
"""

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from nunet_node.executors import spawn
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.port import Limit, Usage
from nunet_node.executors.ready import Ready
from nunet_node.executors.sandbox import meter
from nunet_node.executors.sandbox.cgroups import ControlGroup
from nunet_node.executors.sandbox.holdings import Flight
from nunet_node.executors.spawn import STATUS_BYTES_MAX, Child, ChildSays

POLL_MIN_S: Final = 0.05
"""Shortest pause between measurements; what a job can exceed its disk by in between
is this times the disk's speed."""
POLL_UNGROUPED_MIN_S: Final = 0.02
"""The same where memory is measured too, because no control group holds it."""
POLL_COST_FACTOR: Final = 10
"""A measurement may take one tenth of one processor, so big trees are polled less."""
BURIAL_PAUSE_S: Final = 0.005
SETTLE_S: Final = 5
"""Longest wait for the kernel to take down a killed tree before giving up on it."""

HIDDEN_REASON: Final = (
    "files that it sent over a socket and nobody received hide how much it wrote"
)

OnLog = Callable[[str, bytes], None]
OnStarted = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the supervisor itself enforces on one run."""

    wall_s: int
    memory_bytes: int
    disk_bytes: int
    log_bytes_max: int
    files_max: int
    cpu_ms: int


@dataclass(slots=True, kw_only=True)
class Watched:
    """Everything known about one run while it goes on."""

    bounds: Bounds
    job_dir: JobDir
    group: ControlGroup | None
    child: Child
    device: int
    boxed: bool
    heard: ChildSays = field(default_factory=ChildSays)
    limit: Limit | None = None
    why: str = ""
    fault: str | None = None
    flight: Flight = field(default_factory=Flight)
    log_bytes: int = 0
    truncated: set[str] = field(default_factory=set)
    late_status: int | None = None
    unheard: bytes = b""
    init_handle: int | None = None
    init_is_ours: bool = False
    memory_peak_bytes: int = 0
    cpu_ms: int = 0
    wall_ms: int = 0
    returncode: int = -signal.SIGKILL
    ended: bool = False
    reaped: bool = False
    """The child's number may be another process's from now on."""
    doomed: trio.Event = field(default_factory=trio.Event)

    @property
    def started(self) -> bool:
        """Whether the runner, or bubblewrap, said that the guest is about to run."""
        return self.heard.started is not None or self.heard.first_pid is not None

    def stop(self, limit: Limit, why: str = "") -> None:
        """Kill the tree because of ``limit``; the first limit is the one reported.

        ``why`` is told where the usual words for the limit would mislead.
        """
        if self.limit is None:
            self.limit, self.why = limit, why
        self.kill()

    def kill(self) -> None:
        """Kill the tree as soon as every part of it is known.

        Bubblewrap names the first process of its box within milliseconds. Killed
        before that, it would leave us an orphan that nobody knows to wait for.
        """
        self.doomed.set()
        if not self.boxed or self.init_handle is not None or self.ended:
            self.kill_known()

    def kill_known(self) -> None:
        """Kill the child and, where it is known, the first process of its box."""
        ours = self.init_handle if self.init_is_ours else None
        for handle in (ours, self.child.handle):
            if handle is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)

    def usage(self) -> Usage:
        """Return what was used, from the best witness there is."""
        peak, cpu_ms = self.memory_peak_bytes, self.cpu_ms
        if self.group is not None:
            peak = self.group.memory_peak_bytes() or peak
            cpu_ms = max(cpu_ms, self.group.cpu_ms())
        return Usage(
            cpu_ms=cpu_ms,
            wall_ms=self.wall_ms,
            memory_peak_bytes=max(peak, (self.heard.peak_kib or 0) * 1024),
            fuel=self.heard.fuel or 0,
        )


async def supervise(  # noqa: PLR0913 - each is a different party to the run
    request: dict[str, Any],
    *,
    bounds: Bounds,
    job_dir: JobDir,
    group: ControlGroup | None,
    given: dict[str, int],
    ready: Ready | None = None,
    on_started: OnStarted | None = None,
    on_log: OnLog | None = None,
) -> Watched:
    """Run one child to its end and return what was seen.

    Raises:
        OSError: the child could not even be forked.
    """
    began = trio.current_time()
    whole = {
        "uid": job_dir.uid,
        "cgroup_procs": [] if group is None else group.procs_files,
        **request,
    }
    device = job_dir.path.stat().st_dev
    child = spawn.start(whole, given, ready)
    watched = Watched(
        bounds=bounds,
        job_dir=job_dir,
        group=group,
        child=child,
        device=device,
        boxed=request["kind"] == "process",
    )
    with contextlib.ExitStack() as stack:
        stack.callback(_close_handles, watched)
        try:
            await _watch(watched, on_started, on_log)
        finally:
            with trio.CancelScope(shield=True):
                await _bury(watched)
        watched.wall_ms = int((trio.current_time() - began) * 1000)
        await _measure_once(watched)
        return watched


async def _watch(
    watched: Watched, on_started: OnStarted | None, on_log: OnLog | None
) -> None:
    child = watched.child
    watched.late_status = os.dup(child.status)
    async with trio.open_nursery() as watching:
        watching.start_soon(_measure, watched)
        watching.start_soon(_expire, watched)
        watching.start_soon(_insist, watched)
        async with trio.open_nursery() as reading:
            reading.start_soon(_pump, watched, child.stdout, "stdout", on_log)
            reading.start_soon(_pump, watched, child.stderr, "stderr", on_log)
            reading.start_soon(_listen, watched, on_started)
            await trio.lowlevel.wait_readable(child.handle)
            watched.ended = True
            # What the job left running holds its pipes: end it, and they end.
            watched.kill()
            reading.cancel_scope.deadline = trio.current_time() + SETTLE_S
        watching.cancel_scope.cancel()


async def _pump(watched: Watched, reader: int, name: str, on_log: OnLog | None) -> None:
    path = watched.job_dir.root / name
    async with trio.lowlevel.FdStream(reader) as stream:
        with path.open("ab", buffering=0) as target:
            async for chunk in stream:
                room = watched.bounds.log_bytes_max - watched.log_bytes
                kept = bytes(chunk[:room])
                watched.log_bytes += len(kept)
                try:
                    target.write(kept)
                except OSError as error:
                    watched.fault = f"its output could not be kept: {error}"
                    watched.kill()
                    return
                if on_log is not None and kept:
                    on_log(name, kept)
                if len(kept) < len(chunk):
                    watched.truncated.add(name)
                    watched.stop("log")
                    return


async def _listen(watched: Watched, on_started: OnStarted | None) -> None:
    """Take in what the child says about itself."""
    total, told = 0, False
    async with trio.lowlevel.FdStream(watched.child.status) as stream:
        async for chunk in stream:
            _take_in(watched, bytes(chunk))
            if watched.started and not told:
                told = True
                if on_started is not None:
                    on_started()
            total += len(chunk)
            if total > STATUS_BYTES_MAX:
                return


def _take_in(watched: Watched, chunk: bytes) -> None:
    """Hear every whole line; bubblewrap writes its lines in pieces."""
    *lines, watched.unheard = (watched.unheard + chunk).split(b"\n")
    for says in map(spawn.said, lines):
        watched.heard = watched.heard.then(says)
        if says.first_pid is not None and watched.init_handle is None:
            _watch_namespace(watched, says.first_pid)
            if watched.doomed.is_set():
                watched.kill_known()


async def _named_or_ended(watched: Watched) -> None:
    """Wait until a box has named its first process, or the child has ended."""
    if not watched.boxed or watched.late_status is None:
        return
    while watched.init_handle is None:
        async with trio.open_nursery() as either:
            for descriptor in (watched.late_status, watched.child.handle):
                either.start_soon(_readable_first, descriptor, either.cancel_scope)
        if not _hear_late(watched):
            return


async def _readable_first(descriptor: int, others: trio.CancelScope) -> None:
    await trio.lowlevel.wait_readable(descriptor)
    others.cancel()


def _hear_late(watched: Watched) -> bool:
    """Hear what was said since a cancelled run stopped listening, if anything."""
    if watched.late_status is None:
        return False
    os.set_blocking(watched.late_status, False)
    said = b""
    with contextlib.suppress(BlockingIOError):
        said = os.read(watched.late_status, STATUS_BYTES_MAX)
    _take_in(watched, said)
    return bool(said)


def _watch_namespace(watched: Watched, first_pid: int) -> None:
    """Hold on to the first process of the job's pid namespace."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(first_pid)
        watched.init_handle = handle
        # A number read from a pipe may have been given to another process since;
        # only a child of our child is ours to kill. Otherwise we merely wait for it.
        watched.init_is_ours = meter.parent_of(first_pid) == watched.child.pid


async def _expire(watched: Watched) -> None:
    await trio.sleep(watched.bounds.wall_s)
    watched.stop("wall")


async def _insist(watched: Watched) -> None:
    """Kill a doomed child even if it never names the first process of its box."""
    await watched.doomed.wait()
    await trio.sleep(SETTLE_S)
    watched.kill_known()


async def _measure(watched: Watched) -> None:
    pause_s = POLL_MIN_S if watched.group is not None else POLL_UNGROUPED_MIN_S
    cost_s = 0.0
    while True:
        await trio.sleep(max(pause_s, cost_s * POLL_COST_FACTOR))
        began = trio.current_time()
        await _measure_once(watched)
        cost_s = trio.current_time() - began


async def _measure_once(watched: Watched) -> None:
    """Look once at the tree and the directory, and stop the job if it has too much."""
    tree, disk, oom_kills = await trio.to_thread.run_sync(_look, watched)
    if tree.memory_bytes < meter.UNMEASURABLE:
        watched.memory_peak_bytes = max(watched.memory_peak_bytes, tree.memory_bytes)
    watched.cpu_ms = max(watched.cpu_ms, tree.cpu_ms)
    bounds = watched.bounds
    if disk.size_bytes + tree.unlinked_bytes > bounds.disk_bytes:
        watched.stop("disk")
    elif watched.flight.too_long(tree.in_flight):
        watched.stop("disk", HIDDEN_REASON)
    if disk.entries > bounds.files_max:
        watched.stop("files")
    if watched.group is not None:
        # The kernel has killed one process; half a job is no use to anyone.
        too_much_memory = oom_kills > 0
    else:
        too_much_memory = tree.memory_bytes > bounds.memory_bytes
    if too_much_memory and not watched.ended:
        watched.stop("memory")
    if watched.cpu_ms > bounds.cpu_ms and not watched.ended:
        watched.stop("cpu")


def _look(watched: Watched) -> tuple[meter.TreeUse, meter.DiskUse, int]:
    """Return what the tree and the directory hold, and how often the kernel killed."""
    tree = _tree_use(watched)
    folders = (watched.job_dir.path, watched.job_dir.tmp_path)
    disk = meter.disk_use(folders, watched.bounds.files_max)
    return tree, disk, 0 if watched.group is None else watched.group.oom_kills()


def _tree_use(watched: Watched) -> meter.TreeUse:
    if watched.reaped:
        return meter.TreeUse()
    grouped = watched.group is not None
    return meter.tree_use(watched.child.pid, watched.device, grouped=grouped)


async def _bury(watched: Watched) -> None:
    """Kill whatever is left, reap the child, and see that the tree is gone."""
    watched.kill()
    with trio.move_on_after(SETTLE_S):
        await _named_or_ended(watched)
    watched.kill_known()
    await trio.lowlevel.wait_readable(watched.child.handle)
    _hear_late(watched)
    watched.returncode, spent_ms = watched.child.reaped()
    watched.reaped = True
    watched.cpu_ms = max(watched.cpu_ms, spent_ms)
    with trio.move_on_after(SETTLE_S):
        if watched.init_handle is not None:
            await trio.lowlevel.wait_readable(watched.init_handle)
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, watched.init_handle, os.WEXITED)  # noqa: ASYNC222
        while watched.group is not None and watched.group.pids():
            for pid in watched.group.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await trio.sleep(BURIAL_PAUSE_S)


def _close_handles(watched: Watched) -> None:
    for descriptor in (
        watched.child.handle,
        watched.init_handle,
        watched.late_status,
    ):
        if descriptor is not None:
            os.close(descriptor)
