"""A process that has loaded the WebAssembly engine and forks one child per job.

Loading takes longer than most small jobs run; a fork of what is loaded takes a
millisecond. A forked child is handed to the node as its own: the process between
them ends at once, and the kernel gives the orphan to the node, its nearest
subreaper. So the node kills, reaps and outlives it just as if it had started it. This
process has one thread, holds no secret, and ends with the node.
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
from nunet_node.executors.inside.main import Descriptors, perform, tell

MESSAGE_BYTES_MAX: Final = 1024
"""Longest list of roles; there are six roles of a few letters."""
DESCRIPTORS_MAX: Final = 8
"""Most descriptors of one child: three streams, a request, a status, a filter."""
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
    while fds := _receive(channel):
        between = os.fork()
        if between == 0:
            channel.close()
            _hand_over(node, fds)
        for descriptor in fds.values():
            os.close(descriptor)
        os.waitpid(between, 0)
    os._exit(0)


def _receive(channel: socket.socket) -> Descriptors:
    space = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
    roles, ancillary, _, _ = channel.recvmsg(MESSAGE_BYTES_MAX, space)
    numbers = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content)
    return dict(zip(json.loads(roles or b"[]"), numbers, strict=True))


def _hand_over(node: int, fds: Descriptors) -> None:
    """Fork the child and end, so that the child becomes the node's."""
    between = os.getpid()
    if os.fork() != 0:
        os._exit(0)
    while os.getppid() == between:
        time.sleep(_ADOPTION_PAUSE_S)
    for role, place in (("stdout", 1), ("stderr", 2)):
        os.dup2(fds[role], place)
        os.close(fds[role])
    tell(fds["status"], {"pid": os.getpid()})
    if os.getppid() == node:
        perform(fds)
    os._exit(1)
