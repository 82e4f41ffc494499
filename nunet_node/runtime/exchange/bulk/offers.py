"""What is being handed over just now: to whom, and which blocks of which store.

Rule: a peer that takes something from us gets the blocks of what it takes and no
others, on whatever connection it asks, and only as long as the handing over lasts;
its bulk connections end with it. To ask for another block, or for one too late, is
answered as if it did not exist.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nunet_node.network.bulk.channel import Channel
from nunet_node.runtime.exchange.requests import load_block
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.cid import Cid


@dataclass(frozen=True, slots=True, eq=False)
class _Offer:
    store: BlockStore
    blocks: Collection[Cid]


class Offers:
    """The offers that are open. There are as many as tasks that hand over."""

    def __init__(self) -> None:
        self._to: dict[str, list[_Offer]] = {}
        self._channels: dict[str, set[Channel]] = {}

    @contextmanager
    def opened(
        self, peer_id: str, store: BlockStore, blocks: Collection[Cid]
    ) -> Iterator[None]:
        """Let a peer ask for some blocks for as long as the block lasts."""
        offer = _Offer(store, blocks)
        self._to.setdefault(peer_id, []).append(offer)
        try:
            yield
        finally:
            self._to[peer_id].remove(offer)
            if not self._to[peer_id]:
                del self._to[peer_id]
                for channel in self._channels.get(peer_id, ()):
                    channel.cut()

    @contextmanager
    def cutting(self, peer_id: str, channel: Channel) -> Iterator[None]:
        """Have a channel cut when there is nothing left to hand to this peer."""
        theirs = self._channels.setdefault(peer_id, set())
        theirs.add(channel)
        if not self.any_to(peer_id):
            channel.cut()
        try:
            yield
        finally:
            theirs.discard(channel)
            if not theirs:
                self._channels.pop(peer_id, None)

    def any_to(self, peer_id: str) -> bool:
        """Tell whether anything is being handed to a peer."""
        return peer_id in self._to

    def load(self, peer_id: str, cid: Cid) -> bytes | None:
        """Return a block for a peer, checked; None if it is absent or not for it.

        From any thread. Blocks on the disk.
        """
        for offer in tuple(self._to.get(peer_id, ())):
            data = load_block(offer.store, cid, offer.blocks.__contains__)
            if data is not None:
                return data
        return None
