"""One run in a container, from its image to its removal.

Rule: a run returns, or is cancelled, only after its container is removed. The node
measures disk, memory and logs itself, as for every engine; the container engine only
adds barriers. What a killed node leaves is found by its label and removed by the next.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import trio

from nunet_node.errors import PeerError
from nunet_node.executors.container.api import EngineApi, open_api
from nunet_node.executors.container.box import (
    LABEL,
    Document,
    document,
    filter_for,
    shortcomings,
    shown_by_kernel,
)
from nunet_node.executors.container.image import local_image
from nunet_node.executors.engines import LIMIT_REASONS, cpu_s, limit_of_exit
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.port import EngineError, Limit, RunEnd, RunOrder, Usage
from nunet_node.executors.sandbox import meter
from nunet_node.executors.sandbox.holdings import Flight
from nunet_node.executors.supervise import (
    HIDDEN_REASON,
    POLL_COST_FACTOR,
    POLL_MIN_S,
    SETTLE_S,
    OnLog,
    OnStarted,
)

LOOKS_MAX: Final = 5
"""Looks at a process that seems to lack something; dying takes milliseconds."""
LOOK_PAUSE_S: Final = 0.05
LEFT_MAX: Final = 1000
"""Most containers of a killed node that are removed; no node runs nearly as many."""
ISOLATION: Final = "container+uid+seccomp+cgroup"
"""The barriers of every container: one that lacks any of them is killed."""
EXIT_CODES: Final = 256
"""What a program can end with; an engine that lost sight of one says -1."""
_KILLED: Final = 137
"""Exit code of a first process that was killed; nothing inside a container can."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Watch:
    """Everything known about one run while it goes on."""

    order: RunOrder
    job_dir: JobDir
    on_started: OnStarted | None
    on_log: OnLog | None
    began_s: float = field(default_factory=trio.current_time)
    pid: int = 0
    limit: Limit | None = None
    why: str = ""
    flight: Flight = field(default_factory=Flight)
    fault: str | None = None
    exit_code: int | None = None
    log_bytes: int = 0
    truncated: set[str] = field(default_factory=set)
    memory_peak_bytes: int = 0
    cpu_ms: int = 0
    doomed: trio.Event = field(default_factory=trio.Event)
    drained: trio.Event = field(default_factory=trio.Event)

    def stop(self, limit: Limit, why: str = "") -> None:
        """End the run because of ``limit``; the first limit is the one reported."""
        if self.limit is None:
            self.limit, self.why = limit, why
        self.doomed.set()

    def fail(self, why: str) -> None:
        """End the run because it cannot go on."""
        self.fault = self.fault or why
        self.doomed.set()


class Containers:
    """The container engine behind one socket, as an executor."""

    def __init__(self, socket: Path) -> None:
        """Use the engine behind ``socket``, which must be on this machine."""
        self._socket = socket

    async def sweep(self, scratch: Path) -> int:
        """Remove the containers that a killed node of ``scratch`` left.

        Raises:
            EngineError: the engine is not there.
        """
        async with open_api(self._socket) as api:
            left = await api.labelled(f"{LABEL}={scratch}")
            for container in left[:LEFT_MAX]:
                await api.remove(container)
        return len(left)

    async def run(
        self,
        order: RunOrder,
        job_dir: JobDir,
        on_started: OnStarted | None = None,
        on_log: OnLog | None = None,
    ) -> RunEnd:
        """Run one order to its end.

        Raises:
            EngineError: no container could be made.
        """
        watch = _Watch(
            order=order, job_dir=job_dir, on_started=on_started, on_log=on_log
        )
        async with open_api(self._socket) as api:
            about = await api.info()
            image = await local_image(api, order, job_dir)
            filtered = filter_for(job_dir, podman=await api.is_podman())
            asked = document(
                order, job_dir, image, rootless=about.rootless, filtered=filtered
            )
            with trio.CancelScope(shield=True):
                # Cancelled in between, a container would exist that nobody knows of.
                container = await api.create(asked)
            try:
                await _watched(api, container, asked, watch)
            finally:
                with trio.CancelScope(shield=True):
                    await api.remove(container)
        await _measure_once(watch)
        return _ending(watch)


async def _watched(
    api: EngineApi, container: str, asked: Document, watch: _Watch
) -> None:
    async with api.output(container) as pieces, trio.open_nursery() as tasks:
        tasks.start_soon(_guarded, watch, partial(_pump, watch, pieces))
        tasks.start_soon(_guarded, watch, partial(_kill, api, container, watch))
        tasks.start_soon(_expire, watch)
        tasks.start_soon(_measure, watch)
        await _guarded(watch, partial(_live, api, container, asked, watch))
        with trio.move_on_after(SETTLE_S):
            await watch.drained.wait()
        tasks.cancel_scope.cancel()


