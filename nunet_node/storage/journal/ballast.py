"""Room on the disk that is kept for the moment when there is none left.

Rule: while the disk has room the ballast takes some of it; when the journal can no
longer write, the ballast is let go, so that a full disk can still be recorded, and
jobs can still be cancelled and ended, although nothing new is begun.
"""

import os
from pathlib import Path
from typing import Final

from nunet_node.storage.files import sync_file

BALLAST_BYTES: Final = 16 << 20
"""Some ten thousand facts about the ends of jobs, with SQLite's log beside them."""


class Ballast:
    """The file at ``path``; `hold` it while all is well."""

    def __init__(self, path: Path, *, size_bytes: int = BALLAST_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes

    def hold(self) -> bool:
        """Take the room, and tell whether there was that much.

        Cheap when it is held already, so that it can be tried again and again.
        """
        try:
            if self._path.stat().st_size == self._size_bytes:
                return True
        except OSError:
            pass
        return self._allocate()

    def let_go(self) -> bool:
        """Give the room back, and tell whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _allocate(self) -> bool:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            file = os.open(self._path, flags, 0o600)
            try:
                # Allocated and not merely long: a hole would hold no room.
                os.posix_fallocate(file, 0, self._size_bytes)
            finally:
                os.close(file)
            sync_file(self._path)
        except OSError:
            self.let_go()
            return False
        return True
