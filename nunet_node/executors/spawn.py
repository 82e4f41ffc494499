"""Start child processes: by themselves, or as forks of one that is warm.

Rule: a child is forked on the trio thread, never in a worker thread: the kernel
delivers the parent-death signal when the forking *thread* ends. Children inherit
three streams and the descriptors they are given by role, nothing else, and no
variable of ours. Source: prctl(2), unix(7), pidfd_open(2).
"""

import array
import contextlib
import ctypes
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import trio

import nunet_node
from nunet_node.quantities import INT53_MAX

STATUS_BYTES_MAX: Final = 16 * 1024
"""Most the child may say about itself; it says a few short lines."""
FORK_S: Final = 10
"""Longest wait for a warm process to fork; it takes milliseconds."""
FAILURES_MAX: Final = 8
"""Warm processes that fail before the first fork of the last, and then no more are
started: what kills each of them would only cost every job a tenth of a second."""
_PR_SET_CHILD_SUBREAPER: Final = 36
_log = logging.getLogger("nunet_node.executors.spawn")
_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv.pop(1).split('\\n');"
    "from nunet_node.executors.inside.{0} import main; main()"
)


Text = Annotated[str, msgspec.Meta(max_length=2000)]
Number = Annotated[int, msgspec.Meta(ge=0, le=INT53_MAX)]
ExitCode = Annotated[int, msgspec.Meta(ge=0, le=255)]


class ChildSays(msgspec.Struct, frozen=True, kw_only=True):
    """What a child says about itself; it may lie, so these are claims of its job.

    The names with a hyphen are bubblewrap's words, the others our own.
    """

    pid: Number | None = None
    first_pid: Number | None = msgspec.field(name="child-pid", default=None)
    box_exit: ExitCode | None = msgspec.field(name="exit-code", default=None)
    started: Annotated[tuple[Text, ...], msgspec.Meta(max_length=8)] | None = None
    failed: Text | None = None
    exit: ExitCode | None = None
    reason: Text | None = None
    fuel: Number | None = None
    peak_kib: Number | None = None

    def then(self, later: "ChildSays") -> "ChildSays":
        """Return both together; what was said later holds."""
        news = {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(later, name)) is not None
        }
        return msgspec.structs.replace(self, **news)


@dataclass(slots=True, kw_only=True)
class Child:
    """A running child: its process, and our ends of what it writes to."""

    pid: int
    handle: int
    stdout: int
    stderr: int
    status: int
    early: bytes = b""
    process: subprocess.Popen[bytes] | None = None

    def reaped(self) -> tuple[int, int]:
        """Reap the child, which has ended.

        Returns:
            Its exit status as `subprocess` has it, and the processor time in
            milliseconds of it and of all the descendants that were waited for.
        """
        _, status, spent = os.wait4(self.pid, 0)
        returncode = os.waitstatus_to_exitcode(status)
        if self.process is not None:
            self.process.returncode = returncode
        return returncode, int((spent.ru_utime + spent.ru_stime) * 1000)


@dataclass(slots=True, kw_only=True)
class _Pipes:
    """Three pipes for a child, and the descriptors it gets, by role."""

    ours: dict[str, int] = field(default_factory=dict)
    theirs: dict[str, int] = field(default_factory=dict)

    def child(
        self,
        pid: int,
        *,
        early: bytes = b"",
        process: subprocess.Popen[bytes] | None = None,
    ) -> Child:
        """Return the child that was started with these pipes."""
        return Child(
            pid=pid,
            handle=os.pidfd_open(pid),
            stdout=self.ours["stdout"],
            stderr=self.ours["stderr"],
            status=self.ours["status"],
            early=early,
            process=process,
        )

    def close(self, *, ours: bool) -> None:
        for ends in (self.theirs, self.ours) if ours else (self.theirs,):
            while ends:
                os.close(ends.popitem()[1])


