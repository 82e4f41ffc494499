"""Whose a local TCP connection is: the process that holds its socket.

The proxy has to know who dials, to give each pair of nodes its own delay, and on
loopback every address is the same. On Linux one look at the table of connections and
at the descriptors of our children tells; elsewhere psutil asks each child.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_TABLE = Path("/proc/net/tcp")


def holder_of(port: int, pids: Iterable[int]) -> int | None:
    """Return which of these processes holds the connection from this local port."""
    if not _TABLE.exists():
        return next((pid for pid in pids if _holds(pid, port)), None)
    inode = _inode_of(port)
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    return next((pid for pid in pids if wanted in _descriptors(pid)), None)


def _inode_of(port: int) -> str | None:
    """Return the inode of the socket bound there that does not listen."""
    ending = f":{port:04X}"
    with _TABLE.open(encoding="ascii") as table:
        for line in table:
            words = line.split(maxsplit=10)
            if words[1].endswith(ending) and words[3] != "0A":
                return words[9]
    return None


def _descriptors(pid: int) -> set[str]:
    found = set[str]()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(entry.readlink()))
    return found


def _holds(pid: int, port: int) -> bool:
    try:
        held = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(each.laddr[1:] == (port,) for each in held)
