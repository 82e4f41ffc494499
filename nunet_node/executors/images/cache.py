"""Unpacked images, kept under the hash of the file they came from.

Rule: what is unpacked is never written again, so that jobs can share it read-only.
The longest unused goes first when there is too much, but none that a job runs on: a
shared lock says so. A rename publishes, so a killed node leaves no half an image.
"""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final

from nunet_node.executors.images.child import unpack_apart
from nunet_node.executors.jobdir import remove_tree

KEPT_BYTES_MAX: Final = 8 << 30
"""Most unpacked images kept: two of the largest."""
_STAGING: Final = "unpacking-"


class ImageCache:
    """The unpacked images of one node."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which the users of jobs can pass through."""
        self._folder = folder

    @contextlib.contextmanager
    def root_of(self, source: BufferedReader) -> Iterator[Path]:
        """Give the unpacked root of an image file, and keep it as long. Blocks.

        Raises:
            ImageError: it is no image, or too large.
            OSError: the disk is full.
        """
        self._folder.mkdir(mode=0o711, exist_ok=True)
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        place = self._folder / digest
        if not place.exists():
            self._unpack(source.fileno(), place)
        lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            os.utime(place)
            self._trim()
            yield place / "root"
        finally:
            os.close(lock)

    def _unpack(self, source: int, place: Path) -> None:
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self._folder))
        try:
            (staging / "root").mkdir()
            staging.chmod(0o755)
            unpack_apart(source, staging / "root")
            size_bytes = sum(
                (Path(folder) / name).lstat().st_blocks * 512
                for folder, _, names in os.walk(staging)
                for name in names
            )
            (staging / "size").write_text(str(size_bytes))
            staging.rename(place)
        except BaseException:
            remove_tree(staging)
            raise

    def _trim(self) -> None:
        kept = sorted(self._folder.glob("[0-9a-f]*"), key=lambda at: at.stat().st_mtime)
        total = sum(_size_bytes(place) for place in kept)
        for place in kept:
            if total <= KEPT_BYTES_MAX:
                return
            size_bytes = _size_bytes(place)
            if _removed(place):
                total -= size_bytes


def _size_bytes(place: Path) -> int:
    try:
        return int((place / "size").read_text())
    except (OSError, ValueError):
        return 0


def _removed(place: Path) -> bool:
    """Remove an image unless a job runs on it."""
    lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        remove_tree(place)
        return True
    finally:
        os.close(lock)