class Warm:
    """A process that has the WebAssembly engine loaded and forks children.

    One that dies or hangs is replaced, by the job that finds out.
    """

    def __init__(self) -> None:
        """Use `warmed` instead."""
        self._turn = trio.Lock()
        self._failures = 0
        self._channel, self._process = _warm_process()

    async def fork(self, pipes: _Pipes, given: dict[str, int]) -> Child:
        """Fork one child; what it inherits is ``given`` and the pipes.

        Raises:
            OSError: the warm process was gone, or too slow to be of use.
        """
        process = self._process
        try:
            child = await self._forked(pipes, given)
        except trio.ClosedResourceError:
            raise ChildProcessError("the warm process was replaced") from None
        except OSError as error:
            self._replace(process, error)
            raise
        self._failures = 0
        return child

    async def _forked(self, pipes: _Pipes, given: dict[str, int]) -> Child:
        fds = pipes.theirs | given
        numbers = array.array("i", fds.values()).tobytes()
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)
        async with self._turn:
            await self._channel.sendmsg([json.dumps(list(fds)).encode()], [rights])
        pipes.close(ours=False)
        with trio.move_on_after(FORK_S):
            await trio.lowlevel.wait_readable(pipes.ours["status"])
            early = os.read(pipes.ours["status"], STATUS_BYTES_MAX)
            for line in early.splitlines()[:1]:
                pid = said(line).pid
                if pid is not None:
                    return pipes.child(pid, early=early)
        raise ChildProcessError("the warm process did not fork")

    def _replace(self, failed: subprocess.Popen[bytes], error: OSError) -> None:
        # Of several jobs that find out, the first one does it.
        if self._process is not failed or self._failures >= FAILURES_MAX:
            return
        self._failures += 1
        _log.warning("the warm process is replaced: %s", error)
        # What it has forked is the node's by now, and goes on.
        self.end()
        self._channel, self._process = _warm_process()

    def end(self) -> None:
        """Close the channel, at which the process ends by itself, and reap it."""
        self._channel.close()
        self._process.kill()
        self._process.wait()


def _warm_process() -> tuple[trio.socket.SocketType, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        arguments = (str(os.getpid()), str(theirs.fileno()))
        process = _program("warm", arguments, (theirs.fileno(),))
    return trio.socket.from_stdlib_socket(ours), process


@contextlib.asynccontextmanager
async def warmed() -> AsyncIterator[Warm]:
    """Keep a warm process for as long as the context lasts."""
    adopt_orphans()
    warm = Warm()
    try:
        yield warm
    finally:
        warm.end()


async def start(
    request: dict[str, Any], given: dict[str, int], warm: Warm | None
) -> Child:
    """Start one child with ``request``, giving it descriptors by role.

    Not cancellable: a child is either never started or returned. When the warm
    process fails, the child is started alone.

    Raises:
        OSError: it could not be started.
    """
    adopt_orphans()
    pipes = _pipes({"parent": os.getpid(), **request})
    try:
        if warm is None:
            child = _started_alone(pipes, given)
        else:
            with trio.CancelScope(shield=True):
                child = await warm.fork(pipes, given)
    except OSError:
        pipes.close(ours=True)
        if warm is None:
            raise
        return await start(request, given, None)
    pipes.close(ours=False)
    return child


def said(line: bytes) -> ChildSays:
    """Read one status line; what is none says nothing."""
    try:
        return msgspec.json.decode(line, type=ChildSays)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ChildSays()


@cache
def adopt_orphans() -> None:
    """Become the parent of what our children leave behind.

    The first process of a box outlives bubblewrap for a moment, and a warm process
    hands its forks over this way. Without it they would wait, dead and counted
    against their user, for an init that in many containers never reaps.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _pipes(request: dict[str, Any]) -> _Pipes:
    pipes = _Pipes()
    for role in ("stdout", "stderr", "status"):
        pipes.ours[role], pipes.theirs[role] = os.pipe()
    pipes.theirs["order"] = os.memfd_create("order")
    os.write(pipes.theirs["order"], json.dumps(request).encode())
    os.lseek(pipes.theirs["order"], 0, os.SEEK_SET)
    return pipes


def _started_alone(pipes: _Pipes, given: dict[str, int]) -> Child:
    theirs = pipes.theirs
    fds = {"order": theirs["order"], "status": theirs["status"], **given}
    process = _program(
        "main",
        tuple(f"{role}={number}" for role, number in fds.items()),
        tuple(fds.values()),
        stdout=theirs["stdout"],
        stderr=theirs["stderr"],
    )
    return pipes.child(process.pid, process=process)


def _program(
    module: str,
    arguments: tuple[str, ...],
    inherited: tuple[int, ...],
    *,
    stdout: int | None = None,
    stderr: int | None = None,
) -> subprocess.Popen[bytes]:
    boot = _BOOT.format(module)
    return subprocess.Popen(  # noqa: S603 - our own child program
        [sys.executable, "-I", "-S", "-c", boot, import_path(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=inherited,
        env={},
        cwd="/",
    )


@cache
def import_path() -> str:
    """Return our import path, handed over so that a child searches nothing."""
    home = str(Path(nunet_node.__file__).parent.parent)
    return "\n".join([home, *(entry for entry in sys.path if entry)])
