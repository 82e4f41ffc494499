"""Children that wait for a job: forked of a warm process, and in a control group.

Forking a loaded interpreter takes a millisecond, and joining a control group as long
as the kernel's readers need to be done with theirs, ten milliseconds on a machine
with nothing to do. Neither lies in a job's way when a child did both before there was
the job. Rule: a ready child has run nothing but our own code, is used for one job,
and ends when the node lets go of its desk. A process is forked on the trio thread,
never in a worker thread: the kernel delivers the parent-death signal when the forking
*thread* ends. Source: prctl(2), unix(7), cgroups(7).
"""

import array
import contextlib
import ctypes
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import trio

import nunet_node
from nunet_node.executors.sandbox import cgroups
from nunet_node.executors.sandbox.cgroups import ControlGroup

READY_MAX: Final = 2
"""Children that wait at once: each holds about a megabyte of its own, and another is
ready again within some fifteen milliseconds."""
FORK_S: Final = 10
"""Longest wait for a warm process to fork; it takes milliseconds."""
FAILURES_MAX: Final = 8
"""Warm processes that fail before the first fork of the last, and then no more are
started: what kills each of them would only cost every job a tenth of a second."""
_WORD_BYTES_MAX: Final = 16
"""A process id has at most seven digits, and one more tells whether it has a group."""
_PR_SET_CHILD_SUBREAPER: Final = 36
_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv.pop(1).split('\\n');"
    "from nunet_node.executors.inside.{0} import main; main()"
)
_log = logging.getLogger("nunet_node.executors.ready")

NameGroup = Callable[[], ControlGroup | None]


@dataclass(slots=True, kw_only=True, eq=False)
class Ready:
    """A child that waits for its job, in ``group`` if there is one."""

    pid: int
    group: ControlGroup | None
    desk: socket.socket
    given: bool = False

    def give(self, fds: dict[str, int]) -> int:
        """Give the child its job, by descriptors and their roles; return its pid.

        From here on it is the caller's to end and to reap.

        Raises:
            OSError: it is gone; `dismiss` reaps it.
        """
        _send(self.desk, list(fds), tuple(fds.values()))
        self.desk.close()
        self.given = True
        return self.pid

    def alive(self) -> bool:
        """Tell whether it still waits: until it has a job it says nothing more."""
        try:
            self.desk.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def dismiss(self) -> None:
        """End and reap it, unless it has been given a job; its group stays."""
        if self.given:
            return
        self.given = True
        self.desk.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class Warm:
    """A process that has the WebAssembly engine loaded, and what it forked so far.

    One that dies or hangs is replaced, by whoever finds out.
    """

    def __init__(self, name_group: NameGroup) -> None:
        """Use `warmed` instead."""
        self._name_group = name_group
        self._ready: deque[Ready] = deque()
        self._wanted = trio.Event()
        self._failures = 0
        self._channel, self._process = _warm_process()

    async def take(self) -> Ready | None:
        """Return a child that waits for a job; None when none can be had.

        Whoever takes it dismisses it and removes its group.
        """
        self._wanted.set()
        while self._ready:
            ready = self._ready.popleft()
            if ready.alive():
                return ready
            _drop(ready)
        return await self._made() if self._failures < FAILURES_MAX else None

    async def keep_ready(self) -> None:
        """Have children wait, as many as is worth it; never returns."""
        while True:
            while len(self._ready) < READY_MAX and self._failures < FAILURES_MAX:
                ready = await self._made()
                if ready is not None:
                    self._ready.append(ready)
            self._wanted = trio.Event()
            await self._wanted.wait()

    def end(self) -> None:
        """End and reap everything, and remove the groups of what waited."""
        while self._ready:
            _drop(self._ready.popleft())
        self._end_process()

    async def _made(self) -> Ready | None:
        process, group = self._process, self._name_group()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            # A child that is under way is ours to reap.
            with trio.CancelScope(shield=True), theirs:
                places = [] if group is None else group.places
                _send(self._channel, places, (theirs.fileno(),))
                theirs.close()
                pid, made = await _first_words(ours)
        except OSError as error:
            ours.close()
            if group is not None:
                group.remove()
            self._replace(process, error)
            return None
        self._failures = 0
        if group is not None and not made:
            cgroups.refused(group)
            group = None
        return Ready(pid=pid, group=group, desk=ours)

    def _replace(self, failed: subprocess.Popen[bytes], error: OSError) -> None:
        # Of several that find out, the first one does it.
        if self._process is not failed or self._failures >= FAILURES_MAX:
            return
        self._failures += 1
        _log.warning("the warm process is replaced: %s", error)
        # What it has forked is the node's by now, and goes on.
        self._end_process()
        self._channel, self._process = _warm_process()

    def _end_process(self) -> None:
        """Close the channel, at which the process ends by itself, and reap it."""
        self._channel.close()
        self._process.kill()
        self._process.wait()


@contextlib.asynccontextmanager
async def warmed(name_group: NameGroup) -> AsyncIterator[Warm]:
    """Keep a warm process, and children ready, for as long as the context lasts."""
    adopt_orphans()
    warm = Warm(name_group)
    try:
        async with trio.open_nursery() as keeping:
            keeping.start_soon(warm.keep_ready)
            yield warm
            keeping.cancel_scope.cancel()
    finally:
        warm.end()


@cache
def adopt_orphans() -> None:
    """Become the parent of what our children leave behind.

    The first process of a box outlives bubblewrap for a moment, and a warm process
    hands its forks over this way. Without it they would wait, dead and counted
    against their user, for an init that in many containers never reaps.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run_inside(
    module: str,
    arguments: tuple[str, ...],
    inherited: tuple[int, ...],
    *,
    stdout: int | None = None,
    stderr: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program of `nunet_node.executors.inside` by itself.

    It inherits three streams and the descriptors it is given, nothing else, and no
    variable of ours. It has a process group of its own: Ctrl-C at the node's terminal
    is for the node, which drains, and not for the jobs that it waits for.
    """
    boot = _BOOT.format(module)
    return subprocess.Popen(  # noqa: S603 - our own child program
        [sys.executable, "-I", "-S", "-c", boot, import_path(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=inherited,
        env={},
        cwd="/",
        process_group=0,
    )


@cache
def import_path() -> str:
    """Return our import path, handed over so that a child searches nothing."""
    home = str(Path(nunet_node.__file__).parent.parent)
    return "\n".join([home, *(entry for entry in sys.path if entry)])


def _warm_process() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        arguments = (str(os.getpid()), str(theirs.fileno()))
        process = run_inside("warm", arguments, (theirs.fileno(),))
    return ours, process


def _send(channel: socket.socket, words: list[str], fds: tuple[int, ...]) -> None:
    numbers = array.array("i", fds).tobytes()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)
    # Never waits: so few messages fit into any socket, or something is wrong.
    flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
    channel.sendmsg([json.dumps(words).encode()], [rights], flags)


async def _first_words(desk: socket.socket) -> tuple[int, bool]:
    """Return the number of the child, and whether it made its group."""
    with trio.move_on_after(FORK_S):
        await trio.lowlevel.wait_readable(desk.fileno())
        pid, _, made = desk.recv(_WORD_BYTES_MAX).partition(b" ")
        if pid:
            return int(pid), made == b"1"
    raise ChildProcessError("the warm process did not fork")


def _drop(ready: Ready) -> None:
    ready.dismiss()
    if ready.group is not None:
        # A process that was waited for is counted for a moment longer.
        ready.group.remove_patiently()
