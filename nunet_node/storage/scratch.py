"""A directory for half-written files, one for each process that writes.

Rule: what a crash leaves behind is removed by the next process, and what a living
process is writing never is. Each scratch directory is locked by its owner (flock(2)
on the directory itself), so that whoever can take the lock knows the owner is gone.
"""

import fcntl
import os
import shutil
import tempfile
from itertools import count
from pathlib import Path


class Scratch:
    """This process's scratch directory under ``parent``; `close` removes it."""

    def __init__(self, parent: Path) -> None:
        _sweep(parent)
        self._path, self._lock = _claim(parent)
        self._numbers = count()

    def fresh(self) -> Path:
        """Return a path that no file has; safe to call from several threads."""
        return self._path / str(next(self._numbers))

    def close(self) -> None:
        """Remove the directory with everything left in it."""
        shutil.rmtree(self._path, ignore_errors=True)
        os.close(self._lock)


def _claim(parent: Path) -> tuple[Path, int]:
    # A sweeper may take a new directory for an abandoned one in the moment before
    # it is locked; then another one is made.
    while True:
        path = Path(tempfile.mkdtemp(prefix="w", dir=parent))
        lock = _lock(path)
        if lock is not None and path.exists():
            return path, lock
        if lock is not None:
            os.close(lock)


def _sweep(parent: Path) -> None:
    for path in parent.iterdir():
        lock = _lock(path)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _lock(path: Path) -> int | None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        directory = os.open(path, flags)
    except OSError:
        return None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(directory)
        return None
    return directory
