"""A small result, taken whole on the stream that brought its manifest.

Another stream, and threads that fill and empty a haul, cost more than all its bytes.
Rule: this only ever saves work. Whatever does not come this way, from whatever cause,
is left to the gathering, which knows more peers.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.network.stream import Stream
from nunet_node.results.manifest import Tree
from nunet_node.results.plan import WantedBlock, check_block
from nunet_node.runtime.exchange.bulk.gathering import LOST
from nunet_node.runtime.exchange.requests import request
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.cid import Cid

SMALL_BYTES_MAX: Final = 65_536
"""Most that is taken so: it is hashed in the loop, in less time than a thread costs."""

SMALL_BLOCKS_MAX: Final = 8
"""Most blocks of it: each is a turn of the loop at both ends."""

SMALL_WAIT_S: Final = 3
"""How long one peer may keep the others from being asked."""

_log = logging.getLogger("nunet_node.runtime.exchange.bulk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A tree, what is lacking of it here, and what of that came with its manifest.

    ``lie`` says what came instead, if something did.
    """

    tree: Tree
    missing: tuple[WantedBlock, ...]
    brought: Mapping[Cid, bytes]
    lie: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lacking any more."""
        return all(block.cid in self.brought for block in self.missing)

    def keep(self, store: BlockStore) -> Callable[[Cid], bytes]:
        """Store what came, without waiting for the disk; return what reads the tree.

        Blocks on the disk.
        """
        with store.batch(durable=False) as batch:
            for cid, data in self.brought.items():
                batch.put(data, cid, checked=True)

        def get(cid: Cid) -> bytes:
            data = self.brought.get(cid)
            return store.get(cid) if data is None else data

        return get


async def bring_small(
    stream: Stream, tree: Tree, missing: tuple[WantedBlock, ...]
) -> Found:
    """Take what is lacking of a tree from the peer on ``stream``, if it is little."""
    brought: dict[Cid, bytes] = {}
    lie = ""
    if tree.size_bytes <= SMALL_BYTES_MAX and len(missing) <= SMALL_BLOCKS_MAX:
        try:
            with trio.move_on_after(SMALL_WAIT_S):
                await _bring(stream, missing, brought)
        except LOST as error:
            _log.info("%s brought a part alone: %s", stream.peer_id, error)
        except PeerError as error:
            lie = str(error)
    return Found(tree=tree, missing=missing, brought=brought, lie=lie)


async def _bring(
    stream: Stream, missing: tuple[WantedBlock, ...], brought: dict[Cid, bytes]
) -> None:
    wanted = {block.cid: block for block in missing}
    async with aclosing(request(stream, tuple(wanted))) as blocks:
        async for cid, data in blocks:
            check_block(wanted[cid], data)
            brought[cid] = data
