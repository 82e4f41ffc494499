"""Handing over a job's inputs, and serving blocks: the two uses of the block protocol.

To hand over, a peer opens a stream and offers a root; then the roles turn, and the
provider asks for whatever it lacks, until it says that everything is staged. It says
so only after the node has written it down, so that the peer may leave for good. A copy
of a result is handed to its holder in the same way.

Rule: nothing is taken that the node does not expect from this very peer. What a job's
inputs name must be handed over by its own owner: a block that some other owner
brought counts as lacking, because otherwise its id alone would buy its bytes.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
import trio

from nunet_node.errors import PeerError
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import Attempt
from nunet_node.network.port import Host
from nunet_node.network.stream import Stream
from nunet_node.protocol.inputs import InputsArrived, InputsNotKept
from nunet_node.protocol.messages import BLOCKS_PROTOCOL
from nunet_node.protocol.provider.custody import Job
from nunet_node.results.manifest import TreeLimits
from nunet_node.results.plan import missing_blocks
from nunet_node.runtime.exchange.blocks import (
    Taking,
    blocks_under,
    take_manifest,
    take_tree,
)
from nunet_node.runtime.exchange.bulk.offers import Offers
from nunet_node.runtime.exchange.bulk.taking import OpenChannel, take_by_bulk
from nunet_node.runtime.exchange.grants import Expected, ExpectedCopy, Grants
from nunet_node.runtime.exchange.requests import (
    FRAME_BYTES_MAX,
    BlockProtocolError,
    BlockRefusedError,
    No,
    Want,
    answer,
)
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import StoreUnavailableError
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record, decode_record, encode_record

INPUT_FILES_MAX: Final = 20_000
"""Files that a job's inputs may have: what the executors lay out for one job."""

STREAMS_PER_PEER_MAX: Final = 16
"""Block streams of one peer that are served at once; each may hold some groups of
blocks in memory."""

STREAMS_WAITING_MAX: Final = 64
"""Further ones that wait for their turn, with what the transport holds of them. Eight
jobs that end together open two each, and end them as fast as they are answered."""

OWNERS_KEPT_MAX: Final = 1024
"""Owners whose handed-over blocks are remembered; one that is forgotten sends its
common inputs once more."""

HANDOVERS_MAX: Final = 8
"""Hand-overs at once; each holds a few groups of blocks in memory, and more would
not make the disk faster. The rest wait."""

STRANGERS_BLOCKS_MAX: Final = 64
"""Blocks that are on their way to peers that were granted nothing: a mebibyte each,
however many such peers there are. Those that were granted something do not wait."""

IDLE_S: Final = 60
"""How long a peer may leave a stream without a request."""

_log = logging.getLogger("nunet_node.runtime.handover")

JobName = Annotated[str, msgspec.Meta(max_length=64)]


class Offer(Record, tag_field="kind", tag="offer"):
    """These are the inputs of that job; ask for what you lack."""

    job: JobName
    attempt: Attempt
    root: Cid
    copy: bool = False
    """It is no job's inputs, but a copy of the attempt's result."""


class Staged(Record, tag_field="kind", tag="staged"):
    """Everything is on disk, and the job needs nothing more from you."""


