"""Taking what a peer hands over by bulk connections, as far as they bring it.

Rule: this is only ever a faster way. What does not come by it is asked for on the
stream of the hand-over, under the same expectation and with the same checks; what came
is on disk, and stays. A peer that sends other bytes than were asked for ends the
hand-over.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.network.bulk.channel import Channel
from nunet_node.network.bulk.door import in_thread
from nunet_node.network.port import NetworkError
from nunet_node.network.stream import StreamBroken
from nunet_node.results.plan import WantedBlock
from nunet_node.runtime.exchange.blocks import Taking
from nunet_node.runtime.exchange.bulk.haul import Haul, Keeping
from nunet_node.runtime.exchange.bulk.sources import haul_from_channel
from nunet_node.runtime.exchange.requests import TransferEndedError
from nunet_node.storage.blocks import BlockStore

BULK_BYTES_MIN: Final = 2 << 20
"""Least that must be lacking to be worth a connection of its own."""

_BROKEN: Final = (NetworkError, StreamBroken, TransferEndedError)
"""What may happen to a connection without anybody having lied."""

OpenChannel = Callable[[str], AbstractAsyncContextManager[Channel]]
"""Opens a bulk connection to a peer, for as long as the block."""

_log = logging.getLogger("nunet_node.runtime.exchange.bulk")


async def take_by_bulk(
    open_channel: OpenChannel,
    peer_id: str,
    missing: Sequence[WantedBlock],
    store: BlockStore,
    taking: Taking,
) -> None:
    """Fetch blocks that a peer hands over, and store them, as far as that goes.

    Raises:
        PeerError: the peer sent something else than it was asked for.
        StoreUnavailableError: the disk is full or failing.
    """
    size_bytes = sum(block.size_bytes for block in missing)
    if size_bytes < BULK_BYTES_MIN:
        return
    keeping = Keeping(durable=taking.durable, on_block=taking.on_block, held_max=0)
    haul = Haul(store, missing, size_bytes, taking.on_bytes, keeping)
    failures: list[PeerError] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_store, haul, failures)
        try:
            await _bring(open_channel, peer_id, haul)
        except PeerError as error:
            failures.append(error)
        finally:
            # What came is stored in any case.
            haul.end("the peer brings no more")
    if failures:
        raise failures[0]


async def _store(haul: Haul, failures: list[PeerError]) -> None:
    try:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(haul.store)
    except PeerError as error:
        failures.append(error)
        haul.end(str(error))


async def _bring(open_channel: OpenChannel, peer_id: str, haul: Haul) -> None:
    """Bring blocks, by another connection after each that broke on the way."""
    thread = trio.CapacityLimiter(1)
    lacking_bytes = haul.lacking_bytes + 1
    # Each further connection has to bring something, so that there is an end.
    while 0 < haul.lacking_bytes < lacking_bytes and not haul.ended:
        lacking_bytes = haul.lacking_bytes
        haul.join(peer_id)
        try:
            async with open_channel(peer_id) as channel:
                take = partial(haul_from_channel, channel, peer_id, haul)
                await in_thread(channel, take, thread)
        except _BROKEN as error:
            _log.info("the bulk connection to %s: %s", peer_id, error)
        else:
            return
        finally:
            haul.leave(peer_id)
