"""Following a job's output: `/nunet/logs/1`.

The asker names a job, an attempt and how much it has of either stream; pieces follow
as the job writes them, then an end. While the job runs they come from its own files,
afterwards from the stored result, which holds the same bytes: an asker that lost its
stream goes on where it was, and never notices the change.

Rule: logs are followed under a grant or not at all; a wrong job, a wrong attempt and
a missing grant get one answer. A follower sleeps until something changes.
"""

import logging
import os
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import trio

from nunet_node.errors import PeerError
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import Attempt
from nunet_node.network.port import Host
from nunet_node.network.stream import Stream
from nunet_node.protocol.messages import LOGS_PROTOCOL
from nunet_node.quantities import Count
from nunet_node.results.layout import STDERR, STDOUT
from nunet_node.results.logs.chain import RECORD_BYTES_MAX
from nunet_node.results.manifest import CHUNK_BYTES
from nunet_node.runtime.exchange.blocks import tree_of
from nunet_node.runtime.exchange.grants import Grants
from nunet_node.runtime.exchange.requests import (
    BlockProtocolError,
    BlockRefusedError,
    No,
)
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import FRAME_BYTES_MAX
from nunet_node.wire.schema import Record, decode_record, encode_record

PIECE_BYTES_MAX: Final = 65_536
"""Most log bytes in one frame: what is read at once, and a quarter of a frame."""

FOLLOWERS_PER_PEER_MAX: Final = 16
"""Logs that one peer may follow at once; each is a task and one frame of memory."""

ENDED_KEPT_MAX: Final = 1024
"""Attempts whose logs' lengths are remembered for those who were just following; who
comes later looks into the result."""

MARKS_MAX: Final = 1024
"""Moments of one attempt that are remembered; beyond it half of them are forgotten, so
that a month is told to two hours."""

ASK_S: Final = 30
"""How long a peer that opened a stream may take to ask."""

StreamName = Literal["stdout", "stderr"]
NAMES: Final[tuple[StreamName, ...]] = (STDOUT, STDERR)

Mark = tuple[int, int, int]
"""Unix seconds, and how far output and errors had come by then."""

Records = Callable[[JobId, int], Generator[bytes, None, None]]
"""Yields the records of an attempt's chain; blocks."""

_log = logging.getLogger("nunet_node.runtime.logs")


def no_records(_job: JobId, _attempt: int) -> Generator[bytes, None, None]:
    """Yield nothing: a peer that keeps nothing for others has no chains."""
    yield from ()


class Follow(Record, tag_field="kind", tag="follow"):
    """Send what lies beyond these offsets, and what is still to come."""

    job: Annotated[str, msgspec.Meta(max_length=64)]
    attempt: Attempt
    stdout_from: Count = 0
    stderr_from: Count = 0
    follow: bool = True
    since_s: Count = 0
    """Send a `Begin` alone: where what was written since this unix time begins."""
    chain: bool = False
    """Send the chain of a job that ended without a result, from its header on."""


class Begin(Record, tag_field="kind", tag="begin"):
    """What was written since some moment begins at these offsets, or later."""

    stdout_from: Count = 0
    stderr_from: Count = 0


class Kept(Record, tag_field="kind", tag="kept"):
    """One record of a chain; see `results.logs.chain`."""

    data: Annotated[bytes, msgspec.Meta(max_length=RECORD_BYTES_MAX)]


class Piece(Record, tag_field="kind", tag="piece"):
    """Some bytes of one stream."""

    stream: StreamName
    data: Annotated[bytes, msgspec.Meta(max_length=PIECE_BYTES_MAX)]


class End(Record, tag_field="kind", tag="end"):
    """There is no more here; ``complete`` unless the job goes on."""

    complete: bool = True
    in_result: bool = False
    """The job has ended, and whatever is lacking stands in its sealed result."""
    in_chain: bool = False
    """The job has ended without a result, and what is lacking stands in its chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where a job's attempt stands, as far as its logs are concerned."""

    ended: bool
    result: Cid | None = None
    sealed: bool = False
    """Whether the result is for its owner's eyes, so that its logs are no more ours."""
    chained: bool = False
    """Whether what an attempt without a result wrote stands in a chain."""


