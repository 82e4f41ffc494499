"""Writing a stranger's root file system below one directory, and nowhere else.

Rule: every step of a path is opened by descriptor without following a link, so
neither ``..`` nor a planted link leads outside. Links are written as they are: they
mean something only inside the box. Devices, sockets and pipes are left out; nobody's
set-user-id bit survives. Whiteouts follow the OCI image layer specification.
"""

import contextlib
import os
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nunet_node.executors.images.archive import ImageError

UNPACKED_BYTES_MAX: Final = 4 << 30
"""Largest root file system; a few bytes of a compressed tar can make terabytes."""
ENTRIES_MAX: Final = 300_000
"""Most files, directories and links; a whole desktop system has fewer."""
DEPTH_MAX: Final = 64
"""Deepest directory; real systems stay below thirty."""
PIECE_BYTES: Final = 1 << 20
MOUNT_POINTS: Final = ("proc", "dev", "tmp", "job")
"""Directories that the box mounts over, which therefore must be real ones."""
RUN: Final = "run"
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(slots=True, kw_only=True)
class _Room:
    """What may still be written."""

    size_bytes: int = UNPACKED_BYTES_MAX
    entries: int = ENTRIES_MAX

    def take(self, size_bytes: int) -> None:
        """Take room for one entry.

        Raises:
            ImageError: there is none left.
        """
        self.size_bytes -= size_bytes
        self.entries -= 1
        if self.size_bytes < 0 or self.entries < 0:
            raise ImageError(
                f"the image unpacks to more than {UNPACKED_BYTES_MAX} bytes or "
                f"{ENTRIES_MAX} entries"
            )


def unpack(layers: Iterable[tarfile.TarFile], target: Path) -> None:
    """Write layers over each other into the empty directory ``target``. Blocks.

    Raises:
        ImageError: a path leaves the root, or there is too much of it.
        OSError: the disk is full.
    """
    room = _Room()
    root = os.open(target, _FOLDER)
    try:
        for layer in layers:
            for member in layer:
                _write(root, layer, member, room)
        _make_mount_points(root)
    finally:
        os.close(root)


def _write(
    root: int, layer: tarfile.TarFile, member: tarfile.TarInfo, room: _Room
) -> None:
    room.take(member.size if member.isreg() else 0)
    *folders, name = _parts(member.name) or [""]
    if not name:
        return
    with contextlib.ExitStack() as stack:
        folder = _opened(root, folders, stack)
        if name == _OPAQUE:
            _empty(folder)
        elif name.startswith(_WHITEOUT):
            _remove(folder, name.removeprefix(_WHITEOUT))
        else:
            _write_entry(root, folder, name, layer, member)


def _write_entry(
    root: int, folder: int, name: str, layer: tarfile.TarFile, member: tarfile.TarInfo
) -> None:
    if member.isdir():
        _make_folder(folder, name)
        return
    if not (member.isreg() or member.issym() or member.islnk()):
        return
    _remove(folder, name)
    if member.issym():
        os.symlink(member.linkname, name, dir_fd=folder)
    elif member.islnk():
        _link(root, folder, name, member.linkname)
    else:
        _write_file(folder, name, layer, member)


def _write_file(
    folder: int, name: str, layer: tarfile.TarFile, member: tarfile.TarInfo
) -> None:
    source = layer.extractfile(member)
    if source is None:
        raise ImageError(f"the image's {member.name[:200]} has no content")
    # The job runs as another user and has to read what its image holds.
    mode = 0o755 if member.mode & 0o111 else 0o644
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as target:
        shutil.copyfileobj(source, target, PIECE_BYTES)
        os.fchmod(target.fileno(), mode)


def _link(root: int, folder: int, name: str, linkname: str) -> None:
    *folders, other = _parts(linkname) or [""]
    with contextlib.ExitStack() as stack:
        there = _opened(root, folders, stack)
        try:
            os.link(
                other,
                name,
                src_dir_fd=there,
                dst_dir_fd=folder,
                follow_symlinks=False,
            )
        except FileNotFoundError:
            other = linkname[:200]
            raise ImageError(f"a link to {other}, which is not there") from None


def _opened(root: int, folders: list[str], stack: contextlib.ExitStack) -> int:
    """Open a directory below the root, making what is missing."""
    current = root
    for name in folders:
        _make_folder(current, name)
        current = os.open(name, _FOLDER, dir_fd=current)
        stack.callback(os.close, current)
    return current


def _make_folder(folder: int, name: str) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        try:
            os.close(os.open(name, _FOLDER, dir_fd=folder))
        except OSError:
            raise ImageError(f"{name[:200]} is both a directory and not") from None


def _remove(folder: int, name: str) -> None:
    """Remove an entry of a lower layer, whatever it is."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        shutil.rmtree(name, dir_fd=folder)


def _empty(folder: int) -> None:
    for name in os.listdir(folder):
        _remove(folder, name)


def _make_mount_points(root: int) -> None:
    for name in MOUNT_POINTS:
        _make_folder(root, name)
    # Mounted over only where a job has secrets: an image in which it is something
    # else serves every other job.
    with contextlib.suppress(ImageError):
        _make_folder(root, RUN)


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts or len(parts) > DEPTH_MAX or any("\0" in part for part in parts):
        raise ImageError(f"{path[:200]!r} leaves the image, or is too deep")
    return parts
