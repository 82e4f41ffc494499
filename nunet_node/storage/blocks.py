"""The block store: bytes on disk, named by their hash.

Rule: what is read is hashed again before it is returned, so that a damaged disk never
serves wrong bytes; a block that does not match goes to quarantine and counts as
missing. Blocks are plain private files: `blocks/<last two letters>/<content id>`.
docs/decisions/0007-own-manifest-and-blocks.md.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from nunet_node.storage.batch import Batch, StoredFile
from nunet_node.storage.errors import (
    BlockDamagedError,
    BlockMissingError,
    StoreUnavailableError,
)
from nunet_node.storage.files import make_directory, sync_directory, why
from nunet_node.storage.scratch import Scratch
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import CidError
from nunet_node.wire.limits import BLOCK_BYTES_MAX, BLOCK_DECODE_BYTES_MAX

QUARANTINE_FILES_MAX: Final = 64
"""Damaged blocks that are kept to be looked at; a dying disk makes many, and the
rest would only take its last space."""

HASHED_S: Final = 600
"""How long a block that was hashed for one peer is not hashed for another."""

HASHED_MAX: Final = 16_384
"""Blocks of which that is remembered: sixteen gigabytes of them, in a few megabytes."""

_Mark = tuple[int, int, int]
"""What tells a file from another of the same name: inode, time of change, length."""

_SHARD_LETTERS: Final = 2
"""The last letters of an id hold 8 bits: 256 directories, so that a million blocks
make directories of four thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUsage:
    """What a store holds."""

    blocks: int
    size_bytes: int


