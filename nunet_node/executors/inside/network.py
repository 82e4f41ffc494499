"""Leave the host's network for an empty one, and hand its only door to the node.

Runs in the child that becomes a job's sandbox, while it is still our own code. The
socket that listens on the new network's loopback is given to the node, which serves
what the job connects to; a socket belongs to its network wherever it is used. The
sandbox then keeps this network instead of making one. Rule: any failure is raised, and
the job is not run. Source: network_namespaces(7), user_namespaces(7), netdevice(7).
"""

import fcntl
import os
import socket
import struct
from typing import Final

from nunet_node.executors.inside import confine

PROXY_HOST: Final = "127.0.0.1"
PROXY_PORT: Final = 3128
"""Where a job finds its proxy; nothing else is in its network."""
BACKLOG: Final = 16
"""Connections that wait to be accepted, as many as are served at once."""

_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1
_IFF_RUNNING: Final = 0x40


def leave_for(door: int, *, privileged: bool) -> None:
    """Enter an empty network, listen on its loopback, and send the socket to ``door``.

    A child that is not ``privileged`` gets there by a user namespace, in which it stays
    who it is; the sandbox's own lies within, so that the job has no say in either.

    Raises:
        OSError: a step was refused.
    """
    user, group = os.geteuid(), os.getegid()
    confine.leave_network(privileged=privileged)
    if not privileged:
        _stay(user, group)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as any_socket:
        up = struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_RUNNING)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, up)
    with (
        socket.create_server((PROXY_HOST, PROXY_PORT), backlog=BACKLOG) as listener,
        socket.socket(fileno=door) as desk,
    ):
        socket.send_fds(desk, [b"listening"], [listener.fileno()])


def _stay(user: int, group: int) -> None:
    """Be the same user and group in the new user namespace, and nobody else."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - no pathlib: start-up time
            file.write(text)
