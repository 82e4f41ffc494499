"""Run small jobs through the real executors, and skip where an engine is missing."""

import contextlib
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nunet_node.domains import ANY
from nunet_node.executors.collect import Collected, OutputsRefused
from nunet_node.executors.container.find import find_socket
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.local import LocalExecutors
from nunet_node.executors.port import Capability, Engine, RunEnd, RunOrder
from nunet_node.executors.proxy.outside import Outside

MIB = 1 << 20
BOX_HAS = {"console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"}
_known: dict[Engine, Capability] = {}


@dataclass
class Outcome:
    """All that can be seen of one run."""

    end: RunEnd
    job_dir: JobDir
    stdout: bytes
    stderr: bytes
    outputs: Collected | OutputsRefused
    starts: int = 0
    log: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        assert isinstance(self.outputs, Collected), self.outputs
        return [file.path for file in self.outputs.files]

    @property
    def skipped(self) -> dict[str, str]:
        assert isinstance(self.outputs, Collected), self.outputs
        return {entry.path: entry.reason for entry in self.outputs.skipped}


def an_order(engine: Engine, *argv: str, **changes: Any) -> RunOrder:
    usual: dict[str, Any] = {
        "job": "job-under-test",
        "engine": engine,
        "argv": argv,
        "cpu_millis": 1000,
        "memory_bytes": 128 * MIB,
        "disk_bytes": 16 * MIB,
        "wall_s": 30,
        "output_bytes_max": 8 * MIB,
        "log_bytes_max": 256 * 1024,
        "files_max": 500,
    }
    return RunOrder(**(usual | changes))


def a_device_node() -> str:
    """A device of this machine that no sandbox has by itself."""
    for path in sorted(Path("/dev").iterdir()):
        if path.name not in BOX_HAS and stat.S_ISCHR(path.stat().st_mode):
            return str(path)
    pytest.skip("this machine has no device to lend to a job")


def cache_folder() -> Path:
    """One cache for all runs of the tests: compiling CPython takes seconds."""
    return Path(tempfile.gettempdir()) / f"nunet-node-test-cache-{os.geteuid()}"


def container_socket() -> Path | None:
    """Where the engine for tests listens; not where every started node looks, too,
    because each would spend seconds on trying it."""
    chosen = os.environ.get("NUNET_TEST_DOCKER_HOST")
    return find_socket({"DOCKER_HOST": chosen} if chosen else None)


@contextlib.asynccontextmanager
async def some_executors(
    *, control_groups: bool = True, outside: Outside | None = None
) -> AsyncIterator[LocalExecutors]:
    """Executors with a scratch directory that the users of jobs can pass through.

    They lend every domain of an ``outside``, and none without one.
    """
    with tempfile.TemporaryDirectory(prefix="nunet-node-test-") as top:
        os.chmod(top, 0o711)
        yield LocalExecutors(
            Path(top) / "scratch",
            cache_folder(),
            control_groups=control_groups,
            container_socket=container_socket(),
            lent=() if outside is None else (ANY,),
            outside=outside,
        )


async def need(engine: Engine) -> Capability:
    """Skip the test, saying why, where the engine does not work."""
    if engine not in _known:
        async with some_executors() as executors:
            with contextlib.suppress(Exception):
                await executors.prepare()
            for capability in await executors.probe():
                _known[capability.engine] = capability
    found = _known[engine]
    if not found.ready:
        pytest.skip(f"{engine}: {found.detail}; {found.remedy}")
    return found


async def attempt(
    order: RunOrder,
    files: dict[str, bytes] | None = None,
    globs: tuple[str, ...] = (),
    *,
    control_groups: bool = True,
    warm: bool = False,
    outside: Outside | None = None,
) -> Outcome:
    """Run one order with these inputs and look at everything it left."""
    await need(order.engine)
    async with contextlib.AsyncExitStack() as stack:
        executors = await stack.enter_async_context(
            some_executors(control_groups=control_groups, outside=outside)
        )
        if warm:
            await stack.enter_async_context(executors.warmed())
        job_dir = await executors.open_job(order.job, 1)
        for path, content in (files or {}).items():
            job_dir.add_file(path, content, executable=content.startswith(b"#!"))
        starts: list[int] = []
        log: list[tuple[str, bytes]] = []
        try:
            end = await executors.run(
                order,
                job_dir,
                lambda: starts.append(1),
                lambda name, chunk: log.append((name, chunk)),
            )
            outputs = await executors.collect(
                job_dir,
                globs,
                bytes_max=order.output_bytes_max,
                files_max=order.files_max,
            )
            return Outcome(
                end=end,
                job_dir=job_dir,
                stdout=job_dir.stdout_path.read_bytes(),
                stderr=job_dir.stderr_path.read_bytes(),
                outputs=outputs,
                starts=len(starts),
                log=log,
            )
        finally:
            await executors.remove(job_dir)


async def python_job(script: str, *args: str, **changes: Any) -> Outcome:
    order = an_order("python", "main.py", *args, **changes)
    return await attempt(order, {"main.py": script.encode()})


async def shell_job(script: str, **changes: Any) -> Outcome:
    return await attempt(an_order("process", "/bin/sh", "-c", script, **changes))


async def native_python_job(
    script: str, *, control_groups: bool = True, **changes: Any
) -> Outcome:
    order = an_order("process", "python3", "main.py", **changes)
    files = {"main.py": script.encode()}
    return await attempt(order, files, control_groups=control_groups)


class RecordedDriver:
    """What the driver of a machine with two H100 answered."""

    def __init__(self, names=("NVIDIA H100 80GB HBM3",) * 2, *, driver=True):
        self.names = names
        self.driver = driver
        self.open = 0

    def nvmlInit(self):  # noqa: N802 - the library's names
        if not self.driver:
            raise RuntimeError("NVML Shared Library Not Found")
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, place):  # noqa: N802
        return place

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return self.names[handle]

    def nvmlDeviceGetMinorNumber(self, handle):  # noqa: N802
        return handle + 2

    def nvmlDeviceGetMemoryInfo(self, _handle):  # noqa: N802
        return SimpleNamespace(total=80 << 30, free=79 << 30, used=1 << 30)

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return f"GPU-{handle}"
