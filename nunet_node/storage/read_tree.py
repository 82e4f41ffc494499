"""From files on disk to a tree in the store.

Rule: only plain files and directories are read, and never through a symbolic link:
each name is opened inside its already open directory and looked at after it is open
(CWE-59, CWE-367), so that a job that swaps a name meanwhile gains nothing. One chunk
is in memory at a time, and the limits hold before a byte is read.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from nunet_node.results.errors import PathError
from nunet_node.results.manifest import (
    FILE_BYTES_MAX,
    TREE_FILES_MAX,
    BuiltTree,
    FileEntry,
    TreeLimits,
    build,
)
from nunet_node.results.paths import check_path
from nunet_node.storage.batch import Batch
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import TreeRefusedError
from nunet_node.storage.files import why

SKIPPED_NAMES_MAX: Final = 100
"""Refused names that are reported when refused entries are passed over; a job can
make a million of them."""

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Not blocking, because opening a pipe would wait for its writer."""

ENTRIES_MAX: Final = 4 * TREE_FILES_MAX
"""Names looked at in one reading: empty directories and refused entries count in no
manifest, and a job can make millions of them."""

_REFUSALS: Final = {
    errno.ELOOP: "is a symbolic link; links are not carried, name the file itself",
    errno.ENXIO: "is no plain file or directory",
    errno.EACCES: "may not be read",
    errno.ENOENT: "is not there",
}
"""What makes one entry unfit; any other failure stops the whole reading, so that a
shortage of our own never passes for a smaller tree."""

_ANY_EXECUTE: Final = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file or directory to read, and its path in the tree.

    ``dest`` is empty for a directory whose contents are to be the tree's top level.
    """

    path: Path
    dest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTree:
    """A stored tree, and why entries were passed over, at most `SKIPPED_NAMES_MAX`."""

    built: BuiltTree
    skipped: tuple[str, ...]


def read_tree(
    store: BlockStore,
    sources: Sequence[Source],
    *,
    limits: TreeLimits | None = None,
    skip_refused: bool = False,
) -> ReadTree:
    """Store files and directories durably as one tree, its manifest included.

    Args:
        store: where the chunks and the manifest go.
        sources: what to read.
        limits: how many files and bytes may be read.
        skip_refused: pass over links, devices and names that no tree takes, rather
            than refuse the whole; for what a job left behind.

    Raises:
        TreeRefusedError: an entry is refused, is missing or cannot be read, or the
            limits are exceeded.
        ManifestError: two sources put a file at one path.
        StoreUnavailableError: the disk is full, read-only or failing.
    """
    with store.batch() as batch:
        reader = _Reader(
            batch=batch, limits=limits or TreeLimits(), skip_refused=skip_refused
        )
        for source in sources:
            reader.add_source(source)
        built = build(reader.files)
        for cid, data in built.blocks:
            batch.put(data, cid)
    return ReadTree(built=built, skipped=tuple(reader.skipped))


@dataclass(slots=True, kw_only=True)
class _Reader:
    batch: Batch
    limits: TreeLimits
    skip_refused: bool
    files: list[FileEntry] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    bytes_read: int = 0
    entries: int = 0

    def add_source(self, source: Source) -> None:
        with _opened(str(source.path), None) as file:
            if source.dest or not stat.S_ISDIR(os.fstat(file).st_mode):
                self._add(file, source.dest or source.path.name, str(source.path))
            else:
                self._add_directory(file, "", str(source.path))

    def _add(self, file: int, dest: str, shown: str) -> None:
        try:
            check_path(dest)
        except PathError as error:
            raise _EntryRefusedError(f"{shown!a} is refused: {error}") from None
        status = os.fstat(file)
        if stat.S_ISDIR(status.st_mode):
            self._add_directory(file, dest, shown)
        elif stat.S_ISREG(status.st_mode):
            self._add_file(file, status, dest, shown)
        else:
            raise _EntryRefusedError(f"{shown!a} is no plain file or directory")

    def _add_directory(self, directory: int, dest: str, shown: str) -> None:
        for name in self._names(directory, shown):
            inner = f"{dest}/{name}" if dest else name
            try:
                with _opened(name, directory, f"{shown}/{name}") as file:
                    self._add(file, inner, f"{shown}/{name}")
            except _EntryRefusedError as error:
                if not self.skip_refused:
                    raise
                if len(self.skipped) < SKIPPED_NAMES_MAX:
                    self.skipped.append(str(error))

    def _names(self, directory: int, shown: str) -> list[str]:
        room = ENTRIES_MAX - self.entries
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in islice(entries, room + 1))
        if len(names) > room:
            raise TreeRefusedError(f"{shown!a} has more than {ENTRIES_MAX} entries")
        self.entries += len(names)
        return names

    def _add_file(
        self, file: int, status: os.stat_result, dest: str, shown: str
    ) -> None:
        room_bytes = min(self.limits.bytes_max - self.bytes_read, FILE_BYTES_MAX)
        if status.st_size > room_bytes or len(self.files) == self.limits.files_max:
            raise TreeRefusedError(
                f"{shown!a} does not fit: {self.limits.files_max} files and "
                f"{self.limits.bytes_max} bytes are allowed, and {FILE_BYTES_MAX} in "
                "one file"
            )
        stored = self.batch.add_file(file, bytes_max=room_bytes)
        self.bytes_read += stored.size_bytes
        self.files.append(
            FileEntry(
                path=dest,
                size_bytes=stored.size_bytes,
                executable=bool(status.st_mode & _ANY_EXECUTE),
                chunks=stored.chunks,
            )
        )


class _EntryRefusedError(TreeRefusedError):
    """One entry cannot be carried; the rest of the tree can."""


@contextmanager
def _opened(name: str, directory: int | None, shown: str = "") -> Iterator[int]:
    shown = shown or name
    try:
        file = os.open(name, _READ, dir_fd=directory)
    except OSError as error:
        if error.errno in _REFUSALS:
            refusal = _REFUSALS[error.errno]
            raise _EntryRefusedError(f"{shown!a} {refusal}") from None
        raise TreeRefusedError(f"cannot open {shown!a}: {why(error)}") from error
    try:
        yield file
    except OSError as error:
        raise TreeRefusedError(f"cannot read {shown!a}: {why(error)}") from error
    finally:
        os.close(file)
