"""The blocks that anybody may have as they are stored: manifests and their chunks.

Rule: a block is public because a public result that is kept names it, and for no other
reason; so whether any other block is here makes no difference, and the disk is asked
for the manifests of public results alone.
"""

import threading
import time
from collections.abc import Callable, Collection
from typing import Final

from nunet_node.wire.cid import Cid

PUBLIC_BLOCKS_MAX: Final = 262_144
"""Blocks of public results, 256 GiB of chunks: each costs some 200 bytes of memory.
Results beyond that are kept, and served to their owners alone."""

REST: Final = 20
"""For how many times as long as it took nothing is looked up anew, so that whoever asks
a node with many jobs, again and again, costs it a twentieth of one processor."""


class PublicTrees:
    """What is public now; calls may come from several threads, and block on the disk.

    Args:
        roots: returns the roots of the public results that are kept now.
        blocks_under: returns every block of a stored tree; none if it is not whole.
        clock: tells elapsed seconds.
    """

    def __init__(
        self,
        roots: Callable[[], Collection[Cid]],
        blocks_under: Callable[[Cid], frozenset[Cid]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._roots = roots
        self._blocks_under = blocks_under
        self._turn = threading.Lock()
        self._clock = clock
        self._stale = True
        self._rests_until_s = 0.0
        self._shown: dict[Cid, frozenset[Cid]] = {}
        self._blocks: frozenset[object] = frozenset()

    def changed(self) -> None:
        """Take note that other results may be kept from now on."""
        self._stale = True

    def __contains__(self, cid: object) -> bool:
        """Tell whether anybody may have a block."""
        with self._turn:
            began_s = self._clock()
            if self._stale and began_s >= self._rests_until_s:
                self._stale = False
                self._refresh()
                ended_s = self._clock()
                self._rests_until_s = ended_s + REST * (ended_s - began_s)
            return cid in self._blocks

    def _refresh(self) -> None:
        roots = frozenset(self._roots())
        before, self._shown = self._shown, {}
        room = PUBLIC_BLOCKS_MAX
        for root in sorted(roots):
            blocks = before.get(root) or self._blocks_under(root)
            if len(blocks) <= room:
                self._shown[root] = blocks
                room -= len(blocks)
        self._blocks = frozenset[object]().union(*self._shown.values())