class LogBook:
    """Which logs are being written here, and an alarm for those who wait for more."""

    def __init__(self) -> None:
        self._live: dict[tuple[JobId, int], tuple[Path, Path]] = {}
        self._ended: OrderedDict[tuple[JobId, int], dict[str, int]] = OrderedDict()
        self._changes: dict[JobId, trio.Event] = {}
        self._marks: OrderedDict[tuple[JobId, int], list[Mark]] = OrderedDict()

    def mark(self, job: JobId, attempt: int, at_s: int, ends: tuple[int, int]) -> None:
        """Note how much of either stream was written by a moment, unix time."""
        marks = self._marks.setdefault((job, attempt), [])
        marks.append((at_s, *ends))
        if len(marks) > MARKS_MAX:
            self._marks[(job, attempt)] = _thinned(marks)
        if len(self._marks) > ENDED_KEPT_MAX:
            self._marks.popitem(last=False)

    def place_at(self, job: JobId, attempt: int, since_s: int) -> tuple[int, int]:
        """Return from where on either stream was written since then, at the latest."""
        before = [m for m in self._marks.get((job, attempt), ()) if m[0] < since_s]
        return before[-1][1:] if before else (0, 0)

    def begin(self, job: JobId, attempt: int, stdout: Path, stderr: Path) -> None:
        """Say that an attempt writes its logs to these files from now on."""
        self._live[(job, attempt)] = (stdout, stderr)
        self.changed(job)

    def end(self, job: JobId, attempt: int) -> None:
        """Say that the files of an attempt are about to go."""
        paths = self._live.pop((job, attempt), None)
        if paths is not None:
            self._ended[(job, attempt)] = dict(
                zip(NAMES, map(_size, paths), strict=True)
            )
            if len(self._ended) > ENDED_KEPT_MAX:
                self._ended.popitem(last=False)
        self.changed(job)

    def is_all(self, job: JobId, attempt: int, at: Mapping[str, int]) -> bool:
        """Tell whether these offsets are the ends of an ended attempt's logs."""
        ends = self._ended.get((job, attempt))
        if ends is None:
            # While the files are there, whoever has read them to their end has all.
            return (job, attempt) in self._live
        return all(at[name] >= end for name, end in ends.items())

    def changed(self, job: JobId) -> None:
        """Wake everybody who waits for something new about a job."""
        event = self._changes.pop(job, None)
        if event is not None:
            event.set()

    def change(self, job: JobId) -> trio.Event:
        """Return what is set at the job's next change; get it before looking."""
        return self._changes.setdefault(job, trio.Event())

    def read(self, job: JobId, attempt: int, name: StreamName, at: int) -> bytes | None:
        """Return what a live log has from an offset on; None if it is not live."""
        paths = self._live.get((job, attempt))
        if paths is None:
            return None
        try:
            file = os.open(paths[NAMES.index(name)], os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return os.pread(file, PIECE_BYTES_MAX, at)
        finally:
            os.close(file)


class LogServer:
    """Answers the log streams that peers open.

    Args:
        book: the live logs.
        store: where the results of ended jobs are.
        grants: who may follow what.
        stand: says where an attempt stands.
        records: yields the chain of an attempt that has one.
    """

    def __init__(
        self,
        book: LogBook,
        store: BlockStore,
        grants: Grants,
        stand: Callable[[JobId, int], Stand],
        records: Records,
    ) -> None:
        self._book = book
        self._store = store
        self._grants = grants
        self._stand = stand
        self._records = records
        self._followers: Counter[str] = Counter()

    def serve(self, host: Host) -> None:
        """Let peers follow logs."""
        host.serve(LOGS_PROTOCOL, self._serve)

    async def _serve(self, stream: Stream) -> None:
        if self._followers[stream.peer_id] >= FOLLOWERS_PER_PEER_MAX:
            await stream.reset()
            return
        self._followers[stream.peer_id] += 1
        try:
            await self._converse(stream)
        finally:
            self._followers[stream.peer_id] -= 1
            if not self._followers[stream.peer_id]:
                del self._followers[stream.peer_id]

    async def _converse(self, stream: Stream) -> None:
        with trio.fail_after(ASK_S):
            data = await stream.receive()
        if data is None:
            return
        asked = decode_record(Follow, data, bytes_max=FRAME_BYTES_MAX)
        job = JobId(asked.job)
        if not self._grants.may_follow(stream.peer_id, job, asked.attempt):
            await stream.send(encode_record(No()))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, stream, nursery.cancel_scope)
            try:
                await self._follow(stream, job, asked)
            except PeerError as error:
                _log.info("logs for %s: %s", stream.peer_id, error)
            nursery.cancel_scope.cancel()

    async def _follow(self, stream: Stream, job: JobId, asked: Follow) -> None:
        if asked.chain:
            await self._send_chain(stream, job, asked.attempt)
            return
        if asked.since_s:
            out, err = self._book.place_at(job, asked.attempt, asked.since_s)
            await stream.send(encode_record(Begin(stdout_from=out, stderr_from=err)))
            return
        at = {STDOUT: asked.stdout_from, STDERR: asked.stderr_from}
        while True:
            change = self._book.change(job)
            if not self._grants.may_follow(stream.peer_id, job, asked.attempt):
                # The leave was taken back: what comes now is no longer theirs.
                await stream.send(encode_record(No()))
                return
            while await self._send_live(stream, job, asked.attempt, at):
                continue
            stand = self._stand(job, asked.attempt)
            if stand.ended:
                await self._end(stream, job, asked.attempt, at)
                return
            if not asked.follow:
                await stream.send(encode_record(End(complete=False)))
                return
            await change.wait()

    async def _end(
        self, stream: Stream, job: JobId, attempt: int, at: dict[str, int]
    ) -> None:
        stand = self._stand(job, attempt)
        if not stand.sealed:
            await self._send_stored(stream, stand.result, at)
        stored = stand.result is not None
        lacking = not self._book.is_all(job, attempt, at)
        end = End(
            in_result=stand.sealed and stored and lacking,
            in_chain=stand.chained and not stored and lacking,
        )
        await stream.send(encode_record(end))

    async def _send_chain(self, stream: Stream, job: JobId, attempt: int) -> None:
        with closing(self._records(job, attempt)) as records:
            while True:
                data = await trio.to_thread.run_sync(next, records, None)
                if data is None:
                    break
                await stream.send(encode_record(Kept(data=data)))
        await stream.send(encode_record(End()))

    async def _send_live(
        self, stream: Stream, job: JobId, attempt: int, at: dict[str, int]
    ) -> bool:
        sent = False
        for name in NAMES:
            data = self._book.read(job, attempt, name, at[name])
            if data:
                await stream.send(encode_record(Piece(stream=name, data=data)))
                at[name] += len(data)
                sent = True
        return sent

    async def _send_stored(
        self, stream: Stream, result: Cid | None, at: dict[str, int]
    ) -> None:
        if result is None:
            return
        tree = await trio.to_thread.run_sync(tree_of, self._store, result)
        chunks = {file.path: file.chunks for file in tree.files}
        for name in NAMES:
            first, skip = divmod(at[name], CHUNK_BYTES)
            for cid in chunks.get(name, ())[first:]:
                data = await trio.to_thread.run_sync(self._store.get, cid)
                for start in range(skip, len(data), PIECE_BYTES_MAX):
                    piece = data[start : start + PIECE_BYTES_MAX]
                    await stream.send(encode_record(Piece(stream=name, data=piece)))
                skip = 0


