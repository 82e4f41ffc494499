"""What processes hold that no name and no resident size shows.

Files that were deleted, files that were sent over a socket and not received, memory
that only processes share, and what waits in sockets. Rule: every thread is looked at,
because each can have descriptors of its own and the first can end before the others;
what cannot be measured may be little, and for a short time only. Source: proc(5),
unix(7), clone(2).
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

NAMELESS_MAPPED_MAX: Final = 8
"""Most files of a tree that are mapped, but neither named nor open any more: their
size cannot be seen, only that each keeps to the limit on one file."""
SHARED_MAX: Final = 8
"""Most pieces of memory that processes share and no descriptor shows: of each only the
part that is still mapped can be seen, and each keeps to the limit on addresses."""
IN_FLIGHT_LOOKS_MAX: Final = 40
"""Most looks in a row at which descriptors are on their way, seen by nobody: a busy
receiver takes a moment, not two seconds."""
UNIX_SOCKETS_FREE: Final = 64
"""Sockets of one machine that count nothing; few programs have nearly as many."""
UNIX_SOCKET_BYTES: Final = 208 << 10
"""What each of the others counts: the kernel tells no size, and lets so much wait in
one by default. Source: socket(7), wmem_default."""

_BLOCK_BYTES: Final = 512
_QUEUED: Final = ("tcp", "tcp6", "udp", "udp6")
_SHARED: Final = ("/dev/zero (deleted)", "/memfd:", "/SYSV")

_File = tuple[int, int]
"""Device and inode."""


@dataclass(slots=True, kw_only=True)
class Flight:
    """For how long something of a tree has been on its way without a break."""

    looks: int = 0

    def too_long(self, in_flight: int) -> bool:
        """Take in one look; tell whether this has gone on for too long."""
        self.looks = self.looks + 1 if in_flight else 0
        return self.looks > IN_FLIGHT_LOOKS_MAX


@dataclass(slots=True, kw_only=True)
class Holdings:
    """What was found of one tree; add all its threads, then read the sums."""

    device: int
    """Where the job's own files lie."""
    unlinked_bytes: int = 0
    """In files there without a name."""
    in_flight: int = 0
    """Descriptors that wait in sockets."""
    closed: bool = False
    """Whether a process has made itself unreadable."""
    _seen: dict[_File, int] = field(default_factory=dict)
    _sockets: set[int] = field(default_factory=set)
    _mapped: set[_File] = field(default_factory=set)
    _shared: dict[_File, int] = field(default_factory=dict)

    @property
    def hides_files(self) -> bool:
        """Whether more is hidden than can be let pass."""
        unseen = len(self._mapped - self._seen.keys())
        return self.closed or unseen > NAMELESS_MAPPED_MAX

    @property
    def hides_memory(self) -> bool:
        """Whether more is hidden than can be let pass."""
        return len(self._shared.keys() - self._seen.keys()) > SHARED_MAX

    @property
    def memory_bytes(self) -> int:
        """What is in files of memory, and in memory that processes share."""
        elsewhere = {k: v for k, v in self._seen.items() if k[0] != self.device}
        return sum((self._shared | elsewhere).values())

    def add_descriptors(self, thread: str) -> None:
        """Take in what one thread, a directory in /proc, has open."""
        try:
            numbers = os.listdir(f"{thread}/fd")  # noqa: PTH208 - hot
        except PermissionError:
            # A thread that ends is closed to us and has no memory any more; one that
            # has some has made itself unreadable.
            self.closed = self.closed or has_memory(thread)
            return
        except OSError:
            return
        for number in numbers:
            try:
                held = os.stat(f"{thread}/fd/{number}")  # noqa: PTH116 - hot
            except OSError:
                continue
            if stat.S_ISSOCK(held.st_mode):
                self._add_socket(thread, number, held.st_ino)
            elif stat.S_ISREG(held.st_mode) and held.st_nlink == 0:
                self._add_file((held.st_dev, held.st_ino), held.st_blocks)

    def add_mappings(self, thread: str) -> None:
        """Take in what the process of a living thread has mapped."""
        # The job chooses names: nothing but the kernel's line feed ends a line.
        for line in read(f"{thread}/maps").split("\n"):
            if not line.endswith("(deleted)"):
                continue
            extent, mode, offset, device, inode, name = line.split(None, 5)
            major, _, minor = device.partition(":")
            key = (os.makedev(int(major, 16), int(minor, 16)), int(inode))
            if key[0] == self.device:
                self._mapped.add(key)
            elif mode.endswith("s") and name.startswith(_SHARED):
                first, _, end = extent.partition("-")
                reach = int(offset, 16) + int(end, 16) - int(first, 16)
                self._shared[key] = max(self._shared.get(key, 0), reach)

    def _add_file(self, key: _File, blocks: int) -> None:
        if key not in self._seen and key[0] == self.device:
            self.unlinked_bytes += blocks * _BLOCK_BYTES
        self._seen[key] = blocks * _BLOCK_BYTES

    def _add_socket(self, thread: str, number: str, inode: int) -> None:
        if inode in self._sockets:
            return
        self._sockets.add(inode)
        for line in read(f"{thread}/fdinfo/{number}").splitlines():
            if line.startswith("scm_fds:"):
                self.in_flight += int(line.split()[1])


def queued_bytes(pids: list[int]) -> int:
    """Return what waits in the sockets of a box, whoever of it they belong to.

    Processes in the network of this one count nothing: they have no socket.
    """
    own = _network("self")
    boxed = next((pid for pid in pids if _network(str(pid)) not in {"", own}), None)
    if boxed is None:
        return 0
    waiting = sum(_waiting(f"/proc/{boxed}/net/{name}") for name in _QUEUED)
    local = len(read(f"/proc/{boxed}/net/unix").splitlines()) - 1
    return waiting + max(0, local - UNIX_SOCKETS_FREE) * UNIX_SOCKET_BYTES


def threads(pid: int) -> list[str]:
    """Return the directories of a process's threads; none when it is gone."""
    folder = f"/proc/{pid}/task"
    try:
        return [f"{folder}/{thread}" for thread in os.listdir(folder)]  # noqa: PTH208 - hot
    except OSError:
        return []


def has_memory(thread: str) -> bool:
    """Tell whether a thread lives; one that has ended has no memory any more."""
    return read(f"{thread}/statm").split()[:1] not in ([], ["0"])


def read(path: str) -> str:
    """Return a file of /proc; nothing once its process is gone."""
    try:
        with open(  # noqa: PTH123 - hot
            path, encoding="utf-8", errors="replace", newline="\n"
        ) as source:
            return source.read()
    except OSError:
        return ""


def _network(pid: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def _waiting(table: str) -> int:
    return sum(_both(line.split()[4]) for line in _rows(table))


def _rows(table: str) -> Iterator[str]:
    yield from read(table).splitlines()[1:]


def _both(queues: str) -> int:
    sent, _, received = queues.partition(":")
    return int(sent, 16) + int(received, 16)
