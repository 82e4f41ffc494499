"""Appending to the journal, and reading it back: durable before speaking.

Rule: when `Journal.append` returns, its facts survive any crash; when it raises, not
one of them was recorded. Facts that can be had again need not wait for the disk: they
survive the process, and any crash once the next append has returned. SQLite keeps the
file (write-ahead log, one sync for each append); each stream has a hash chain of its
own, so that processes that write different streams of one file only take turns. A
journal that does not verify is refused before anything is written to it.
docs/decisions/0006-sqlite-journal.md.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from nunet_node.errors import MisuseError
from nunet_node.storage.errors import (
    LedgerConflictError,
    LedgerDamagedError,
    LedgerUnwritableError,
)
from nunet_node.storage.files import sync_directory, why
from nunet_node.storage.journal.schema import (
    STEPS,
    Step,
    check_version,
    first_link,
    migrate,
    next_link,
    verify,
)
from nunet_node.storage.journal.watermark import Watermark, read_mark

SCHEMA_VERSION: Final = len(STEPS)
"""The layout this program writes."""

FACT_BYTES_MAX: Final = 1 << 20
"""One fact holds at most one signed frame and some words about it; a larger one
would be bulk data, which belongs in the block store."""

APPEND_ENTRIES_MAX: Final = 4096
"""Facts in one append: one input to the node makes a handful, so that more is a
loop that ran away, and one transaction stays far below the log's checkpoint."""

READ_ROWS_MAX: Final = 512
"""Rows fetched at a time: reading never keeps the write-ahead log from being
folded back, and holds at most this many facts in memory."""

BUSY_TIMEOUT_S: Final = 10
"""How long SQLite waits for a tool that holds the file; processes of our own take
turns before they ask (`Watermark.turn`)."""

_REMEDIES: Final = {
    "SQLITE_FULL": "the disk is full: free some space and try again",
    "SQLITE_READONLY": "it is read-only: make it writable, or use another home",
}

NODE_STREAM: Final = "node"
"""The stream of the provider role; every other stream is named by a job id."""


