"""Several peers bring the blocks of one fetch, while its result is being written.

Rule: a peer whose connection breaks is asked again as long as that brings something;
one that sends other bytes than were asked for is dropped, told of, and asked no more.
What either owes is asked of the others, and the fetch fails when none is left.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.network.bulk.channel import Channel
from nunet_node.network.bulk.door import in_thread
from nunet_node.network.port import Host, NetworkError
from nunet_node.network.stream import StreamBroken
from nunet_node.protocol.messages import BLOCKS_PROTOCOL
from nunet_node.runtime.exchange.bulk.haul import Haul, HaulEndedError, OnBytes
from nunet_node.runtime.exchange.bulk.serving import open_channel
from nunet_node.runtime.exchange.bulk.sources import (
    haul_from_channel,
    haul_from_stream,
)
from nunet_node.runtime.exchange.requests import BlockRefusedError, TransferEndedError
from nunet_node.storage.errors import StoreUnavailableError

SOURCES_MAX: Final = 4
"""Peers that bring blocks at the same time; a few fill any link, and each has a thread
and some megabytes on their way."""

BREAKS_MAX: Final = 8
"""Breaks in a row that brought nothing, after which a peer is given up. The grant ends
with the connection, so that only what breaks a stream alone is worth trying again."""

BULK_BYTES_MIN: Final = 2 << 20
"""Least that a fetch lacks to be worth a connection of its own, which costs two round
trips and a handshake."""

OnDropped = Callable[[str, str], None]
"""Called with a peer that sent what was not asked for, and what it was."""


MorePeers = Callable[[], Awaitable[Sequence[str]]]
"""Finds others that grant the same result, while a fetch goes on."""


async def _nobody() -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Whoever wants to hear how a fetch goes on, and may know of more peers for it."""

    on_progress: OnBytes = lambda _done, _total: None
    on_dropped: OnDropped = lambda _peer_id, _why: None
    more_peers: MorePeers = _nobody


LOST: Final = (NetworkError, StreamBroken, TransferEndedError, BlockRefusedError)
"""What a peer may suffer, or say, without having lied."""

_log = logging.getLogger("nunet_node.runtime.exchange.bulk")


async def gather(
    host: Host,
    peers: Sequence[str],
    haul: Haul,
    write: Callable[[], None],
    listener: Listener,
) -> None:
    """Let peers bring what is lacking; return when the result was written.

    Args:
        host: where the peers are connected.
        peers: those that granted the result, the best first.
        haul: what is lacking.
        write: writes the result in a thread, waiting for blocks in `Haul.get`.
        listener: hears of peers that sent wrong bytes, and knows of more.

    Raises:
        PeerError: what ended the last peer, or the writing.
    """
    sources = _Sources(host, haul, listener)
    failure: PeerError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_when_cancelled, haul)
        nursery.start_soon(sources.store)
        nursery.start_soon(sources.run, peers[:SOURCES_MAX])
        try:
            # The writer waits for blocks alone, and the haul's end ends that.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(write)
            await sources.stored.wait()
        except HaulEndedError as error:
            failure = sources.unstored or sources.failure or error
        except PeerError as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _end_when_cancelled(haul: Haul) -> None:
    try:
        await trio.sleep_forever()
    finally:
        haul.end("the fetch was ended")


class _Sources:
    """The peers of one fetch."""

    def __init__(self, host: Host, haul: Haul, listener: Listener) -> None:
        self.failure: PeerError | None = None
        self.unstored: StoreUnavailableError | None = None
        """Why nothing can be stored any more, which is no peer's doing."""
        self.stored = trio.Event()
        self._host = host
        self._haul = haul
        self._listener = listener
        self._threads = trio.CapacityLimiter(SOURCES_MAX)

    async def store(self) -> None:
        """Store what comes."""
        try:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._haul.store)
        except StoreUnavailableError as error:
            self.unstored = error
            self._haul.end(str(error))
        self.stored.set()

    async def run(self, peers: Sequence[str]) -> None:
        """Let all of them bring blocks, until everything is here or none is left."""
        for peer_id in peers:
            self._haul.join(peer_id)
        async with trio.open_nursery() as nursery:
            for peer_id in peers:
                nursery.start_soon(self._bring, peer_id)
            nursery.start_soon(self._find_more, nursery, peers)
        if not self._haul.done:
            self._haul.end("no peer is left that brings the rest")

    async def _find_more(self, nursery: trio.Nursery, known: Sequence[str]) -> None:
        more = await self._listener.more_peers()
        found = [each for each in more if each not in known]
        for peer_id in found[: SOURCES_MAX - len(known)]:
            self._haul.join(peer_id)
            nursery.start_soon(self._bring, peer_id)

    async def _bring(self, peer_id: str) -> None:
        try:
            await self._bring_all(peer_id)
        except LOST as error:
            self.failure = error
            _log.info("%s brings no more: %s", peer_id, error)
        except PeerError as error:
            self.failure = error
            _log.warning("%s is dropped: %s", peer_id, error)
            self._listener.on_dropped(peer_id, str(error))
        finally:
            self._haul.leave(peer_id)

    async def _bring_all(self, peer_id: str) -> None:
        breaks = 0
        while True:
            before = self._haul.lacking_bytes
            try:
                await self._bring_on(peer_id)
            except (StreamBroken, TransferEndedError) as error:
                breaks = breaks + 1 if self._haul.lacking_bytes == before else 1
                if breaks > BREAKS_MAX:
                    raise
                _log.info("the transfer from %s broke: %s", peer_id, error)
                self._haul.leave(peer_id)
                self._haul.join(peer_id)
            else:
                break
        if not self._haul.done:
            raise BlockRefusedError(f"{peer_id} has not all blocks for us")

    async def _bring_on(self, peer_id: str) -> None:
        """Bring blocks by the fastest way that there is."""
        channel = await self._channel(peer_id)
        if channel is None:
            stream = await self._host.open_stream(peer_id, BLOCKS_PROTOCOL)
            async with stream:
                await haul_from_stream(stream, peer_id, self._haul)
            return
        try:
            take = partial(haul_from_channel, channel, peer_id, self._haul)
            await in_thread(channel, take, self._threads)
        finally:
            channel.close()

    async def _channel(self, peer_id: str) -> Channel | None:
        if self._haul.lacking_bytes < BULK_BYTES_MIN:
            return None
        try:
            return await open_channel(self._host, peer_id)
        except PeerError as error:
            _log.info("blocks of %s come by streams: %s", peer_id, error)
            return None
