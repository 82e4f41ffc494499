"""A user's side of the bulk streams: results in, inputs out, logs as they come.

Rule: nothing appears where the user wants it before all of it was verified; what
was verified once stays in the home's block store, so that a transfer that broke
goes on where it was. Blocks can be fetched again, so that only what appears in the
end waits for the disk.
"""

import logging
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from nunet_node.errors import PeerError
from nunet_node.network.port import Host, NotConnected
from nunet_node.network.stream import Stream, StreamBroken
from nunet_node.protocol.effects import DeliverInputs
from nunet_node.protocol.inputs import (
    Input,
    InputsDelivered,
    InputsNotDelivered,
)
from nunet_node.protocol.messages import BLOCKS_PROTOCOL, LOGS_PROTOCOL
from nunet_node.results.errors import BlockError, SealError
from nunet_node.results.layout import STDERR, STDOUT, check_result
from nunet_node.results.logs.packing import records_in
from nunet_node.results.manifest import Tree, TreeLimits
from nunet_node.results.plan import missing_blocks
from nunet_node.results.sealed_tree import SealedIndex, SealedReader
from nunet_node.results.sealing import Seal
from nunet_node.results.unixfs import of_tree
from nunet_node.runtime.exchange.blocks import (
    Taking,
    take_blocks,
    take_manifest,
    take_plan,
    take_tree,
    tree_of,
)
from nunet_node.runtime.exchange.bulk.gathering import LOST, Listener, OnDropped, gather
from nunet_node.runtime.exchange.bulk.haul import Haul
from nunet_node.runtime.exchange.bulk.offers import Offers
from nunet_node.runtime.exchange.bulk.small import Found, bring_small
from nunet_node.runtime.exchange.bulk.writing import Get, write_result
from nunet_node.runtime.exchange.handover import Offer, deliver
from nunet_node.runtime.exchange.logs import (
    PIECE_BYTES_MAX,
    Begin,
    End,
    Follow,
    follow,
)
from nunet_node.runtime.store.ahead import expecting
from nunet_node.runtime.store.chains import beginning_of, chain_of
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockDamagedError
from nunet_node.storage.materialise import check_target
from nunet_node.storage.read_tree import Source, read_tree
from nunet_node.wire.cid import Cid

