"""Private files and directories that survive a power cut.

Rule: a file gets its final name only after its bytes are on the disk, and the name
counts only after its directory is too (Pillai et al., "All File Systems Are Not
Created Equal", OSDI 2014). Nothing made here is readable by other users, and no
symbolic link is followed at the last step of a path.
"""

import ctypes
import errno
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

PART_BYTES: Final = 1 << 20
"""Bytes read at once: enough that reading on costs nothing."""

SYNC_EACH_MAX: Final = 32
"""Files that are synced one by one. A thousand take 200 ms so, measured on ext4, and
13 ms with the file system as a whole; few take less, and wait for nobody else's."""

_SYNCFS: Final = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
"""Python has no name for it; Linux reports failed writes by it since 5.8."""

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def make_directory(path: Path) -> bool:
    """Make a private directory, and tell whether it was not there before."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
        return False
    return True


def write_new(path: Path, data: bytes | memoryview, *, mode: int = 0o600) -> None:
    """Write a file that does not exist yet; `sync_file` makes it durable.

    Raises:
        OSError: the file exists, or the disk is full or failing. A file that was
            begun is removed again.
    """
    file = os.open(path, _NEW, mode)
    try:
        write_all(file, data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)


def write_all(file: int, data: bytes | memoryview) -> None:
    """Write every byte; a disk that fills up half-way raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def read_parts(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a plain file in parts of at most `PART_BYTES`.

    Raises:
        OSError: it is a link, is not there or cannot be read.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        while part := os.read(file, PART_BYTES):
            yield part
    finally:
        os.close(file)


def sync_file(path: Path) -> None:
    """Wait until the bytes of a file are on the disk."""
    _sync(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    _sync(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)


def sync_all(files: Collection[Path], directories: Collection[Path] = ()) -> None:
    """Wait until some files' bytes, or some directories' names, are on the disk.

    All must lie on one file system. Many cost as much as one: beyond `SYNC_EACH_MAX`
    the whole file system is synced at once (syncfs(2)), where there is such a call.

    Raises:
        OSError: the disk is failing.
    """
    if len(files) + len(directories) > SYNC_EACH_MAX and _SYNCFS is not None:
        _sync_file_system(next(iter((*files, *directories))))
        return
    for path in files:
        sync_file(path)
    for path in directories:
        sync_directory(path)


def why(error: OSError) -> str:
    """Return what to tell a person about a failed disk operation."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full: free some space and try again"
    return error.strerror or str(error)


def _sync_file_system(path: Path) -> None:
    assert _SYNCFS is not None  # noqa: S101 - for the type checker
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if _SYNCFS(file):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(file)


def _sync(path: Path, flags: int) -> None:
    file = os.open(path, flags)
    try:
        os.fsync(file)
    finally:
        os.close(file)
