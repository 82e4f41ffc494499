"""Whose a scratch directory outside the home is, and taking away what nobody's is.

Rule: whoever uses such a directory holds its lock, which the kernel frees when its
holder dies in whatever way (flock(2)); so what can be locked alone is certainly dead.
Only root has its jobs outside the home, because their users may not enter there; a
scratch directory inside the home is swept with the home.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nunet_node.executors import jobdir
from nunet_node.runtime.home import Home, HomeError

LOCK_NAME: Final = "in-use.lock"

TRIES_MAX: Final = 8
"""How often a directory may be taken away before its lock is held: each time another
node has to start at this very moment."""

_NAME: Final = re.compile(r"nunet-node-[0-9a-f]{16}")


@contextlib.contextmanager
def held_scratch(home: Home) -> Iterator[Path]:
    """Hold the directory in which a home's jobs run, for as long as the block.

    Afterwards one outside the home is removed, unless somebody else holds it, too.

    Raises:
        HomeError: the directory is somebody else's.
    """
    scratch = home.scratch()
    if scratch.parent == home.path:
        yield scratch
        return
    lock = _hold(home)
    try:
        yield scratch
    finally:
        os.close(lock)
        _drop(scratch)


def sweep_others(scratch: Path) -> int:
    """Remove what killed nodes of other homes left beside this; return how many.

    Blocks as long as deleting takes.
    """
    if _NAME.fullmatch(scratch.name) is None:
        return 0
    beside = (p for p in scratch.parent.iterdir() if _NAME.fullmatch(p.name))
    return sum(_drop(path) for path in beside if path != scratch and _is_ours(path))


def _hold(home: Home) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    for _ in range(TRIES_MAX):
        try:
            lock = os.open(home.scratch() / LOCK_NAME, flags, 0o600)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_SH)
        # Whoever took the directory away while we waited took the lock along.
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)
    raise HomeError(f"{home.scratch()} is taken away again and again")


def _drop(scratch: Path) -> bool:
    """Remove a directory that nobody holds; tell whether it is gone.

    One without a lock is nobody's yet, and one with more in it than jobs stays.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        lock = os.open(scratch / LOCK_NAME, flags)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        jobdir.sweep(scratch)
        if [each.name for each in scratch.iterdir()] != [LOCK_NAME]:
            return False
        (scratch / LOCK_NAME).unlink()
        scratch.rmdir()
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _is_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        # Its own node has just taken it away.
        return False
    return path.is_dir() and not path.is_symlink() and found.st_uid == os.geteuid()
