"""A note, beside the journal, of how far it was acknowledged.

SQLite takes a damaged end of its write-ahead log for a transaction that a crash cut
short, and forgets it without a word (sqlite.org/fileformat2.html, section 4.5). The
note catches that: it is written after a fact is durable, so it may lag behind the
journal but never lead it, and a journal that ends before its note has lost facts.
Rule: the note is never synced; it survives the death of the process, and losing it
in a power cut only makes the check weaker.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nunet_node.storage.errors import LedgerUnwritableError

TURN_WAIT_S: Final = 10
"""A turn lasts milliseconds, or a second for a long journal that is opened, so that
whoever waits this long waits for a process that hangs."""

_LOOK_AGAIN_S: Final = 0.001
"""About the length of one append."""


def read_mark(path: Path) -> int:
    """Return the noted sequence number; 0 when the note is absent or damaged."""
    try:
        note = path.read_bytes()
    except FileNotFoundError:
        return 0
    seq = int.from_bytes(note[:8], "big")
    return seq if note == _note(seq) else 0


class Watermark:
    """The note, open for writing; `close` it.

    Its file is also the lock under which processes open and close the journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o600)

    def write(self, seq: int) -> None:
        """Note that everything up to ``seq`` was acknowledged.

        A failure is passed over: the facts are durable already, and to report it
        would make the caller discard them.
        """
        with contextlib.suppress(OSError):
            os.pwrite(self._file, _note(seq), 0)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Have the journal to oneself, to open it, to append to it or to close it.

        SQLite does not wait while a file is given its write-ahead log or is left by
        its last user; and where it waits it looks again ever more rarely, so that a
        busy process starves the others.

        Raises:
            LedgerUnwritableError: another process had its turn for `TURN_WAIT_S`.
        """
        deadline_s = time.monotonic() + TURN_WAIT_S
        while not self._lock():
            if time.monotonic() > deadline_s:
                raise LedgerUnwritableError(
                    f"another process has held {self._path} for {TURN_WAIT_S} seconds"
                )
            time.sleep(_LOOK_AGAIN_S)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close the file; the note stays."""
        os.close(self._file)


def _note(seq: int) -> bytes:
    # The digest makes a torn or damaged note read as none.
    number = seq.to_bytes(8, "big")
    return number + hashlib.sha256(b"nunet/journal-mark/1\0" + number).digest()[:8]
