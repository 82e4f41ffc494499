"""A node's care for its disk in its own time: clearing and scrubbing.

Rule: both are slow on purpose, so that no job and no reader notices them. A damaged
block is found before somebody needs it: it is set aside, and the next audit of a result
that has copies brings it back. Clearing takes only what nothing keeps and what is older
than any transfer may take.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.runtime.work.custody import Custody
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockDamagedError, BlockMissingError

CLEAR_EVERY_S: Final = 3600
"""How often what broken transfers left is looked for."""

GRACE_S: Final = 24 * 3600
"""Age below which a block that nothing keeps stays: a hand-over that broke may go on
where it was for a day."""

SCRUB_BYTES_PER_S: Final = 4 << 20
"""Rate of reading again: a hundredth of what a plain disk reads, and 300 GB a day."""

SCRUB_PAUSE_S: Final = 24 * 3600
"""Pause after everything was read; disks rot over months."""

_log = logging.getLogger("nunet_node.runtime.store.upkeep")


class DiskCare:
    """Clears and scrubs the stores of a node; `run` never returns.

    Args:
        custody: what is kept for others, which is cleared and scrubbed.
        own: the store of the home's users, which is scrubbed alone.
        bytes_per_s: how fast to scrub.
    """

    def __init__(
        self,
        custody: Custody,
        own: BlockStore,
        *,
        bytes_per_s: int = SCRUB_BYTES_PER_S,
    ) -> None:
        self._custody = custody
        self._stores: Sequence[BlockStore] = (custody.store, own)
        self._bytes_per_s = bytes_per_s

    async def run(self) -> None:
        """Clear and scrub, for as long as the node runs."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._clear_always)
            nursery.start_soon(self._scrub_always)

    def clear(self) -> int:
        """Delete old blocks that nothing keeps; return how many there were."""
        try:
            gone = self._custody.clear(grace_s=GRACE_S)
        except (PeerError, OSError) as error:
            _log.warning("nothing was cleared: %s", error)
            return 0
        if gone:
            _log.info("cleared %d blocks that nothing kept", gone)
        return gone

    def blocks(self) -> Iterator[int]:
        """Read every block again, one for each step, and yield its length."""
        for store in self._stores:
            for cid in store.cids():
                try:
                    yield len(store.get(cid))
                except BlockDamagedError as error:
                    _log.error("%s", error)
                    yield 0
                except BlockMissingError:
                    continue
                except PeerError as error:
                    _log.warning("cannot scrub: %s", error)
                    yield 0

    async def _clear_always(self) -> None:
        while True:
            await trio.sleep(CLEAR_EVERY_S)
            await trio.to_thread.run_sync(self.clear)

    async def _scrub_always(self) -> None:
        while True:
            await self.scrub()
            await trio.sleep(SCRUB_PAUSE_S)

    async def scrub(self) -> None:
        """Read every block once, no faster than agreed."""
        steps = self.blocks()
        while True:
            size_bytes = await trio.to_thread.run_sync(next, steps, None)
            if size_bytes is None:
                return
            await trio.sleep(max(size_bytes, 1 << 12) / self._bytes_per_s)
