"""A process that has loaded the WebAssembly engine and forks one child per job.

Loading takes longer than most small jobs run; a fork of what is loaded takes a
millisecond. A forked child is handed to the node as its own: the process between
them ends at once, and the kernel gives the orphan to the node, its nearest
subreaper. So the node kills, reaps and outlives it just as if it had started it. The
child joins its control group, which takes the kernel many milliseconds, and waits at
its desk, a socket, for the one job that it is for. This process has one thread, holds
no secret, and ends with the node.
"""

import array
import gc
import json
import os
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
        groups, descriptors = received
        between = os.fork()
        if between == 0:
            channel.close()
            _hand_over(node, groups, socket.socket(fileno=descriptors[0]))
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(between, 0)
    os._exit(0)


def _receive(channel: socket.socket) -> tuple[list[str], list[int]] | None:
    """Return the words and descriptors of one message; None at the end."""
    space = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
    words, ancillary, _, _ = channel.recvmsg(MESSAGE_BYTES_MAX, space)
    numbers = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content)
    return (json.loads(words), list(numbers)) if words else None


def _hand_over(node: int, groups: list[str], desk: socket.socket) -> None:
    """Fork the child and end, so that the child becomes the node's."""
    between = os.getpid()
    if os.fork() != 0:
        os._exit(0)
    while os.getppid() == between:
        time.sleep(_ADOPTION_PAUSE_S)
    try:
        _wait_at(desk, node, groups)
    finally:
        os._exit(1)


def _wait_at(desk: socket.socket, node: int, groups: list[str]) -> None:
    """Join the groups, say so, and wait for the one job that this child is for."""
    confine.die_with(node)
    confine.join_cgroups(groups)
    desk.send(str(os.getpid()).encode())
    received = _receive(desk)
    if received is None:
        os._exit(0)
    desk.close()
    fds = dict(zip(*received, strict=True))
    for role, place in (("stdout", 1), ("stderr", 2)):
        os.dup2(fds[role], place)
        os.close(fds[role])
    perform(fds)
