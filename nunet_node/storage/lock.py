"""One process at a time on one home directory.

Rule: the lock lives as long as the open file does, so that the kernel frees it when
its holder dies in whatever way (flock(2)); the process id in the file is for the
message only and decides nothing.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nunet_node.storage.errors import HomeInUseError

_PID_BYTES_MAX: Final = 20
"""Enough for any process id; the rest of a damaged lock file is not read."""


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file at ``path`` for the length of the block.

    Raises:
        HomeInUseError: another process, or another caller in this one, holds it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(path, flags, 0o600)
    try:
        _take(file, path)
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        # The file stays: removing it would let two processes lock two files of the
        # same name.
        os.close(file)


def _take(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, _PID_BYTES_MAX, 0)
        pid = holder.decode() if holder.isdigit() else "unknown"
        raise HomeInUseError(
            f"another nunet-node is already running on this home (pid {pid}): {path}"
        ) from None
