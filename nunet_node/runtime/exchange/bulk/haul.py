"""Blocks on their way from several sources into one store.

Rule: a block counts only when it was checked; who brought it does not matter, and one
who brings another than was asked for brings nothing more. What was checked is stored,
so that a fetch that breaks goes on from there. Whoever writes the result waits here
for each block in turn, so that opening and writing go on while the rest comes. Threads
and tasks meet at one lock; nothing slow is done while it is held.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from nunet_node.errors import PeerError
from nunet_node.results.plan import Shares, WantedBlock, check_block
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.cid import Cid

PORTION_BLOCKS: Final = 4
"""Blocks in one request: few, so that a block that is urgent is asked for soon."""

AHEAD_BLOCKS: Final = 8
"""Blocks asked of one source before they came, so that it never waits for us; lost
with it, they are asked of others."""

HELD_BLOCKS_MAX: Final = 16
"""Blocks that stay in memory for the writer, which mostly wants them at once: what one
source has on its way, twice. It reads older ones from the store."""

UNSTORED_BLOCKS_MAX: Final = 16
"""Blocks that wait for the disk; a faster source waits with them."""

OnBytes = Callable[[int, int], None]
"""Called from any thread with the bytes that are here and the bytes in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How blocks are kept.

    ``durable`` says whether the disk is waited for, ``on_block`` hears in a thread of
    each block that is stored, and ``held_max`` blocks stay in memory for the writer.
    """

    durable: bool = False
    on_block: Callable[[Cid], None] = lambda _cid: None
    held_max: int = HELD_BLOCKS_MAX


_FOR_A_WRITER: Final = Keeping()


class HaulEndedError(PeerError):
    """The rest of the blocks will not come."""

    code = "blocks.not-all"


class Haul:
    """The blocks that one fetch lacks; from any thread.

    Args:
        store: where they go.
        missing: what is lacking, in the order in which it is needed.
        size_bytes: bytes of the whole tree.
        on_bytes: hears of every block that came.
        keeping: how they are stored.
    """

    def __init__(
        self,
        store: BlockStore,
        missing: Sequence[WantedBlock],
        size_bytes: int,
        on_bytes: OnBytes,
        keeping: Keeping = _FOR_A_WRITER,
    ) -> None:
        self._store = store
        self._keeping = keeping
        self._shares = Shares(missing)
        self._lacking = {block.cid for block in missing}
        self._changed = threading.Condition()
        self._ended: str | None = None
        self._held: OrderedDict[Cid, bytes | memoryview] = OrderedDict()
        self._unstored: OrderedDict[Cid, bytes | memoryview] = OrderedDict()
        self._total = size_bytes
        # Equal chunks are fetched once, but count wherever they stand.
        self._here = max(0, size_bytes - sum(block.size_bytes for block in missing))
        self._awaited: Cid | None = None
        self._on_bytes = on_bytes
        on_bytes(self._here, self._total)

    @property
    def done(self) -> bool:
        """Whether everything came."""
        with self._changed:
            return not self._lacking

    @property
    def ended(self) -> bool:
        """Whether nobody waits for the rest any more."""
        with self._changed:
            return self._ended is not None

    @property
    def lacking_bytes(self) -> int:
        """How much is still to come."""
        with self._changed:
            return self._total - self._here

    def join(self, source: str) -> None:
        """Count on a source."""
        with self._changed:
            self._shares.join(source)

    def leave(self, source: str) -> None:
        """Count on a source no longer; others are asked for what it owes."""
        with self._changed:
            self._shares.leave(source)
            self._changed.notify_all()

    def end(self, why: str) -> None:
        """Let nobody wait any longer for what is lacking."""
        with self._changed:
            if self._ended is None:
                self._ended = why
            self._changed.notify_all()

    def take(self, source: str, *, wait: bool) -> tuple[WantedBlock, ...]:
        """Return what to ask of a source next.

        Args:
            source: one that joined.
            wait: whether to wait until there is something; then nothing means that
                nothing more is wanted of this source.
        """
        with self._changed:
            while self._ended is None and not self._shares.spent(source):
                taken = self._shares.take(source, PORTION_BLOCKS)
                if taken or not wait:
                    return taken
                self._changed.wait()
            return ()

    def keep(self, wanted: WantedBlock, data: bytes | memoryview) -> None:
        """Check a block that came; its bytes are the haul's from now on.

        Waits while the disk is behind, or the writer, unless that waits itself.

        Raises:
            BlockError: it is another one.
        """
        check_block(wanted, data)
        with self._changed:
            self._shares.arrived(wanted.cid)
            if wanted.cid in self._lacking:
                self._lacking.discard(wanted.cid)
                self._unstored[wanted.cid] = data
                self._hold(wanted.cid, data)
                self._here += wanted.size_bytes
                self._on_bytes(self._here, self._total)
            self._changed.notify_all()
            while self._is_behind() and self._ended is None:
                self._changed.wait()

    def store(self) -> None:
        """Store what comes, until all of it is stored or the haul ends.

        Raises:
            StoreUnavailableError: the disk is full or failing.
        """
        while portion := self._next_unstored():
            with self._store.batch(durable=self._keeping.durable) as batch:
                for cid, data in portion:
                    batch.put(data, cid, checked=True)
            for cid, _ in portion:
                self._keeping.on_block(cid)
            with self._changed:
                for cid, _ in portion:
                    del self._unstored[cid]
                self._changed.notify_all()

    def refused(self, source: str, wanted: WantedBlock) -> None:
        """Take note that a source has no such block for us."""
        with self._changed:
            self._shares.refused(source, wanted.cid)
            self._changed.notify_all()

    def get(self, cid: Cid) -> bytes | memoryview:
        """Return a block's bytes, checked, once it is here.

        Raises:
            HaulEndedError: it will not come.
            BlockDamagedError: it was here, and is damaged on disk.
            StoreUnavailableError: the disk fails.
        """
        with self._changed:
            self._shares.urge(cid)
            if cid in self._lacking:
                self._wait_for(cid)
            held = self._held.pop(cid, None)
            if held is None:
                held = self._unstored.get(cid)
            # There is room for another one, for which a source may wait.
            self._changed.notify_all()
        return self._store.get(cid) if held is None else held

    def _wait_for(self, cid: Cid) -> None:
        self._awaited = cid
        self._changed.notify_all()
        while cid in self._lacking:
            if self._ended is not None:
                raise HaulEndedError(self._ended)
            self._changed.wait()

    def _hold(self, cid: Cid, data: bytes | memoryview) -> None:
        """Keep a block in memory for the writer, if there is room.

        It wants those that came before this one first.
        """
        if len(self._held) < self._keeping.held_max or cid == self._awaited:
            self._held[cid] = data
        if cid == self._awaited:
            self._awaited = None

    def _is_behind(self) -> bool:
        """Tell whether the disk is behind, or the writer.

        It would have to read again what comes now. While it waits it is not behind,
        whatever comes before its block.
        """
        if len(self._unstored) >= UNSTORED_BLOCKS_MAX:
            return True
        full = len(self._held) >= self._keeping.held_max > 0
        return full and self._awaited is None

    def _next_unstored(self) -> list[tuple[Cid, bytes | memoryview]]:
        """Wait for blocks to store; none when there will be no more."""
        with self._changed:
            while not self._unstored and self._lacking and self._ended is None:
                self._changed.wait()
            # One sync for all that wait; else few, so that their memory is free soon.
            durable = self._keeping.durable
            blocks_max = UNSTORED_BLOCKS_MAX if durable else PORTION_BLOCKS
            return list(islice(self._unstored.items(), blocks_max))
