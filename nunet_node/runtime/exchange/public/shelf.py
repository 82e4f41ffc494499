"""The blocks that anybody may have: those of public results, as UnixFS.

Rule: a block is here because a public result that is kept names it, and for no other
reason: that a block lies in the store says nothing. The nodes above the chunks are
made when a result is first looked at; chunks are read from the store, and checked.
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from nunet_node.errors import PeerError
from nunet_node.results.unixfs import of_tree
from nunet_node.runtime.exchange.blocks import tree_of
from nunet_node.runtime.exchange.public.trees import PUBLIC_BLOCKS_MAX
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockDamagedError, BlockMissingError
from nunet_node.wire.cid import Cid

_EMPTY: Final = Cid.of_raw(b"")


class Shelf:
    """What is public; calls block on the disk, and may come from several threads.

    Args:
        store: where the node keeps results.
        roots: returns the roots of the public results that are kept now.
    """

    def __init__(self, store: BlockStore, roots: Callable[[], Iterable[Cid]]) -> None:
        self._store = store
        self._roots = roots
        self._turn = threading.Lock()
        self._shown: dict[Cid, dict[bytes, bytes | None]] = {}

    def get(self, cid: bytes) -> bytes | None:
        """Return a public block's bytes; None for any other."""
        with self._turn:
            self._refresh()
            found = next((each for each in self._shown.values() if cid in each), None)
        if found is None:
            return None
        made = found[cid]
        if made is not None:
            return made
        with suppress(BlockMissingError, BlockDamagedError):
            return self._store.get(Cid.from_bytes(cid))
        return None

    def has(self, cid: bytes) -> bool:
        """Tell whether a block is public."""
        with self._turn:
            self._refresh()
            return any(cid in each for each in self._shown.values())

    def _refresh(self) -> None:
        roots = set(self._roots())
        for root in self._shown.keys() - roots:
            del self._shown[root]
        for root in sorted(roots - self._shown.keys()):
            with suppress(PeerError):
                self._shown[root] = self._blocks_of(root)

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
