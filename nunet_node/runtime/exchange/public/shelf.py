"""The blocks that anybody may have: those of public results, as UnixFS.

Rule: a block is here because a public result that is kept names it, and for no other
reason: that a block lies in the store says nothing. The nodes above the chunks are
made when a result is first looked at; chunks are read from the store, and checked.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from nunet_node.errors import PeerError
from nunet_node.results.unixfs import of_tree
from nunet_node.runtime.exchange.blocks import tree_of
from nunet_node.runtime.exchange.public.trees import PUBLIC_BLOCKS_MAX, REST
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockDamagedError, BlockMissingError
from nunet_node.wire.cid import Cid

_EMPTY: Final = Cid.of_raw(b"")


class Shelf:
    """What is public; calls block on the disk, and may come from several threads.

    Args:
        store: where the node keeps results.
        roots: returns the roots of the public results that are kept now.
        clock: tells elapsed seconds.
    """

    def __init__(
        self,
        store: BlockStore,
        roots: Callable[[], Iterable[Cid]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._roots = roots
        self._clock = clock
        self._turn = threading.Lock()
        self._rests_until_s = 0.0
        self._shown: dict[Cid, dict[bytes, bytes | None]] = {}
        self._blocks: dict[bytes, bytes | None] = {}

    def get(self, cid: bytes) -> bytes | None:
        """Return a public block's bytes; None for any other."""
        with self._turn:
            self._refresh()
            if cid not in self._blocks:
                return None
            made = self._blocks[cid]
        if made is not None:
            return made
        with suppress(BlockMissingError, BlockDamagedError):
            return self._store.get(Cid.from_bytes(cid))
        return None

    def has(self, cid: bytes) -> bool:
        """Tell whether a block is public."""
        with self._turn:
            self._refresh()
            return cid in self._blocks

    def _refresh(self) -> None:
        began_s = self._clock()
        if began_s < self._rests_until_s:
            return
        roots = set(self._roots())
        ended_s = self._clock()
        # A message has a thousand wants, and a node may keep many thousand copies.
        self._rests_until_s = ended_s + REST * (ended_s - began_s)
        if roots != self._shown.keys():
            self._show(roots)

    def _show(self, roots: set[Cid]) -> None:
        for root in self._shown.keys() - roots:
            del self._shown[root]
        for root in sorted(roots - self._shown.keys()):
            with suppress(PeerError):
                self._shown[root] = self._blocks_of(root)
        self._blocks = {}
        for blocks in self._shown.values():
            self._blocks.update(blocks)

    def _blocks_of(self, root: Cid) -> dict[bytes, bytes | None]:
        made = of_tree(tree_of(self._store, root))
        room = PUBLIC_BLOCKS_MAX - sum(map(len, self._shown.values()))
        if len(made.blocks) + len(made.leaves) > room:
            return {}
        blocks: dict[bytes, bytes | None] = {
            leaf.to_bytes(): b"" if leaf == _EMPTY else None for leaf in made.leaves
        }
        blocks.update(made.blocks)
        return blocks
