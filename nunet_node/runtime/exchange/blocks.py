"""Whole trees and parts of them from one peer, over one stream of `/nunet/blocks/1`.

Rule: whoever receives checks every block against its name before it is stored, reads
on while others are being written, and keeps what came when the stream breaks, so that
the next try asks for the rest only.
"""

from collections.abc import (
    AsyncIterator,
    Callable,
    Sequence,
)
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import trio

from nunet_node.errors import PeerError
from nunet_node.network.stream import Stream
from nunet_node.results.manifest import (
    Manifest,
    Tree,
    TreeLimits,
    parse_root,
    parse_tree,
)
from nunet_node.results.plan import WantedBlock, check_block, missing_blocks
from nunet_node.runtime.exchange.requests import request
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockDamagedError
from nunet_node.wire.cid import Cid

GROUP_BYTES: Final = 8 << 20
"""Bytes stored with one sync: large enough to make syncs cheap, small enough that a
broken transfer loses little."""

GROUPS_WAITING_MAX: Final = 2
"""Groups that wait for the disk while more are read."""


_NO_LIMITS: Final = TreeLimits()

_Group = list[tuple[Cid, bytes]]
_T = TypeVar("_T")


def tree_of(store: BlockStore, root: Cid) -> Tree:
    """Read a whole stored tree. Blocks on the disk.

    Raises:
        PeerError: a part of it is missing or damaged, or it is none.
    """
    manifest = parse_root(store.get(root), TreeLimits())
    return parse_tree(manifest, [store.get(page) for page in manifest.pages])


