"""Start child processes: by themselves, or by giving one that is ready its job.

Rule: a child is forked on the trio thread, never in a worker thread: the kernel
delivers the parent-death signal when the forking *thread* ends. Children inherit
three streams and the descriptors they are given by role, nothing else, and no
variable of ours. Source: prctl(2), unix(7), pidfd_open(2).
"""

import contextlib
import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec

from nunet_node.executors.ready import Ready, adopt_orphans, run_inside
from nunet_node.quantities import INT53_MAX

STATUS_BYTES_MAX: Final = 16 * 1024
"""Most the child may say about itself; it says a few short lines."""

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
        process: subprocess.Popen[bytes] | None = None,
    ) -> Child:
        """Return the child that was started with these pipes."""
        return Child(
            pid=pid,
            handle=os.pidfd_open(pid),
            stdout=self.ours["stdout"],
            stderr=self.ours["stderr"],
            status=self.ours["status"],
            process=process,
        )

    def close(self, *, ours: bool) -> None:
        for ends in (self.theirs, self.ours) if ours else (self.theirs,):
            while ends:
                os.close(ends.popitem()[1])


def start(request: dict[str, Any], given: dict[str, int], ready: Ready | None) -> Child:
    """Start one child with ``request``, giving it descriptors by role.

    One that is ready has joined its control group. When it is gone, the child is
    started alone. Never waits: a child is either never started or returned.

    Raises:
        OSError: it could not be started.
    """
    adopt_orphans()
    if ready is not None:
        joined = {**request, "cgroup_procs": []}
        with contextlib.suppress(OSError):
            return _started(joined, given, ready)
    return _started(request, given, None)


def _started(
    request: dict[str, Any], given: dict[str, int], ready: Ready | None
) -> Child:
    pipes = _pipes({"parent": os.getpid(), **request})
    try:
        if ready is None:
            child = _started_alone(pipes, given)
        else:
            child = pipes.child(ready.give(pipes.theirs | given))
    except OSError:
        pipes.close(ours=True)
        raise
    pipes.close(ours=False)
    return child


def said(line: bytes) -> ChildSays:
    """Read one status line; what is none says nothing."""
    try:
        return msgspec.json.decode(line, type=ChildSays)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ChildSays()


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
    process = run_inside(
        "main",
        tuple(f"{role}={number}" for role, number in fds.items()),
        tuple(fds.values()),
        stdout=theirs["stdout"],
        stderr=theirs["stderr"],
    )
    return pipes.child(process.pid, process)