BREAKS_MAX: Final = 8
"""Broken streams in one transfer before it is given up. The grant ends with the
connection, so that only what breaks a stream alone is worth trying again."""

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes in all."""

Rest = Callable[[Follow], AsyncGenerator[tuple[str, bytes], None]]
"""Yields (stream, bytes) of logs that lie beyond some offsets."""

_T = TypeVar("_T")

_NOBODY: Final = Listener()

_log = logging.getLogger("nunet_node.runtime.exchange.fetching")


class Transfers:
    """Moves bulk bytes between this home's own store and its peers."""

    def __init__(
        self, host: Host, store: BlockStore, offers: Offers | None = None
    ) -> None:
        self.host = host
        self.store = store
        self._offers = offers or Offers()

    async def fetch(
        self,
        peers: Sequence[str],
        root: Cid,
        target: Path,
        *,
        seal: Seal | None = None,
        beside: Mapping[str, bytes] | None = None,
        listener: Listener = _NOBODY,
    ) -> None:
        """Fetch a result that these peers granted, and write it to ``target``.

        Args:
            peers: who granted it, on the connections that are open now.
            root: the result's id, as its receipt names it.
            target: a directory that does not exist or is empty.
            seal: what opens it; None for a public one.
            beside: small files to put there too.
            listener: hears how it goes on, and may know of more peers.

        Raises:
            PeerError: no peer brings it, or it cannot be written; nothing is then.
        """
        await trio.to_thread.run_sync(check_target, target)
        left = list(peers)

        def drop(peer_id: str, why: str) -> None:
            if peer_id in left:
                left.remove(peer_id)
            listener.on_dropped(peer_id, why)

        helper = replace(listener, on_dropped=drop)
        found = await self._found(left, root, drop)
        write = partial(write_result, found.tree, seal, target, beside)
        try:
            if found.is_whole:
                size_bytes = found.tree.size_bytes
                listener.on_progress(size_bytes, size_bytes)
                await trio.to_thread.run_sync(_write_here, found, self.store, write)
            else:
                await self._gather(left, found.tree, self.store.has, write, helper)
        except (BlockDamagedError, BlockError, SealError) as error:
            if not left:
                raise
            # A power cut left it, and perhaps others.
            _log.info("%s; what is damaged is fetched again", error)
            await self._gather(left, found.tree, self.store.is_intact, write, helper)

    async def _gather(
        self,
        left: Sequence[str],
        tree: Tree,
        has: Callable[[Cid], bool],
        write: Callable[[Get], None],
        listener: Listener,
    ) -> None:
        """Write a result while peers bring what is lacking of it."""
        missing = await trio.to_thread.run_sync(missing_blocks, tree, has)
        heard = _in_loop(listener.on_progress)
        haul = Haul(self.store, missing, tree.size_bytes, heard)
        await gather(self.host, tuple(left), haul, lambda: write(haul.get), listener)

    async def _found(self, left: list[str], root: Cid, drop: OnDropped) -> Found:
        """Return the tree that the first of some peers to have it lists.

        What is lacking of a small one comes with it.
        """
        taking = Taking(has=self.store.has, durable=False)

        async def take(stream: Stream) -> Found:
            tree, missing = await take_plan(stream, root, self.store, taking)
            found = await bring_small(stream, tree, missing)
            # If it is the only one, the gathering asks it again and tells why.
            if found.lie and len(left) > 1:
                drop(stream.peer_id, found.lie)
            return found

        for peer_id in tuple(left):
            try:
                return await self._taken(peer_id, take)
            except LOST:
                if peer_id == left[-1]:
                    raise
            except PeerError as error:
                drop(peer_id, str(error))
                if not left:
                    raise
        raise AssertionError("unreachable")

    async def result_logs(
        self, peer_id: str, root: Cid, seal: Seal, asked: Follow
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        """Yield (stream, bytes) of the logs in a sealed result, from some offsets on.

        Only the blocks that hold them are fetched.

        Raises:
            PeerError: as `fetch`.
        """
        taking = Taking(has=self.store.has, durable=False)

        async def take(stream: Stream) -> tuple[SealedReader, list[tuple[str, range]]]:
            tree = await take_manifest(stream, root, self.store, taking)
            reader = SealedReader(tree, seal, self.store.get)
            for place in (lambda: reader.trailer, reader.index_place):
                wanted = reader.blocks(await trio.to_thread.run_sync(place))
                await take_blocks(stream, wanted, self.store, taking)
            index = await trio.to_thread.run_sync(reader.index)
            check_result(index)
            places = _log_places(reader, index, asked)
            lines = [block for _, place in places for block in reader.blocks(place)]
            await take_blocks(stream, lines, self.store, taking)
            return reader, places

        reader, places = await self._taken(peer_id, take)
        for name, place in places:
            for start in range(place.start, place.stop, PIECE_BYTES_MAX):
                part = range(start, min(start + PIECE_BYTES_MAX, place.stop))
                data = await trio.to_thread.run_sync(_read, reader, part)
                yield name, data

    async def _taken(self, peer_id: str, take: Callable[[Stream], Awaitable[_T]]) -> _T:
        """Return what is taken from a stream, going on where one that broke was."""
        for breaks in range(BREAKS_MAX + 1):
            stream = await self.host.open_stream(peer_id, BLOCKS_PROTOCOL)
            try:
                async with stream:
                    return await take(stream)
            except StreamBroken as error:
                if breaks == BREAKS_MAX:
                    raise
                _log.info("the transfer from %s broke: %s", peer_id, error)
        raise AssertionError("unreachable")

    async def public_name(self, root: Cid) -> str:
        """Return the id under which IPFS tools know a public result that is here.

        Raises:
            PeerError: a part of its manifest is missing, or it has no such form.
        """

        def name() -> str:
            return of_tree(tree_of(self.store, root)).text

        return await trio.to_thread.run_sync(name)

    async def deliver(self, order: DeliverInputs) -> Input:
        """Hand an order's inputs to its provider; return what came of it."""
        offer = Offer(job=order.job, attempt=order.attempt, root=order.root)
        try:
            stream = await self.host.open_stream(order.peer_id, BLOCKS_PROTOCOL)
            async with stream:
                await deliver(stream, offer, self.store, self._offers)
        except PeerError as error:
            return InputsNotDelivered(
                job=order.job, attempt=order.attempt, reason=str(error)
            )
        return InputsDelivered(job=order.job, attempt=order.attempt)

    async def follow_logs(
        self, peer_id: str, asked: Follow, rest: Rest
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        """Yield (stream, bytes) of a job's logs as they come, to their end.

        Args:
            peer_id: who granted it; the connection must be the same one.
            asked: which logs, and from where on.
            rest: yields what lies beyond some offsets in a sealed result; used when
                the job has ended and its logs are to be found there alone.

        Raises:
            PeerError: the peer granted no such logs, or its connection was lost;
                asking for leave again, and for the rest, goes on.
        """
        breaks = 0
        end: End | None = None
        while end is None and breaks <= BREAKS_MAX:
            try:
                stream = await self.host.open_stream(peer_id, LOGS_PROTOCOL)
                async with stream, aclosing(follow(stream, asked)) as pieces:
                    async for said in pieces:
                        if isinstance(said, End):
                            end = said
                            break
                        asked = _beyond(asked, said.stream, len(said.data))
                        yield said.stream, said.data
            except StreamBroken as error:
                _log.info("the logs from %s broke: %s", peer_id, error)
                breaks += 1
        if end is None:
            raise NotConnected(f"the logs from {peer_id} break again and again")
        if end.in_result or end.in_chain:
            async with aclosing(rest(asked)) as pieces:
                async for name, data in pieces:
                    yield name, data

    async def log_chain(
        self, peer_id: str, asked: Follow
    ) -> AsyncGenerator[bytes, None]:
        """Yield the records of the chain of logs that a peer granted.

        Raises:
            PeerError: the peer granted no such logs, or was lost.
        """
        stream = await self.host.open_stream(peer_id, LOGS_PROTOCOL)
        async with stream, aclosing(chain_of(stream, asked)) as records:
            async for record in records:
                yield record

    async def log_copy(self, peer_id: str, root: Cid) -> AsyncGenerator[bytes, None]:
        """Yield the records of a packed chain, once all of it is here.

        Raises:
            PeerError: as `fetch`; or it is no packed chain.
        """
        taking = Taking(
            has=self.store.has, durable=False, limits=TreeLimits(files_max=1)
        )
        tree = await self._taken(
            peer_id, lambda stream: take_tree(stream, root, self.store, taking)
        )
        with closing(records_in(tree, self.store.get)) as records:
            while True:
                record = await trio.to_thread.run_sync(next, records, None)
                if record is None:
                    return
                yield record

    async def logs_since(self, peer_id: str, asked: Follow) -> Begin:
        """Return from where on the streams were written since ``asked.since_s``.

        Raises:
            PeerError: the peer granted no such logs, or was lost.
        """
        stream = await self.host.open_stream(peer_id, LOGS_PROTOCOL)
        async with stream:
            return await beginning_of(stream, asked)

    async def store_inputs(self, sources: Sequence[Source]) -> tuple[Cid, int]:
        """Read files and directories into the home's store, to be handed over.

        Returns:
            The id of their tree, and its size in bytes.

        Raises:
            PeerError: a file cannot be read or carried; says which.
        """

        def read() -> tuple[Cid, int]:
            built = read_tree(self.store, sources).built
            return built.root, built.tree.size_bytes

        return await trio.to_thread.run_sync(read)


def _write_here(found: Found, store: BlockStore, write: Callable[[Get], None]) -> None:
    """Write a result of which nothing is lacking."""
    order = (cid for file in found.tree.files for cid in file.chunks)
    with expecting(found.keep(store), order) as get:
        write(get)


def _in_loop(on_progress: Progress) -> Progress:
    """Return what calls ``on_progress`` in the loop that runs now, from any thread."""
    token = trio.lowlevel.current_trio_token()

    def hear(done: int, total: int) -> None:
        token.run_sync_soon(on_progress, done, total, idempotent=True)

    return hear


def _log_places(
    reader: SealedReader, index: SealedIndex, asked: Follow
) -> list[tuple[str, range]]:
    starts = {STDOUT: asked.stdout_from, STDERR: asked.stderr_from}
    return [
        (file.path, reader.place(file, starts[file.path]))
        for file in index.files
        if file.path in starts
    ]


def _read(reader: SealedReader, place: range) -> bytes:
    return b"".join(reader.read(place))


def _beyond(asked: Follow, stream: str, size_bytes: int) -> Follow:
    """Return what to ask for after some bytes more have come."""
    if stream == STDOUT:
        return msgspec.structs.replace(
            asked, stdout_from=asked.stdout_from + size_bytes
        )
    return msgspec.structs.replace(asked, stderr_from=asked.stderr_from + size_bytes)