async def _keep_none(_job: JobId, _copy: ExpectedCopy) -> None:
    raise BlockRefusedError("this peer keeps no copies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepers:
    """What keeps that of which all is here from being cleared.

    ``inputs`` keeps those of a job's attempt, and runs in a thread; ``copy`` keeps a
    copy of a result, and returns once that is durable.
    """

    inputs: Callable[[JobId, int], None] = lambda _job, _attempt: None
    copy: Callable[[JobId, ExpectedCopy], Awaitable[None]] = _keep_none


class HandedOver:
    """Which blocks each owner, or who brings its copies, has handed over so far."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, set[Cid]] = OrderedDict()

    def of(self, owner: str) -> set[Cid]:
        """Return the owner's blocks, to be added to."""
        blocks = self._of.setdefault(owner, set())
        self._of.move_to_end(owner)
        if len(self._of) > OWNERS_KEPT_MAX:
            self._of.popitem(last=False)
        return blocks


@dataclass(slots=True, eq=False)
class _Line:
    """The block streams of one peer, served and waiting."""

    served: trio.CapacityLimiter = field(
        default_factory=lambda: trio.CapacityLimiter(STREAMS_PER_PEER_MAX)
    )
    streams: int = 0


class BlockServer:
    """Answers the block streams that peers open.

    Args:
        store: where blocks are.
        grants: who may have what, and hand over what.
        job_of: returns a job in our custody, if there is one of that id.
        tell: tells the node that a job's inputs are here, or found no place; returns
            once that is durable.
        keepers: what keeps it.
        open_channel: opens a bulk connection to a peer that hands something over.
    """

    def __init__(
        self,
        store: BlockStore,
        grants: Grants,
        job_of: Callable[[JobId], Job | None],
        tell: Callable[[InputsArrived | InputsNotKept], Awaitable[None]],
        keepers: Keepers | None = None,
        open_channel: OpenChannel | None = None,
    ) -> None:
        self._store = store
        self._grants = grants
        self._job_of = job_of
        self._tell = tell
        self._keepers = keepers or Keepers()
        self._open_channel = open_channel
        self._handed = HandedOver()
        self._lines: dict[str, _Line] = {}
        self._taking: set[JobId] = set()
        self._room = trio.CapacityLimiter(HANDOVERS_MAX)
        self._strangers = trio.CapacityLimiter(STRANGERS_BLOCKS_MAX)

    def serve(self, host: Host) -> None:
        """Let peers open block streams with us."""
        host.serve(BLOCKS_PROTOCOL, self._serve)

    def has_all(self, job: JobId, root: Cid) -> bool:
        """Tell whether the job's owner has handed all of a tree over. Blocks."""
        blocks = blocks_under(self._store, root)
        return bool(blocks) and blocks <= self._handed.of(self._owner_of(job))

    async def _serve(self, stream: Stream) -> None:
        line = self._lines.setdefault(stream.peer_id, _Line())
        if line.streams >= STREAMS_PER_PEER_MAX + STREAMS_WAITING_MAX:
            await stream.reset()
            return
        line.streams += 1
        try:
            async with line.served:
                await self._converse(stream)
        finally:
            line.streams -= 1
            if not line.streams:
                del self._lines[stream.peer_id]

    async def _converse(self, stream: Stream) -> None:
        while True:
            with trio.move_on_after(IDLE_S) as patience:
                data = await stream.receive()
            if patience.cancelled_caught or data is None:
                return
            asked: Want | Offer = decode_record(
                Want | Offer, data, bytes_max=FRAME_BYTES_MAX
            )
            if isinstance(asked, Want):
                await self._answer(stream, asked)
            else:
                await self._take(stream, asked)

    async def _answer(self, stream: Stream, want: Want) -> None:
        def allowed(cid: Cid) -> bool:
            return self._grants.may_read(stream.peer_id, cid)

        # Strangers may have what is public, and keep nobody from what is granted.
        granted = self._grants.reads_any(stream.peer_id)
        room = None if granted else self._strangers
        await answer(stream, want, allowed, self._store, room)

    async def _take_copy(self, stream: Stream, offer: Offer) -> None:
        job = JobId(offer.job)
        expected = self._grants.expected_copy(stream.peer_id, job)
        if expected is None or expected.root != offer.root:
            await stream.send(encode_record(No()))
            return
        # What this custodian brought counts, and not what the owner did: else it could
        # name the owner's inputs as a result of its own making, and have them.
        handed = self._handed.of(f"{expected.owner} {stream.peer_id}")

        def has(cid: Cid) -> bool:
            return cid in handed and self._store.has(cid)

        taking = Taking(
            has=has,
            limits=TreeLimits(bytes_max=expected.bytes_max),
            on_block=handed.add,
        )
        async with self._room:
            await self._take_tree(stream, expected.root, taking)
            await self._keepers.copy(job, expected)
        await stream.send(encode_record(Staged()))

    async def _take(self, stream: Stream, offer: Offer) -> None:
        if offer.copy:
            await self._take_copy(stream, offer)
            return
        job = JobId(offer.job)
        expected = self._grants.expected(stream.peer_id, job, offer.attempt)
        if expected is None or expected.root != offer.root:
            await stream.send(encode_record(No()))
            return
        if job in self._taking:
            # The first stream goes on; a second would only cost memory.
            await stream.reset()
            return
        self._taking.add(job)
        try:
            await self._stage(stream, job, offer.attempt, expected)
        except PeerError as error:
            _log.info("inputs of %s from %s: %s", job, stream.peer_id, error)
            raise
        finally:
            self._taking.discard(job)
        await stream.send(encode_record(Staged()))

    async def _stage(
        self, stream: Stream, job: JobId, attempt: int, expected: Expected
    ) -> None:
        kept = self._job_of(job)
        if kept is None or not kept.staged:
            try:
                async with self._room:
                    await self._take_inputs(stream, job, expected)
                    await trio.to_thread.run_sync(self._keepers.inputs, job, attempt)
            except StoreUnavailableError as error:
                why = str(error)
                await self._tell(InputsNotKept(job=job, attempt=attempt, reason=why))
                raise
            await self._tell(InputsArrived(job=job, attempt=attempt))

    def _owner_of(self, job: JobId) -> str:
        kept = self._job_of(job)
        return kept.owner if kept is not None else ""

    async def _take_inputs(
        self, stream: Stream, job: JobId, expected: Expected
    ) -> None:
        handed = self._handed.of(self._owner_of(job))

        def has(cid: Cid) -> bool:
            return cid in handed and self._store.has(cid)

        room = TreeLimits(files_max=INPUT_FILES_MAX, bytes_max=expected.bytes_max)
        taking = Taking(has=has, limits=room, on_block=handed.add)
        await self._take_tree(stream, expected.root, taking)

    async def _take_tree(self, stream: Stream, root: Cid, taking: Taking) -> None:
        """Take a tree: by a bulk connection if one comes about, then by the stream."""
        if self._open_channel is not None:
            tree = await take_manifest(stream, root, self._store, taking)
            missing = await trio.to_thread.run_sync(missing_blocks, tree, taking.has)
            await take_by_bulk(
                self._open_channel, stream.peer_id, missing, self._store, taking
            )
        await take_tree(stream, root, self._store, taking)


async def deliver(
    stream: Stream, offer: Offer, store: BlockStore, offers: Offers
) -> None:
    """Hand a job's inputs over; return once the provider has them for good.

    Args:
        stream: to the provider.
        offer: what it is offered.
        store: where the blocks are.
        offers: where bulk connections see what they may be asked for.

    Raises:
        BlockRefusedError: the provider does not expect them from us.
        PeerError: the provider asks for what does not belong to them, or breaks off.
    """
    allowed = await trio.to_thread.run_sync(blocks_under, store, offer.root)
    with offers.opened(stream.peer_id, store, allowed):
        await stream.send(encode_record(offer))
        await _answer_all(stream, allowed, store)


async def _answer_all(
    stream: Stream, allowed: frozenset[Cid], store: BlockStore
) -> None:
    while True:
        data = await stream.receive()
        if data is None:
            raise BlockProtocolError("the provider left before all inputs were there")
        said: Want | Staged | No = decode_record(
            Want | Staged | No, data, bytes_max=FRAME_BYTES_MAX
        )
        match said:
            case Want():
                await answer(stream, said, allowed.__contains__, store)
            case Staged():
                return
            case No():
                raise BlockRefusedError("the provider does not expect these inputs")