def blocks_under(store: BlockStore, root: Cid) -> frozenset[Cid]:
    """Return every block of a stored tree, its manifest included; none if it is not.

    Blocks on the disk.
    """
    try:
        manifest = parse_root(store.get(root), TreeLimits())
        tree = parse_tree(manifest, [store.get(page) for page in manifest.pages])
    except PeerError:
        return frozenset()
    chunks = (chunk for file in tree.files for chunk in file.chunks)
    return frozenset((root, *manifest.pages, *chunks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """How to take a tree in.

    ``has`` tells whether a block need not be fetched, and runs in a thread;
    ``limits`` are judged before anything but the root is fetched. ``on_block`` hears
    of each block that came and was stored, ``on_bytes`` of the bytes here so far and
    of those in all. ``durable`` says whether to wait for the disk: whoever takes a
    copy for somebody else has to, and who can fetch it again has not.
    """

    has: Callable[[Cid], bool]
    durable: bool = True
    limits: TreeLimits = _NO_LIMITS
    on_block: Callable[[Cid], None] = lambda _cid: None
    on_bytes: Callable[[int, int], None] = lambda _done, _total: None


async def take_tree(
    stream: Stream, root: Cid, store: BlockStore, taking: Taking
) -> Tree:
    """Fetch whatever is lacking of a tree, store it, and return the tree.

    Raises:
        BlockRefusedError: the peer said no.
        PeerError: the peer sent something else than asked for, or broke off; what
            came before is kept.
    """
    tree, missing = await take_plan(stream, root, store, taking)
    progress = _Progress(tree.size_bytes, missing, taking)
    if missing:
        await _take_chunks(stream, missing, store, progress)
    return tree


async def take_manifest(
    stream: Stream, root: Cid, store: BlockStore, taking: Taking
) -> Tree:
    """Fetch whatever is lacking of a tree's manifest, store it, and return the tree.

    Raises:
        PeerError: as `take_tree`.
    """
    return await _with_manifest(stream, root, store, taking, lambda tree: tree)


async def take_plan(
    stream: Stream, root: Cid, store: BlockStore, taking: Taking
) -> tuple[Tree, tuple[WantedBlock, ...]]:
    """Do as `take_manifest`, and return which chunks are lacking, too.

    Raises:
        PeerError: as `take_tree`.
    """

    def plan(tree: Tree) -> tuple[Tree, tuple[WantedBlock, ...]]:
        return tree, missing_blocks(tree, taking.has)

    return await _with_manifest(stream, root, store, taking, plan)


async def take_blocks(
    stream: Stream, wanted: Sequence[WantedBlock], store: BlockStore, taking: Taking
) -> None:
    """Fetch whatever is lacking of some chunks of a tree, and store it.

    Raises:
        PeerError: as `take_tree`.
    """

    def lacking() -> list[WantedBlock]:
        return [block for block in wanted if not taking.has(block.cid)]

    missing = await trio.to_thread.run_sync(lacking)
    if missing:
        size_bytes = sum(block.size_bytes for block in wanted)
        progress = _Progress(size_bytes, missing, taking)
        await _take_chunks(stream, missing, store, progress)


class _Progress:
    """Tells whoever wants to know what has come."""

    def __init__(
        self, size_bytes: int, missing: Sequence[WantedBlock], taking: Taking
    ) -> None:
        # Equal chunks are fetched once, but count wherever they stand.
        self._total = size_bytes
        self._done = max(0, self._total - sum(block.size_bytes for block in missing))
        self._taking = taking
        self.durable = taking.durable
        taking.on_bytes(self._done, self._total)

    def stored(self, blocks: _Group) -> None:
        """Note that these blocks are on disk."""
        for cid, data in blocks:
            self._done += len(data)
            self._taking.on_block(cid)
        self._taking.on_bytes(self._done, self._total)


async def _with_manifest(
    stream: Stream,
    root: Cid,
    store: BlockStore,
    taking: Taking,
    then: Callable[[Tree], _T],
) -> _T:
    """Take a manifest; return what ``then`` makes of its tree, in a thread."""

    def begin(data: Sequence[bytes]) -> tuple[Manifest, list[_T]]:
        manifest = parse_root(data[0], taking.limits)
        whole = [] if manifest.pages else [then(parse_tree(manifest, ()))]
        return manifest, whole

    def finish(pages: Sequence[bytes]) -> _T:
        return then(parse_tree(manifest, pages))

    manifest, whole = await _take_small(stream, (root,), store, taking, begin)
    if whole:
        return whole[0]
    return await _take_small(stream, manifest.pages, store, taking, finish)


async def _take_small(
    stream: Stream,
    cids: Sequence[Cid],
    store: BlockStore,
    taking: Taking,
    then: Callable[[Sequence[bytes]], _T],
) -> _T:
    """Fetch and keep the manifest blocks that are lacking.

    Returns what ``then`` makes of them all, in the thread that keeps them.
    """

    def known() -> dict[Cid, bytes]:
        found: dict[Cid, bytes] = {}
        for cid in filter(taking.has, cids):
            # A damaged one is set aside, and fetched like any that is lacking.
            with suppress(BlockDamagedError):
                found[cid] = store.get(cid)
        return found

    def keep() -> _T:
        if fetched:
            with store.batch(durable=taking.durable) as batch:
                for cid, data in fetched:
                    batch.put(data, cid)
        found.update(fetched)
        return then([found[cid] for cid in cids])

    found = await trio.to_thread.run_sync(known)
    lacking = [cid for cid in cids if cid not in found]
    async with aclosing(request(stream, lacking)) as blocks:
        fetched = [(cid, data) async for cid, data in blocks]
    made = await trio.to_thread.run_sync(keep)
    for cid, _ in fetched:
        taking.on_block(cid)
    return made


async def _take_chunks(
    stream: Stream,
    missing: Sequence[WantedBlock],
    store: BlockStore,
    progress: _Progress,
) -> None:
    writer = _Writer(store, missing, progress)
    broken: PeerError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        async with writer.groups:
            try:
                async with aclosing(request(stream, writer.cids)) as blocks:
                    await writer.feed(blocks)
            except PeerError as error:
                broken = error
            # What came before a break is worth keeping.
            await writer.flush()
    failure = writer.error or broken
    if failure is not None:
        raise failure


class _Writer:
    """Takes blocks to the disk in groups, while more are read."""

    def __init__(
        self, store: BlockStore, missing: Sequence[WantedBlock], progress: _Progress
    ) -> None:
        self.error: PeerError | None = None
        self.groups, self._waiting = trio.open_memory_channel[_Group](
            GROUPS_WAITING_MAX
        )
        self._store = store
        self._wanted = {block.cid: block for block in missing}
        self._progress = progress
        self._group: _Group = []
        self._group_bytes = 0

    @property
    def cids(self) -> tuple[Cid, ...]:
        return tuple(self._wanted)

    async def run(self) -> None:
        """Write groups until there are no more, or one cannot be written."""
        try:
            async with self._waiting:
                async for group in self._waiting:
                    await trio.to_thread.run_sync(self._keep, group)
                    self._progress.stored(group)
        except PeerError as error:
            self.error = error

    async def feed(self, blocks: AsyncIterator[tuple[Cid, bytes]]) -> None:
        """Take blocks in, until the last of them or until one cannot be written."""
        async for cid, data in blocks:
            self._group.append((cid, data))
            self._group_bytes += len(data)
            if self._group_bytes >= GROUP_BYTES:
                await self.flush()
            if self.error is not None:
                return

    async def flush(self) -> None:
        """Hand over the blocks so far."""
        group, self._group, self._group_bytes = self._group, [], 0
        with suppress(trio.BrokenResourceError):
            await self.groups.send(group)

    def _keep(self, group: _Group) -> None:
        with self._store.batch(durable=self._progress.durable) as batch:
            for cid, data in group:
                check_block(self._wanted[cid], data)
                batch.put(data, cid, checked=True)