class Journal:
    """An open journal. One thread appends at a time; others may read meanwhile."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, mark: Watermark
    ) -> None:
        self._path = path
        self._connection = connection
        self._turn = threading.Lock()
        self._mark = mark
        self._syncing = True

    @classmethod
    def open(cls, path: Path, *, steps: tuple[Step, ...] = STEPS) -> Self:
        """Verify the journal at ``path``, or make one; migrate an older layout.

        Raises:
            LedgerDamagedError: it does not hold what was written; no file was changed.
            LedgerTooNewError: a later version wrote it; no file was changed.
            LedgerUnwritableError: it cannot be opened for writing here.
        """
        try:
            return cls._open_alone(path, steps)
        except sqlite3.DatabaseError as error:
            raise _refusal(path, error) from error
        except OSError as error:
            raise LedgerUnwritableError(f"cannot open {path}: {why(error)}") from error

    @classmethod
    def _open_alone(cls, path: Path, steps: tuple[Step, ...]) -> Self:
        with contextlib.ExitStack() as on_failure:
            mark = Watermark(_mark_path(path))
            on_failure.callback(mark.close)
            with mark.turn():
                _inspect(path, len(steps))
                connection = _open_verified(path, steps)
            on_failure.pop_all()
            return cls(path, connection, mark)

    def append(
        self,
        entries: Sequence[tuple[str, bytes]],
        *,
        expected_last: Mapping[str, int] | None = None,
        durable: bool = True,
    ) -> int:
        """Record (stream, data) facts in order: one transaction, one sync.

        Args:
            entries: the facts; 1 to `APPEND_ENTRIES_MAX` of them.
            expected_last: the sequence number that the caller believes to be each
                named stream's last; 0 for an empty stream.
            durable: whether to wait for the disk.

        Returns:
            The sequence number of the last fact.

        Raises:
            LedgerUnwritableError: nothing was recorded; a later append may succeed.
            LedgerConflictError: a stream is not where ``expected_last`` has it.
        """
        _check_entries(entries)
        with self._turn, self._mark.turn():
            try:
                self._sync_commits(durable)
                self._connection.execute("BEGIN IMMEDIATE")
                self._expect(expected_last or {})
                last_seq = self._insert(entries)
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise _refusal(self._path, error) from error
            except BaseException:
                self._roll_back()
                raise
            if durable:
                # The note must never lead what a power cut leaves.
                self._mark.write(last_seq)
        return last_seq

    def read(
        self, stream: str | None = None, after: int = 0
    ) -> Iterator[tuple[int, str, bytes]]:
        """Yield (seq, stream, data) after ``after``, of one stream or of all, in order.

        Facts that are appended meanwhile are yielded too.
        """
        while rows := self._page(stream, after):
            yield from rows
            after = rows[-1][0]

    def last(self, stream: str) -> int:
        """Return the sequence number of the stream's last fact; 0 when it has none."""
        with self._turn:
            return self._end(stream)[0]

    def others(self) -> int:
        """Return a number that changes whenever another process has appended."""
        with self._turn:
            row = self._connection.execute("PRAGMA data_version").fetchone()
            return int(row[0])

    def streams(self) -> tuple[str, ...]:
        """Return the names of the streams that hold a fact, in alphabetical order."""
        with self._turn:
            rows = self._connection.execute("SELECT name FROM stream ORDER BY name")
            return tuple(name for (name,) in rows)

    def close(self) -> None:
        """Fold the write-ahead log back and close the file."""
        with self._mark.turn():
            self._connection.close()
        self._mark.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _expect(self, expected_last: Mapping[str, int]) -> None:
        for stream, expected in expected_last.items():
            found = self._end(stream)[0]
            if found != expected:
                raise LedgerConflictError(
                    f"stream {stream} ends at {found}, not at {expected}: another "
                    "process on this home wrote to it"
                )

    def _insert(self, entries: Sequence[tuple[str, bytes]]) -> int:
        ends: dict[str, tuple[int, int, bytes]] = {}
        seq = 0
        for stream, data in entries:
            _, count, link = ends.get(stream) or self._end(stream)
            link = next_link(link, data)
            row = self._connection.execute(
                "INSERT INTO fact (stream, data, link) VALUES (?, ?, ?)",
                (stream, data, link),
            )
            seq = row.lastrowid or 0
            ends[stream] = (seq, count + 1, link)
        self._connection.executemany(
            "INSERT OR REPLACE INTO stream VALUES (?, ?, ?, ?)",
            [(stream, *end) for stream, end in ends.items()],
        )
        return seq

    def _end(self, stream: str) -> tuple[int, int, bytes]:
        row: tuple[int, int, bytes] | None = self._connection.execute(
            "SELECT last_seq, facts, link FROM stream WHERE name = ?", (stream,)
        ).fetchone()
        return row or (0, 0, first_link(stream))

    def _page(self, stream: str | None, after: int) -> list[tuple[int, str, bytes]]:
        query = "SELECT seq, stream, data FROM fact WHERE seq > ? ORDER BY seq LIMIT ?"
        arguments: tuple[object, ...] = (after, READ_ROWS_MAX)
        if stream is not None:
            query = query.replace("WHERE", "WHERE stream = ? AND")
            arguments = (stream, *arguments)
        with self._turn:
            try:
                return self._connection.execute(query, arguments).fetchall()
            except sqlite3.DatabaseError as error:
                raise _refusal(self._path, error) from error

    def _sync_commits(self, wanted: bool) -> None:  # noqa: FBT001 - says what it sets
        # NORMAL writes the log at each commit and leaves syncing it to the next
        # commit under FULL, or to the log's being folded back (sqlite.org/pragma.html).
        if wanted is not self._syncing:
            self._connection.execute(
                f"PRAGMA synchronous = {'FULL' if wanted else 'NORMAL'}"
            )
            self._syncing = wanted

    def _roll_back(self) -> None:
        # SQLite has already rolled back on its own after a full disk; the
        # transaction must not stay open in any case, or the next append joins it.
        if self._connection.in_transaction:
            self._connection.rollback()


def _inspect(path: Path, known: int) -> None:
    """Verify through a read-only connection, which folds nothing back on closing."""
    # The note is read first: another process may append while this one verifies.
    noted = read_mark(_mark_path(path))
    last_seq = _verified_last(path, known) if path.exists() else 0
    if noted > last_seq:
        raise LedgerDamagedError(
            f"{path} is damaged: it ends at fact {last_seq}, but fact {noted} was "
            f"acknowledged; restore it, or delete {_mark_path(path)} to go on without"
        )


def _verified_last(path: Path, known: int) -> int:
    connection = _connect(f"{path.absolute().as_uri()}?mode=ro")
    try:
        empty = check_version(connection, str(path), known) == 0
        return 0 if empty else verify(connection, str(path))
    finally:
        connection.close()


def _open_verified(path: Path, steps: tuple[Step, ...]) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    sync_directory(path.parent)
    connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, steps)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(
        uri,
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _check_entries(entries: Sequence[tuple[str, bytes]]) -> None:
    if not 1 <= len(entries) <= APPEND_ENTRIES_MAX:
        raise MisuseError(f"an append of {len(entries)} facts")
    for stream, data in entries:
        if not stream or len(data) > FACT_BYTES_MAX:
            raise MisuseError(f"a fact of {len(data)} bytes for stream {stream!r}")


def _refusal(
    path: Path, error: sqlite3.Error
) -> LedgerDamagedError | LedgerUnwritableError:
    name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return LedgerDamagedError.found(str(path), str(error))
    cause = _REMEDIES.get(name, str(error))
    return LedgerUnwritableError(f"cannot write {path}: {cause} ({name})")


def _mark_path(path: Path) -> Path:
    return path.with_name(path.name + "-mark")
