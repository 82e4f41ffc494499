"""From a tree in the store to files on disk, all of them or none.

Rule: the target does not change before every block was read, checked and synced.
The tree is written into a private directory beside the target and takes its name in
one step; a writing that was killed leaves only a directory that says what it is, and
the next one to the same target removes it. The files are their owner's alone: results
are private until someone decides otherwise.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nunet_node.results.manifest import FileEntry, Tree
from nunet_node.results.paths import check_path
from nunet_node.results.plan import WantedBlock, check_block, chunk_sizes
from nunet_node.storage.errors import TargetRefusedError
from nunet_node.storage.files import sync_directory, why, write_all
from nunet_node.wire.cid import Cid

FLUSH_BYTES: Final = 8 << 20
"""Bytes after which the kernel is asked to begin writing them, so that the sync at the
end finds little to wait for."""

PARTS_MAX: Final = 64
"""Left directories that one writing removes, and tries at a new one; more come about
only where something kills every writing, and are removed by the next ones."""

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_PLAIN: Final = 0o600
_EXECUTABLE: Final = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file to be written: its path below the target, and its bytes in parts."""

    path: str
    executable: bool
    data: Iterable[bytes | memoryview]


def materialise(
    tree: Tree,
    get: Callable[[Cid], bytes],
    target: Path,
    *,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write a tree to the directory ``target``, durably and all at once.

    Args:
        tree: the files.
        get: returns a chunk's bytes, such as `BlockStore.get`; what it raises ends
            the writing.
        target: a directory that does not exist or is empty; its parents are made.
        beside: small files to put at the top of the tree, such as a receipt.

    Raises:
        TargetRefusedError: the target is taken or cannot be written; it is as it was.
        BlockError: ``get`` returned other bytes than those asked for.
        PathError: a name in ``beside``, or in a tree that nobody parsed, is not plain
            and relative.
    """
    files = (
        NewFile(
            path=file.path,
            executable=file.executable,
            data=_checked_chunks(file, get),
        )
        for file in tree.files
    )
    write_whole(files, target, beside=beside)


def write_whole(
    files: Iterable[NewFile],
    target: Path,
    *,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write files to the directory ``target``, durably and all at once.

    Args:
        files: what to write, in any order; what reading them raises ends the writing.
        target: a directory that does not exist or is empty; its parents are made.
        beside: small files to put at the top of the tree.

    Raises:
        TargetRefusedError: the target is taken or cannot be written; it is as it was.
        PathError: a name is not plain and relative.
    """
    target = target.absolute()
    check_target(target)
    with _whole(target) as root:
        for file in files:
            _write_file(root, file)
        for name, data in (beside or {}).items():
            check_path(name)
            _write_chunks(root / name, iter((data,)), _PLAIN)
        _sync_directories(root)


def check_target(target: Path) -> None:
    """Refuse a target that is not free; call it before a long transfer.

    Raises:
        TargetRefusedError: something is there, other than an empty directory, or
            nothing can be made there.
    """
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise TargetRefusedError(f"{target} is not a directory")
        if target.exists() and any(target.iterdir()):
            raise TargetRefusedError(f"{target} is not empty; name a new directory")
        check_place(target.absolute().parent)
    except OSError as error:
        raise TargetRefusedError(f"cannot read {target}: {why(error)}") from error


def check_place(place: Path) -> None:
    """Refuse a place in which no directory can be made.

    Raises:
        TargetRefusedError: it, or what is there of it, is no directory of ours.
    """
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise TargetRefusedError(f"{place} is not a directory")
    if not os.access(place, os.W_OK | os.X_OK):
        raise TargetRefusedError(f"cannot write to {place}; name another directory")


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Yield a directory beside the target, which becomes it if all goes well."""
    with passing(target) as root:
        try:
            yield root
            # Renaming over a directory succeeds only while that one is empty.
            root.rename(target)
            sync_directory(target.parent)
        except OSError as error:
            raise TargetRefusedError(f"cannot write {target}: {why(error)}") from error


@contextmanager
def passing(target: Path) -> Iterator[Path]:
    """Yield a new directory beside a target, which is gone afterwards.

    What one that was killed left there for the same target goes first.

    Raises:
        TargetRefusedError: none can be made there.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(target)
        root, held = _new_part(target)
    except OSError as error:
        raise TargetRefusedError(f"cannot make {target}: {why(error)}") from error
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)
        os.close(held)


def _prefix(target: Path) -> str:
    return f".{target.name}.part-"


def _new_part(target: Path) -> tuple[Path, int]:
    """Return a new directory, and what keeps others from removing it until closed."""
    for _ in range(PARTS_MAX):
        root = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
        # Another writing may take it for a left one before it is locked.
        with contextlib.suppress(FileNotFoundError):
            held = _open_directory(root)
            if _is_locked(held) is not False and root.exists():
                return root, held
            os.close(held)
    raise BlockingIOError(f"others remove what is made beside {target}")


def _remove_left(target: Path) -> None:
    """Remove what writings that were killed left; those that go on keep theirs."""
    names: list[str] = []
    # Where one may write and not look, everything stays as it is.
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        prefix = _prefix(target)
        names = sorted(each.name for each in entries if each.name.startswith(prefix))
    for name in names[:PARTS_MAX]:
        # What cannot be opened is not ours, or a link; what is locked is not left.
        with contextlib.suppress(OSError):
            held = _open_directory(target.parent / name)
            try:
                if _is_locked(held) and os.fstat(held).st_uid == os.geteuid():
                    shutil.rmtree(target.parent / name, ignore_errors=True)
            finally:
                os.close(held)


def _open_directory(path: Path) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags)


def _is_locked(directory: int) -> bool | None:
    """Lock an open directory until it is closed, in whatever way (flock(2)).

    Returns:
        Whether it is ours now; None where the file system has no locks.
    """
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _write_file(root: Path, file: NewFile) -> None:
    # Parsing has done this; here a mistake made elsewhere would do its harm.
    check_path(file.path)
    path = root / file.path
    # mkdir applies its mode to the last directory only; the root is private, so
    # that the others need not be.
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = _EXECUTABLE if file.executable else _PLAIN
    _write_chunks(path, file.data, mode)


def _checked_chunks(file: FileEntry, get: Callable[[Cid], bytes]) -> Iterator[bytes]:
    for cid, size_bytes in chunk_sizes(file):
        data = get(cid)
        check_block(WantedBlock(cid=cid, size_bytes=size_bytes), data)
        yield data


def _write_chunks(path: Path, chunks: Iterable[bytes | memoryview], mode: int) -> None:
    file = os.open(path, _NEW, mode)
    try:
        begun = written = 0
        for data in chunks:
            write_all(file, data)
            written += len(data)
            if written - begun >= FLUSH_BYTES:
                # What is not written yet cannot be dropped: this begins to write it.
                flags = os.POSIX_FADV_DONTNEED
                os.posix_fadvise(file, begun, written - begun, flags)
                begun = written
        if written:
            # Of an empty one there is the name alone, which its directory keeps.
            os.fsync(file)
    finally:
        os.close(file)


def _sync_directories(root: Path) -> None:
    for directory, _, _ in os.walk(root):
        sync_directory(Path(directory))