async def _guarded(watch: _Watch, act: Callable[[], Awaitable[None]]) -> None:
    """Turn what goes wrong in a task into the end of the run."""
    try:
        await act()
    except (PeerError, OSError, httpx.HTTPError) as error:
        watch.fail(str(error) or type(error).__name__)


async def _live(api: EngineApi, container: str, asked: Document, watch: _Watch) -> None:
    await api.start(container)
    made = await api.inspect(container)
    watch.pid = made.state.pid
    short = shortcomings(asked, made)
    short += await _lacking(watch)
    if short:
        raise EngineError(f"the engine does not keep to: {', '.join(short)}")
    if watch.on_started is not None:
        watch.on_started()
    code = await api.wait(container)
    if code not in range(EXIT_CODES):
        raise EngineError(f"the engine says {code} of how it ended")
    watch.exit_code = code
    ended = await api.inspect(container)
    if ended.state.starved or watch.exit_code == _KILLED:
        watch.limit = watch.limit or (None if watch.doomed.is_set() else "memory")


async def _lacking(watch: _Watch) -> tuple[str, ...]:
    """Return what the kernel shows to be missing, and goes on to.

    A process that ends leaves its control group a moment before it is seen to be dead.
    """
    short: tuple[str, ...] = ()
    for _ in range(LOOKS_MAX if watch.pid else 0):
        short = shown_by_kernel(watch.pid, watch.order.memory_bytes)
        if not short:
            break
        await trio.sleep(LOOK_PAUSE_S)
    return short


async def _kill(api: EngineApi, container: str, watch: _Watch) -> None:
    await watch.doomed.wait()
    await api.kill(container)


async def _expire(watch: _Watch) -> None:
    await trio.sleep(watch.order.wall_s)
    watch.stop("wall")


async def _pump(watch: _Watch, pieces: AsyncIterator[tuple[str, bytes]]) -> None:
    with contextlib.ExitStack() as stack:
        files = {
            "stdout": stack.enter_context(watch.job_dir.stdout_path.open("ab", 0)),
            "stderr": stack.enter_context(watch.job_dir.stderr_path.open("ab", 0)),
        }
        async for name, piece in pieces:
            kept = piece[: watch.order.log_bytes_max - watch.log_bytes]
            watch.log_bytes += len(kept)
            files[name].write(kept)
            if kept and watch.on_log is not None:
                watch.on_log(name, kept)
            if len(kept) < len(piece):
                watch.truncated.add(name)
                # Read on: an engine that cannot write does not kill either.
                watch.stop("log")
    watch.drained.set()


async def _measure(watch: _Watch) -> None:
    while True:
        began = trio.current_time()
        await _measure_once(watch)
        cost_s = trio.current_time() - began
        await trio.sleep(max(POLL_MIN_S, cost_s * POLL_COST_FACTOR))


async def _measure_once(watch: _Watch) -> None:
    tree, disk = await trio.to_thread.run_sync(_look, watch)
    order = watch.order
    watch.memory_peak_bytes = max(watch.memory_peak_bytes, tree.memory_bytes)
    watch.cpu_ms = max(watch.cpu_ms, tree.cpu_ms)
    if disk.size_bytes + tree.unlinked_bytes > order.disk_bytes:
        watch.stop("disk")
    elif watch.flight.too_long(tree.in_flight):
        watch.stop("disk", HIDDEN_REASON)
    elif disk.entries > order.files_max:
        watch.stop("files")
    elif tree.memory_bytes > order.memory_bytes:
        watch.stop("memory")
    elif watch.cpu_ms > cpu_s(order) * 1000:
        watch.stop("cpu")


def _look(watch: _Watch) -> tuple[meter.TreeUse, meter.DiskUse]:
    job_dir = watch.job_dir
    tree = meter.TreeUse()
    if watch.pid and watch.exit_code is None:
        tree = meter.tree_use(watch.pid, os.stat(job_dir.path).st_dev)  # noqa: PTH116 - hot
    folders = (job_dir.path, job_dir.tmp_path)
    return tree, meter.disk_use(folders, watch.order.files_max)


def _ending(watch: _Watch) -> RunEnd:
    code = watch.exit_code
    limit = watch.limit or (limit_of_exit(code) if watch.fault is None else None)
    reason = watch.fault if limit is None else watch.why or LIMIT_REASONS[limit]
    return RunEnd(
        exit_code=None if watch.limit or watch.fault else code,
        limit=limit,
        reason=reason,
        usage=Usage(
            cpu_ms=watch.cpu_ms,
            wall_ms=int((trio.current_time() - watch.began_s) * 1000),
            memory_peak_bytes=watch.memory_peak_bytes,
        ),
        isolation=ISOLATION,
        stdout_truncated="stdout" in watch.truncated,
        stderr_truncated="stderr" in watch.truncated,
    )
