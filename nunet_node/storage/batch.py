"""Putting many blocks for the price of few syncs.

Rule: no block of a batch has its name before the bytes of all of them are on the
disk, and the batch ends only after the names are too; what was not committed when a
batch fails is removed. Syncing file after file costs milliseconds each, so a batch is
synced in one pass, and a large one by two syncs of the whole file system. What can be
fetched again need not wait for the disk at all: a block that a power cut left without
its bytes does not match its name, and is set aside when it is read.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from nunet_node.errors import MisuseError
from nunet_node.results.manifest import FILE_BYTES_MAX
from nunet_node.storage.errors import (
    BlockDamagedError,
    StoreUnavailableError,
    TreeRefusedError,
)
from nunet_node.storage.files import (
    make_directory,
    sync_all,
    why,
    write_new,
)
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import BLOCK_BYTES_MAX, BLOCK_DECODE_BYTES_MAX

PENDING_BLOCKS_MAX: Final = 1024
"""Blocks that wait for their sync: more gains nothing, and a full disk is noticed
before a gigabyte was written in vain."""

UNSURE_S: Final = 600
"""How long a block that is here already may lack its sync. The kernel writes whatever
is half a minute old (Documentation/admin-guide/sysctl/vm.rst, dirty_expire)."""

SURE_MAX: Final = 8192
"""Blocks of which a process remembers that it waited for them, in about a megabyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file's bytes as blocks, in order; an empty file has none."""

    size_bytes: int
    chunks: tuple[Cid, ...]


class Batch:
    """Blocks on their way into a store; a context manager for one thread.

    After `PENDING_BLOCKS_MAX` blocks those so far are committed early.
    """

    def __init__(
        self,
        place: Callable[[Cid], Path],
        fresh: Callable[[], Path],
        *,
        durable: bool = True,
        sure: dict[Cid, int] | None = None,
    ) -> None:
        self._place = place
        self._fresh = fresh
        self._durable = durable
        self._sure = {} if sure is None else sure
        self._unsure: set[Path] = set()
        self._pending: dict[Cid, Path] = {}
        self._touched: set[Path] = set()

    def put(
        self,
        data: bytes | memoryview,
        cid: Cid | None = None,
        *,
        checked: bool = False,
    ) -> Cid:
        """Add a block, and return its id; one that is stored already costs little.

        Args:
            data: at most `BLOCK_DECODE_BYTES_MAX` bytes.
            cid: the id under which the block was asked for; raw without one.
            checked: the caller has just compared the bytes with ``cid``; hashing is
                what storing costs most.

        Raises:
            BlockDamagedError: the bytes are not those that ``cid`` names.
            StoreUnavailableError: the disk is full, read-only or failing.
        """
        if len(data) > BLOCK_DECODE_BYTES_MAX:
            raise MisuseError(f"a block of {len(data)} bytes")
        if cid is None:
            cid = Cid.of_raw(data)
        elif not checked and not cid.matches(data):
            raise BlockDamagedError(f"{len(data)} bytes are not those named {cid}")
        if cid not in self._pending:
            self._add(cid, data)
        return cid

    def add_file(
        self,
        source: Path | int,
        *,
        chunk_bytes: int = BLOCK_BYTES_MAX,
        bytes_max: int = FILE_BYTES_MAX,
    ) -> StoredFile:
        """Add a file, or what an open one still has to read, in one pass.

        Every block but the last has ``chunk_bytes``, of which one is held in memory.
        The caller sees to it that the source is no pipe or device.

        Raises:
            TreeRefusedError: more than ``bytes_max`` bytes came, perhaps because
                the file grew meanwhile.
            StoreUnavailableError: the disk is full, read-only or failing.
        """
        if isinstance(source, int):
            return self._add_chunks(source, chunk_bytes, bytes_max)
        file = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return self._add_chunks(file, chunk_bytes, bytes_max)
        finally:
            os.close(file)

    def commit(self) -> None:
        """Make every block so far durable, if that is wanted, and give it its name."""
        try:
            if self._durable:
                sync_all((*self._pending.values(), *self._unsure))
            for cid, path in self._pending.items():
                self._rename(path, self._place(cid))
            if self._durable:
                sync_all((), self._touched)
                self._remember()
        except OSError as error:
            raise StoreUnavailableError(f"cannot store blocks: {why(error)}") from error
        self._pending.clear()
        self._touched.clear()
        self._unsure.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            for path in self._pending.values():
                path.unlink(missing_ok=True)
            self._pending.clear()

    def _add(self, cid: Cid, data: bytes | memoryview) -> None:
        final = self._place(cid)
        try:
            seen = final.stat()
            if seen.st_size == len(data):
                _touch(final)
                if self._sure.get(cid) == seen.st_ino:
                    return
                # Another batch may have renamed it just now, without the sync of
                # its directory, or put it without any; this one must not promise
                # more than is true.
                self._touched.add(final.parent)
                if abs(time.time() - seen.st_mtime) < UNSURE_S:
                    self._unsure.add(final)
                return
        except FileNotFoundError:
            pass
        path = self._fresh()
        try:
            write_new(path, data)
        except OSError as error:
            raise StoreUnavailableError(
                f"cannot store a block: {why(error)}"
            ) from error
        self._pending[cid] = path
        if len(self._pending) >= PENDING_BLOCKS_MAX:
            self.commit()

    def _add_chunks(self, file: int, chunk_bytes: int, bytes_max: int) -> StoredFile:
        buffer = memoryview(bytearray(chunk_bytes))
        chunks: list[Cid] = []
        size_bytes = 0
        while filled := _fill(file, buffer):
            size_bytes += filled
            if size_bytes > bytes_max:
                raise TreeRefusedError(f"a file has more than {bytes_max} bytes")
            chunks.append(self.put(buffer[:filled]))
        return StoredFile(size_bytes=size_bytes, chunks=tuple(chunks))

    def _remember(self) -> None:
        if len(self._sure) + len(self._pending) > SURE_MAX:
            self._sure.clear()
        for cid in self._pending:
            self._sure[cid] = self._place(cid).stat().st_ino

    def _rename(self, path: Path, final: Path) -> None:
        if make_directory(final.parent):
            self._touched.add(final.parent.parent)
        path.rename(final)
        self._touched.add(final.parent)


def _touch(path: Path) -> None:
    """Show whoever clears old blocks that this one is wanted again."""
    try:
        os.utime(path)
    except FileNotFoundError:
        raise
    except OSError:
        # On a disk that cannot be written nothing is cleared either.
        return


def _fill(file: int, buffer: memoryview) -> int:
    filled = 0
    while filled < len(buffer):
        count = os.readv(file, [buffer[filled:]])
        if not count:
            break
        filled += count
    return filled
