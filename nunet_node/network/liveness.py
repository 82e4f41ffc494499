"""Who is there: notice a peer that has stopped answering, and tell of it.

Rule: a connection is pinged every `PING_EVERY_S`; if no answer comes within
`PONG_WITHIN_S`, and nothing else either, it is ended. A stopped process, a laptop
that was closed and a cable that was pulled all look the same from here: TCP says
nothing (N1), so a dead peer is gone after at most 20 seconds. The ping is yamux's own
(type 0x2), which every yamux peer answers without a stream.
"""

from typing import Any, Final, Protocol

import trio

from nunet_node.network.port import PeerConnected, PeerEvent, PeerGone

PING_EVERY_S: Final = 8
"""Between pings: twelve bytes each way, so the cost is a wake-up, not traffic."""

PONG_WITHIN_S: Final = 12
"""Patience for an answer: it waits behind bulk data on a slow link, and behind a busy
Python peer; with `PING_EVERY_S` it keeps detection well below 30 seconds."""

EVENTS_MAX: Final = 1_024
"""Peer events waiting for one reader: three changes of a full table."""


class Pingable(Protocol):
    """A connection as this module sees it."""

    async def ping(self) -> None:
        """Send a ping and return when its answer is in."""

    def heard(self) -> int:
        """Return a number that changes whenever the peer sends anything."""

    def abort(self) -> None:
        """End the connection now, without a word to the peer."""

    async def wait_closing(self) -> None:
        """Return when the connection is going down."""


async def keep_alive(connection: Pingable) -> None:
    """N1: ping until the connection ends, or end it; returns then."""
    while True:
        with trio.move_on_after(PING_EVERY_S) as pause:
            await connection.wait_closing()
        if not pause.cancelled_caught:
            return
        heard = connection.heard()
        with trio.move_on_after(PONG_WITHIN_S) as patience:
            await connection.ping()
        if patience.cancelled_caught and connection.heard() == heard:
            connection.abort()
            return


class PeerWatch:
    """Tells of peers that come and go, to whoever asked."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._channels: list[
            tuple[
                trio.MemorySendChannel[PeerEvent], trio.MemoryReceiveChannel[PeerEvent]
            ]
        ] = []

    def add(self) -> trio.MemoryReceiveChannel[PeerEvent]:
        """Return a new channel of events from now on."""
        pair = trio.open_memory_channel[PeerEvent](EVENTS_MAX)
        self._channels.append(pair)
        return pair[1]

    def up(self, peer_id: str) -> None:
        """Tell that there is a connection to this peer, if that is news."""
        if peer_id not in self._known:
            self._known.add(peer_id)
            self._tell(PeerConnected(peer_id=peer_id))

    def down(self, peer_id: str) -> None:
        """Tell that the last connection to this peer is gone, if that is news."""
        if peer_id in self._known:
            self._known.discard(peer_id)
            self._tell(PeerGone(peer_id=peer_id))

    def end(self) -> None:
        """End all channels."""
        for sender, _ in self._channels:
            sender.close()
        self._channels.clear()

    def _tell(self, event: PeerEvent) -> None:
        self._channels = [pair for pair in self._channels if offer(*pair, event)]


def offer(
    sender: trio.MemorySendChannel[Any],
    receiver: trio.MemoryReceiveChannel[Any],
    item: Any,
) -> bool:
    """Put an item in, the oldest out if need be; tell False if nobody listens."""
    while True:
        try:
            sender.send_nowait(item)
        except trio.WouldBlock:
            receiver.receive_nowait()
        except trio.BrokenResourceError:
            return False
        else:
            return True