def _thinned(marks: list[Mark]) -> list[Mark]:
    """Return about half as many moments, evenly apart."""
    apart_s = 2 * (marks[-1][0] - marks[0][0]) // MARKS_MAX
    kept = marks[:1]
    for mark in marks:
        if mark[0] - kept[-1][0] > apart_s:
            kept.append(mark)
    return kept


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


async def _until_gone(stream: Stream, scope: trio.CancelScope) -> None:
    try:
        await stream.receive()
    except PeerError as error:
        _log.debug("follower %s left: %s", stream.peer_id, error)
    scope.cancel()


async def follow(stream: Stream, asked: Follow) -> AsyncGenerator[Piece | End, None]:
    """Ask for logs, and yield what comes, the end last.

    Raises:
        BlockRefusedError: there are no such logs for us.
        PeerError: the peer broke the rules, or the stream broke.
    """
    await stream.send(encode_record(asked))
    while True:
        data = await stream.receive()
        if data is None:
            raise BlockProtocolError("the peer left before the end of the logs")
        said: Piece | End | No = decode_record(
            Piece | End | No, data, bytes_max=FRAME_BYTES_MAX
        )
        if isinstance(said, No):
            raise BlockRefusedError(f"{stream.peer_id} has no such logs for us")
        yield said
        if isinstance(said, End):
            return
