"""A process that has loaded the WebAssembly engine and forks one child per job.

Loading takes longer than most small jobs run; a fork of what is loaded takes a
millisecond. A forked child is the node's own from its first moment: the kernel is
asked for a sibling (CLONE_PARENT in clone(2)). Where that cannot be, a process between
them ends at once, and the kernel gives the orphan to the node, its nearest subreaper.
So the node kills, reaps and outlives it just as if it had started it. The child makes
its control group and joins it, which takes the kernel many milliseconds, and waits at
its desk, a socket, for the one job that it is for. This process has one thread, holds
no secret, and ends with the node.
"""

import array
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import time
from typing import Final

from nunet_node.executors.inside import confine
from nunet_node.executors.inside.main import perform

MESSAGE_BYTES_MAX: Final = 32 << 10
"""Longest message: four paths of at most 4 KiB, which JSON may double."""
DESCRIPTORS_MAX: Final = 8
"""Most descriptors of one child: three streams, a request, a status, a filter and a
door."""
_ADOPTION_PAUSE_S: Final = 0.0002
_CLONE_PARENT: Final = 0x8000
_CLONE: Final = {"x86_64": 56, "aarch64": 220}
"""The number of clone(2); no library has a call that makes a sibling by copying."""

_libc = ctypes.PyDLL(None)
"""Its calls keep the interpreter's lock, which a copy could not get back."""


def main() -> None:
    """Serve fork requests on the socket in ``argv`` until the node closes it."""
    node, channel = int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    confine.die_with(node)
    # Loaded before the first fork, and so shared by every child.
    from nunet_node.executors.inside import wasm  # noqa: PLC0415

    wasm.load()
    gc.collect()
    gc.freeze()
    while received := _receive(channel):
        places, descriptors = received
        sibling = _sibling()
        between = os.fork() if sibling < 0 else None
        if 0 in {sibling, between}:
            channel.close()
            _begin(node, places, descriptors[0], is_orphan=sibling < 0)
        for descriptor in descriptors:
            os.close(descriptor)
        if between is not None:
            os.waitpid(between, 0)
    os._exit(0)


def _sibling() -> int:
    """Copy this process into a child of the node: 0 in the copy, below 0 if refused.

    What Python and libc do after a fork is for other threads and for a cached number
    of the process; here is one thread, and nobody keeps the number.
    """
    number = _CLONE.get(os.uname().machine)
    if number is None:
        return -1
    words = (number, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    pid: int = _libc.syscall(*map(ctypes.c_ulong, words))
    return pid


def _receive(channel: socket.socket) -> tuple[list[str], list[int]] | None:
    """Return the words and descriptors of one message; None at the end."""
    space = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
    words, ancillary, _, _ = channel.recvmsg(MESSAGE_BYTES_MAX, space)
    numbers = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content)
    return (json.loads(words), list(numbers)) if words else None


def _begin(node: int, places: list[str], desk: int, *, is_orphan: bool) -> None:
    """Be the node's child, by way of an orphan if need be; does not return."""
    try:
        if is_orphan:
            _become_orphan()
        _wait_at(socket.socket(fileno=desk), node, places)
    finally:
        os._exit(1)


def _become_orphan() -> None:
    """Fork and end, so that the copy becomes the node's."""
    between = os.getpid()
    if os.fork() != 0:
        os._exit(0)
    while os.getppid() == between:
        time.sleep(_ADOPTION_PAUSE_S)


def _wait_at(desk: socket.socket, node: int, places: list[str]) -> None:
    """Make and join the groups, say so, and wait for the one job that this is for."""
    confine.die_with(node)
    made = confine.made_cgroups(places)
    if made:
        confine.join_cgroups([f"{place}/cgroup.procs" for place in places])
    desk.send(f"{os.getpid()} {int(made)}".encode())
    received = _receive(desk)
    if received is None:
        os._exit(0)
    desk.close()
    fds = dict(zip(*received, strict=True))
    for role, place in (("stdout", 1), ("stderr", 2)):
        os.dup2(fds[role], place)
        os.close(fds[role])
    perform(fds)
