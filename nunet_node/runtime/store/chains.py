"""Where the chains of running jobs' logs lie, and who writes them.

Rule: a link is in its file at most a moment after the job wrote it, and a file is only
ever made longer, so that neither a cancel nor the death of this process takes more than
the last moment. Files hold sealed links alone, unless the job's results are public. A
chain goes when its job has a result, which has the logs too.
"""

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Collection, Generator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import trio

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did
from nunet_node.jobs.specification import JobId, ResultKind
from nunet_node.network.stream import Stream
from nunet_node.protocol.effects import StartJob
from nunet_node.results.logs.chain import (
    LINK_BYTES_MAX,
    RECORD_BYTES_MAX,
    LogBytes,
    LogChain,
    LogHead,
    LogHeader,
    new_header,
)
from nunet_node.results.sealing import KEY_BYTES
from nunet_node.runtime.exchange.logs import Begin, End, Follow, Kept, LogBook
from nunet_node.runtime.exchange.requests import (
    BlockProtocolError,
    BlockRefusedError,
    No,
)
from nunet_node.storage.errors import StoreUnavailableError
from nunet_node.storage.files import make_directory, sync_directory, why, write_all
from nunet_node.wire.limits import FRAME_BYTES_MAX
from nunet_node.wire.schema import decode_record, encode_record

LINK_S: Final = 1
"""Time between two links: what a crash may take of the logs. A job that ends sooner has
its logs in its result."""

_LENGTH_BYTES: Final = 4
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

_log = logging.getLogger("nunet_node.runtime.store.chains")

_Key = tuple[str, int]


class Chains:
    """The files of chains below one directory; calls block on the disk."""

    def __init__(self, root: Path) -> None:
        """Open the directory, or make it.

        Raises:
            StoreUnavailableError: it cannot be made.
        """
        self.root = root
        try:
            make_directory(root)
        except OSError as error:
            raise StoreUnavailableError(f"cannot open {root}: {why(error)}") from error

    def path(self, job: str, attempt: int) -> Path:
        """Return where the chain of an attempt lies, if there is one."""
        return self.root / f"{job}.{attempt}"

    def records(self, job: str, attempt: int) -> Generator[bytes, None, None]:
        """Yield what a chain is made of, its header first; nothing if there is none.

        What a crash left of a last record is left out.
        """
        try:
            file = self.path(job, attempt).open("rb")
        except FileNotFoundError:
            return
        with file:
            while len(length := file.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
                wanted = int.from_bytes(length, "big")
                if wanted > RECORD_BYTES_MAX:
                    return
                record = file.read(wanted)
                if len(record) < wanted:
                    return
                yield record

    def head(self, job: str, attempt: int) -> LogHead | None:
        """Return how far a chain goes; None if there is none, or it cannot be read."""
        records = self.records(job, attempt)
        with contextlib.closing(records):
            try:
                first = next(records, None)
                if first is None:
                    return None
                header: LogHeader = decode_record(
                    LogHeader, first, bytes_max=RECORD_BYTES_MAX
                )
                chain = LogChain(header=header)
                for record in records:
                    chain.follow(record)
            except (PeerError, OSError) as error:
                _log.warning("the logs of %s are damaged: %s", job, error)
                return None
        return chain.head

    def heads(self, attempts: Collection[_Key]) -> Mapping[_Key, LogHead]:
        """Return how far the chains of these attempts go, where there are any."""
        found = {key: self.head(*key) for key in attempts}
        return {key: head for key, head in found.items() if head is not None}

    def drop(self, job: str) -> None:
        """Delete every chain of a job."""
        for path in self.root.glob(f"{job}.*"):
            path.unlink(missing_ok=True)

    def keep_only(self, attempts: Collection[_Key]) -> None:
        """Delete the chains of all other attempts."""
        kept = {self.path(*key).name for key in attempts}
        for path in self.root.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)