class BlockStore:
    """An open store; calls block on the disk and may come from several threads."""

    def __init__(self, root: Path) -> None:
        """Open the store at ``root``, or make one, and sweep what a crash left.

        Raises:
            StoreUnavailableError: the directory cannot be made or written.
        """
        self._blocks = root / "blocks"
        self._quarantine = root / "quarantine"
        # What this process synced, with its inode: whoever put it anew made another.
        self._sure: dict[Cid, int] = {}
        self._hashed: dict[Cid, tuple[_Mark, float]] = {}
        try:
            for path in (root, self._blocks, self._quarantine, root / "scratch"):
                if make_directory(path):
                    sync_directory(path.parent)
            self._scratch = Scratch(root / "scratch")
        except OSError as error:
            raise StoreUnavailableError(f"cannot open {root}: {why(error)}") from error

    def put(self, data: bytes | memoryview, cid: Cid | None = None) -> Cid:
        """Store one block durably; see `Batch.put`, and `batch` for many."""
        with self.batch() as batch:
            return batch.put(data, cid)

    def add_file(
        self, source: Path | int, *, chunk_bytes: int = BLOCK_BYTES_MAX
    ) -> StoredFile:
        """Store a file's bytes durably; see `Batch.add_file`."""
        with self.batch() as batch:
            return batch.add_file(source, chunk_bytes=chunk_bytes)

    def batch(self, *, durable: bool = True) -> Batch:
        """Return a context manager that stores many blocks at its end.

        Args:
            durable: whether to wait for the disk; not, for what can be fetched again.
        """
        return Batch(self._path, self._scratch.fresh, durable=durable, sure=self._sure)

    def has(self, cid: Cid) -> bool:
        """Tell whether a block of that name is here; its bytes are not checked."""
        return self._path(cid).exists()

    def is_intact(self, cid: Cid) -> bool:
        """Tell whether a block is here and matches its name, by reading it."""
        try:
            self.get(cid)
        except (BlockMissingError, BlockDamagedError):
            return False
        return True

    def size_bytes(self, cid: Cid) -> int:
        """Return a block's length.

        Raises:
            BlockMissingError: it is not here.
        """
        try:
            return self._path(cid).stat().st_size
        except FileNotFoundError:
            raise BlockMissingError(f"no block {cid}") from None

    def get(self, cid: Cid) -> bytes:
        """Return a block's bytes, checked against its name.

        Raises:
            BlockMissingError: it is not here.
            BlockDamagedError: it does not match its name; it is here no longer.
            StoreUnavailableError: the disk fails, or too many files are open.
        """
        data = self.peek(cid)
        self._check(cid, data)
        return data

    def get_for_peer(self, cid: Cid) -> bytes:
        """Return a block's bytes for a peer, who will check them again.

        A file that was hashed here within `HASHED_S`, and is the same by its inode and
        times, is not hashed once more: what a disk did to it since is found by the
        peer, and by the next `get`. Raises as `get`.
        """
        now_s = time.monotonic()
        known = self._hashed.get(cid)
        try:
            data, mark = self._read_marked(cid)
        except FileNotFoundError:
            raise BlockMissingError(f"no block {cid}") from None
        except OSError as error:
            raise StoreUnavailableError(f"cannot read {cid}: {why(error)}") from error
        if known is not None and known[0] == mark and now_s < known[1]:
            return data
        self._check(cid, data)
        if len(self._hashed) >= HASHED_MAX:
            self._hashed.clear()
        self._hashed[cid] = (mark, now_s + HASHED_S)
        return data

    def peek(self, cid: Cid) -> bytes:
        """Return a block's bytes unchecked, for who can tell if they are right.

        Raises:
            BlockMissingError: it is not here.
            StoreUnavailableError: the disk fails, or too many files are open.
        """
        try:
            return self._read(cid)
        except FileNotFoundError:
            raise BlockMissingError(f"no block {cid}") from None
        except OSError as error:
            raise StoreUnavailableError(f"cannot read {cid}: {why(error)}") from error

    def delete(self, cid: Cid) -> bool:
        """Remove a block, and tell whether it was here."""
        try:
            self._path(cid).unlink()
        except FileNotFoundError:
            return False
        return True

    def cids(self) -> Iterator[Cid]:
        """Yield the id of every block, in no order."""
        # Paths would take as long as all the rest of a start.
        for shard in os.listdir(self._blocks):  # noqa: PTH208
            for name in os.listdir(self._blocks / shard):  # noqa: PTH208
                try:
                    yield Cid.parse(name)
                except CidError:
                    continue

    def clear(
        self,
        is_kept: Callable[[Cid], bool],
        *,
        before_s: float,
        turn: AbstractContextManager[object] | None = None,
    ) -> StoreUsage:
        """Delete the blocks that are not kept and that nobody has put since.

        Args:
            is_kept: tells whether a block stays.
            before_s: unix seconds; what was put later stays.
            turn: held while a part of the store is looked through, some four hundred
                blocks of a hundred thousand.

        Returns:
            What was deleted.
        """
        gone = [
            each
            for shard in os.scandir(self._blocks)
            for each in _cleared(shard.path, is_kept, before_s, turn or nullcontext())
        ]
        return StoreUsage(blocks=len(gone), size_bytes=sum(gone))

    def stat(self) -> StoreUsage:
        """Count the blocks and their bytes by walking the store."""
        sizes = [entry.stat().st_size for entry in self._entries()]
        return StoreUsage(blocks=len(sizes), size_bytes=sum(sizes))

    def close(self) -> None:
        """Remove the scratch directory; the store itself stays."""
        self._scratch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _path(self, cid: Cid) -> Path:
        name = str(cid)
        return self._blocks / name[-_SHARD_LETTERS:] / name

    def _check(self, cid: Cid, data: bytes) -> None:
        if len(data) > BLOCK_DECODE_BYTES_MAX or not cid.matches(data):
            self._set_aside(cid)
            raise BlockDamagedError(f"block {cid} is damaged on disk; it was set aside")

    def _read(self, cid: Cid) -> bytes:
        return self._read_marked(cid)[0]

    def _read_marked(self, cid: Cid) -> tuple[bytes, _Mark]:
        file = os.open(self._path(cid), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            seen = os.fstat(file)
            length = min(seen.st_size, BLOCK_DECODE_BYTES_MAX)
            mark = (seen.st_ino, seen.st_ctime_ns, seen.st_size)
            return os.read(file, length + 1), mark
        finally:
            os.close(file)

    def _set_aside(self, cid: Cid) -> None:
        path = self._path(cid)
        # On a disk that cannot be written the block stays, and stays refused.
        with contextlib.suppress(OSError):
            if len(list(self._quarantine.iterdir())) < QUARANTINE_FILES_MAX:
                path.rename(self._quarantine / path.name)
            else:
                path.unlink()

    def _entries(self) -> Iterator["os.DirEntry[str]"]:
        for shard in os.scandir(self._blocks):
            yield from os.scandir(shard)


def _cleared(
    shard: str,
    is_kept: Callable[[Cid], bool],
    before_s: float,
    turn: AbstractContextManager[object],
) -> Iterator[int]:
    """Clear a part of a store; yield the length of each block that goes."""
    with turn, os.scandir(shard) as entries:
        for entry in entries:
            try:
                seen = entry.stat(follow_symlinks=False)
                if seen.st_mtime < before_s and not is_kept(Cid.parse(entry.name)):
                    os.unlink(entry.path)  # noqa: PTH108 - a path for each takes longer
                    yield seen.st_size
            except (FileNotFoundError, CidError):
                continue
