"""The journal's tables, how they grew, and how its hash chains are computed.

Rule: a step, once released, never changes; a new layout is one more step. The steps
that a file lacks run in one transaction with its version number, so that a crash
leaves the old layout or the new one. The chain follows Crosby and Wallach,
"Efficient Data Structures for Tamper-Evident Logging" (2009), in its linear form.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from nunet_node.storage.errors import LedgerDamagedError, LedgerTooNewError

APPLICATION_ID: Final = 0x4E554E4A
"""Marks the file as a journal of this program ("NUNJ"); kept in SQLite's header."""

Step = tuple[str, ...]
"""The statements that take a journal from one version to the next."""

STEPS: Final[tuple[Step, ...]] = (
    (
        """
        CREATE TABLE fact (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            stream TEXT NOT NULL,
            data BLOB NOT NULL,
            link BLOB NOT NULL
        ) STRICT
        """,
        "CREATE INDEX fact_by_stream ON fact (stream, seq)",
        """
        CREATE TABLE stream (
            name TEXT PRIMARY KEY,
            last_seq INTEGER NOT NULL,
            facts INTEGER NOT NULL,
            link BLOB NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
)
"""Step n takes version n to n + 1; version 0 is an empty file."""


def first_link(stream: str) -> bytes:
    """Return the link before a stream's first fact; it binds the stream's name."""
    return hashlib.sha256(b"nunet/journal/1\0" + stream.encode()).digest()


def next_link(link: bytes, data: bytes) -> bytes:
    """Return the link of a fact that follows the one with ``link``."""
    return hashlib.sha256(link + data).digest()


def check_version(connection: sqlite3.Connection, path: str, known: int) -> int:
    """Return the file's version; 0 for an empty file.

    Raises:
        LedgerDamagedError: it is a database of something else.
        LedgerTooNewError: its version is above ``known``.
    """
    connection.execute("BEGIN")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    connection.rollback()
    empty = version == 0 and owner == 0 and tables == 0
    if not empty and (version == 0 or owner != APPLICATION_ID):
        raise LedgerDamagedError(f"{path} is not a journal of nunet-node, or damaged")
    if version > known:
        raise LedgerTooNewError(
            f"{path} has layout {version}, and this nunet-node knows layouts up to "
            f"{known}; nothing was changed: run the newer nunet-node on this home"
        )
    return version


def migrate(connection: sqlite3.Connection, steps: tuple[Step, ...]) -> None:
    """Bring the file to version ``len(steps)`` in one transaction, or change nothing.

    The version is read again inside the transaction, because two processes may
    open a new file at once.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        for step in steps[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {max(version, len(steps))}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def verify(connection: sqlite3.Connection, path: str) -> int:
    """Check the file's structure, every chain and every stream's end.

    Returns:
        The sequence number of the last fact; 0 when there is none.

    Raises:
        LedgerDamagedError: a page, a fact, a link or the end of a stream is wrong.
    """
    connection.execute("BEGIN")
    try:
        report = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if report != "ok":
            raise LedgerDamagedError.found(path, report)
        return _verify_chains(connection, path)
    finally:
        connection.rollback()


def _verify_chains(connection: sqlite3.Connection, path: str) -> int:
    ends: dict[str, tuple[int, int, bytes]] = {}
    for seq, stream, data, link in _facts(connection):
        _, count, last = ends.get(stream) or (0, 0, first_link(stream))
        if next_link(last, data) != link:
            raise LedgerDamagedError.found(
                path, f"fact {seq} does not follow the one before it"
            )
        ends[stream] = (seq, count + 1, link)
    kept = connection.execute("SELECT name, last_seq, facts, link FROM stream")
    if {name: tuple(end) for name, *end in kept} != ends:
        raise LedgerDamagedError.found(path, "facts at a stream's end are missing")
    return max((seq for seq, _, _ in ends.values()), default=0)


def _facts(connection: sqlite3.Connection) -> Iterator[tuple[int, str, bytes, bytes]]:
    query = "SELECT seq, stream, data, link FROM fact ORDER BY seq"
    return iter(connection.execute(query))