class LogWriter:
    """Writes the chain of one attempt from the files that its job writes.

    Args:
        chains: where to.
        book: who is to know when the job wrote what.
        job: the job's id.
        attempt: which attempt.
        owner: who is to read it.
        agreement: the owner's X25519 key, where the owner's DID does not carry it.
        sealed: whether nobody else is.
        sources: the files of the job's output and of its errors.
    """

    def __init__(  # noqa: PLR0913 - what a chain is made of
        self,
        chains: Chains,
        book: LogBook,
        *,
        job: JobId,
        attempt: int,
        owner: Did,
        agreement: bytes = b"",
        sealed: bool,
        sources: tuple[Path, Path],
    ) -> None:
        self._chains = chains
        self._book = book
        self._of = (job, attempt, owner)
        self._agreement = agreement
        self._sealed = sealed
        self._sources = sources
        self._turn = threading.Lock()
        self._chain: LogChain | None = None
        self._file = -1
        self._over = False

    @classmethod
    def of(
        cls, chains: Chains, book: LogBook, order: StartJob, sources: tuple[Path, Path]
    ) -> "LogWriter":
        """Return what writes the chain of a job that is about to start."""
        return cls(
            chains,
            book,
            job=order.job,
            attempt=order.attempt,
            owner=Did(order.owner),
            agreement=order.agreement,
            sealed=order.spec.results is ResultKind.SEALED,
            sources=sources,
        )

    @property
    def begun(self) -> bool:
        """Whether there is a chain already."""
        return self._chain is not None

    async def run(self) -> None:
        """Write what is new every moment, until cancelled."""
        job, _, _ = self._of
        while True:
            change = self._book.change(job)
            await trio.sleep(LINK_S)
            await trio.to_thread.run_sync(self.catch_up)
            await change.wait()

    def catch_up(self) -> None:
        """Write what is new; nothing once the chain is finished. Blocks."""
        with self._turn:
            if not self._over:
                self._write_new()

    def finish(self) -> LogHead | None:
        """Write the rest, wait for the disk, and return the head. Blocks.

        Returns:
            How far the chain goes; None if the job wrote nothing, or the disk failed.
        """
        with self._turn:
            if not self._over:
                self._write_new()
                self._close()
            return self._chain.head if self._chain is not None else None

    def abandon(self) -> None:
        """Write no more: the logs stand elsewhere."""
        with self._turn:
            self._over = True
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _write_new(self) -> None:
        try:
            while any(said := self._read()):
                self._append(LogBytes(stdout=said[0], stderr=said[1]))
        except (OSError, PeerError) as error:
            _log.warning("logs are not kept: %s", error)
            self._chain, self._over = None, True
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _read(self) -> tuple[bytes, bytes]:
        chain = self._chain
        ends = (chain.stdout_end, chain.stderr_end) if chain is not None else (0, 0)
        out, err = map(_read_from, self._sources, ends)
        return out, err

    def _append(self, said: LogBytes) -> None:
        if self._chain is None:
            self._chain = self._begin()
        at_s = int(time.time())
        self._put(self._chain.append(said, at_s))
        job, attempt, _ = self._of
        self._book.mark(
            job, attempt, at_s, (self._chain.stdout_end, self._chain.stderr_end)
        )

    def _begin(self) -> LogChain:
        job, attempt, owner = self._of
        key = secrets.token_bytes(KEY_BYTES) if self._sealed else None
        header = new_header(
            job=job,
            attempt=attempt,
            owner=owner,
            key=key,
            ephemeral_secret=secrets.token_bytes(KEY_BYTES),
            agreement=self._agreement,
        )
        path = self._chains.path(job, attempt)
        # An attempt of this number may have been here before, and was given up.
        path.unlink(missing_ok=True)
        self._file = os.open(path, _NEW, 0o600)
        self._put(encode_record(header))
        return LogChain(header=header, key=key)

    def _put(self, record: bytes) -> None:
        write_all(self._file, len(record).to_bytes(_LENGTH_BYTES, "big") + record)

    def _close(self) -> None:
        self._over = True
        if self._file < 0:
            return
        try:
            os.fsync(self._file)
            sync_directory(self._chains.root)
        except OSError as error:
            _log.warning("logs may not be on the disk: %s", error)
        os.close(self._file)
        self._file = -1


async def chain_of(stream: Stream, asked: Follow) -> AsyncGenerator[bytes, None]:
    """Ask for the chain of an attempt, and yield its records, the header first.

    Raises:
        BlockRefusedError: there are no such logs for us.
        PeerError: the peer broke the rules, or the stream broke.
    """
    await stream.send(encode_record(msgspec.structs.replace(asked, chain=True)))
    while not isinstance(said := await _said(stream), End):
        if isinstance(said, Kept):
            yield said.data


async def beginning_of(stream: Stream, asked: Follow) -> Begin:
    """Ask from where on logs were written since a moment.

    Raises:
        BlockRefusedError: there are no such logs for us.
        PeerError: the peer broke the rules, or the stream broke.
    """
    await stream.send(encode_record(asked))
    said = await _said(stream)
    return said if isinstance(said, Begin) else Begin()


async def _said(stream: Stream) -> Begin | Kept | End:
    data = await stream.receive()
    if data is None:
        raise BlockProtocolError("the peer left before the end of the logs")
    said: Begin | Kept | End | No = decode_record(
        Begin | Kept | End | No, data, bytes_max=FRAME_BYTES_MAX
    )
    if isinstance(said, No):
        raise BlockRefusedError(f"{stream.peer_id} has no such logs for us")
    return said


def _read_from(path: Path, at: int) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(file, LINK_BYTES_MAX // 2, at)
    finally:
        os.close(file)
