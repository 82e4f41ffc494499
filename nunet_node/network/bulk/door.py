"""The bulk door: where peers with a ticket come in.

Rule: nobody gets a byte, and no thread works for them, before they have shown a
ticket and that they know its key; while no ticket is out, whoever knocks is turned
away at once. Every wait for a stranger has an end, and there are only so many of them.
Who comes is served, or is used by whoever asked for the visit.
"""

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, TypeVar

import trio

from nunet_node.errors import PeerError
from nunet_node.network.bulk.channel import GREETING_BYTES, Channel, own_socket
from nunet_node.network.bulk.records import RecordError
from nunet_node.network.bulk.tickets import TICKET_BYTES, Ticket, Tickets
from nunet_node.network.port import ListenFailed

KNOCKING_MAX: Final = 64
"""Strangers who are between knocking and showing a ticket: a task and a socket each."""

KNOCK_S: Final = 5
"""How long they have in all, however slowly they speak."""

CHANNELS_MAX: Final = 16
"""Bulk connections at once: a thread and some megabytes each. Whoever finds all taken
is served by libp2p's streams."""

CHANNELS_PER_PEER_MAX: Final = 2
"""Of these, one peer's: one suffices for a fetch, and two fetches may be at once."""

_KNOCK_BYTES: Final = TICKET_BYTES + GREETING_BYTES

_T = TypeVar("_T")

Serve = Callable[[str, Channel], None]
"""Serves a peer in a thread of its own, until either side ends."""

_log = logging.getLogger("nunet_node.network.bulk")


class Visit:
    """A peer that was asked to come, and is waited for.

    Args:
        ticket: what it has to show.
    """

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.over = trio.Event()
        self._came = trio.Event()
        self._channels: list[Channel] = []

    async def channel(self) -> Channel:
        """Return its connection, once it is there; it is the door's to close."""
        await self._came.wait()
        return self._channels[0]

    async def receive(self, channel: Channel) -> None:
        """Hand over the connection, and return once nobody uses it any more."""
        self._channels.append(channel)
        self._came.set()
        try:
            await self.over.wait()
        finally:
            if not self.over.is_set():
                channel.cut()
                with trio.CancelScope(shield=True):
                    await self.over.wait()


class Door:
    """Listens, and lets in whoever shows a ticket.

    Args:
        serve: what serves them.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._tickets = Tickets(trio.current_time, secrets.token_bytes)
        self._serving = trio.CapacityLimiter(CHANNELS_MAX)
        self._strangers = 0
        self._channels: dict[str, set[Channel]] = {}
        self._visits: dict[bytes, Visit] = {}
        self.port = 0

    def ticket_for(self, peer_id: str) -> Ticket | None:
        """Return a ticket for a peer, or None: the door is shut, or all is taken."""
        open_now = self._channels.get(peer_id, ())
        if not self.port or len(open_now) >= CHANNELS_PER_PEER_MAX:
            return None
        return self._tickets.issue(peer_id)

    @contextmanager
    def expecting(self, peer_id: str) -> Iterator[Visit | None]:
        """Expect a peer, to be told its ticket, for as long as the block.

        Yields None if there is no place for it. Whoever has its channel uses it
        within the block only.
        """
        ticket = self.ticket_for(peer_id)
        if ticket is None:
            yield None
            return
        visit = self._visits[ticket.name] = Visit(ticket)
        try:
            yield visit
        finally:
            del self._visits[ticket.name]
            self._tickets.redeem(ticket.name)
            visit.over.set()

    def forget(self, peer_id: str) -> None:
        """Void a peer's tickets, and cut its connections."""
        self._tickets.void(peer_id)
        for channel in tuple(self._channels.get(peer_id, ())):
            channel.cut()

    async def listen(
        self, hosts: Sequence[str], port: int
    ) -> Sequence[trio.SocketListener]:
        """Open the door's sockets: one port on each host.

        Args:
            hosts: numeric addresses of this machine.
            port: 0 for any that is free.

        Raises:
            ListenFailed: none could be opened.
        """
        listeners: list[trio.SocketListener] = []
        for host in hosts:
            try:
                opened = await trio.open_tcp_listeners(port, host=host)
            except OSError as error:
                _log.warning("no bulk port %d on %s: %s", port, host, error)
                continue
            port = opened[0].socket.getsockname()[1]
            listeners += opened
        if not listeners:
            raise ListenFailed(f"cannot open bulk port {port}; name another one")
        self.port = port
        return listeners

    async def run(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Let peers in for as long as this is not cancelled."""
        try:
            await trio.serve_listeners(self._meet, listeners)
        finally:
            self.port = 0

    async def _meet(self, stream: trio.SocketStream) -> None:
        """Look at whoever knocks."""
        if not self._tickets.any_out or self._strangers >= KNOCKING_MAX:
            await trio.aclose_forcefully(stream)
            return
        self._strangers += 1
        try:
            came = await self._recognised(stream)
        finally:
            self._strangers -= 1
        if came is None:
            await trio.aclose_forcefully(stream)
            return
        ticket, channel = came
        try:
            await self._let_in(ticket, channel)
        except PeerError as error:
            _log.debug("a bulk connection of %s ended: %s", ticket.peer_id, error)
        finally:
            channel.close()

    async def _recognised(
        self, stream: trio.SocketStream
    ) -> tuple[Ticket, Channel] | None:
        """Return the ticket that is shown in time, and its bearer's connection."""
        shown = b""
        with trio.move_on_after(KNOCK_S), suppress(trio.BrokenResourceError):
            while len(shown) < _KNOCK_BYTES:
                data = await stream.receive_some(_KNOCK_BYTES - len(shown))
                if not data:
                    return None
                shown += data
        if len(shown) < _KNOCK_BYTES:
            return None
        ticket = self._tickets.redeem(shown[:TICKET_BYTES])
        if ticket is None:
            return None
        channel = Channel(own_socket(stream), ticket.key, door=True)
        try:
            channel.take_greeting(shown[TICKET_BYTES:])
        except RecordError:
            channel.close()
            return None
        return ticket, channel

    async def _let_in(self, ticket: Ticket, channel: Channel) -> None:
        peer_id, visit = ticket.peer_id, self._visits.get(ticket.name)
        full = sum(map(len, self._channels.values())) >= CHANNELS_MAX
        if full or len(self._channels.get(peer_id, ())) >= CHANNELS_PER_PEER_MAX:
            return
        theirs = self._channels.setdefault(peer_id, set())
        theirs.add(channel)
        try:
            if visit is not None:
                await visit.receive(channel)
            else:
                serve = partial(self._serve, peer_id, channel)
                await in_thread(channel, serve, self._serving)
        finally:
            theirs.discard(channel)
            if not theirs:
                self._channels.pop(peer_id, None)


async def in_thread(
    channel: Channel, work: Callable[[], _T], limiter: trio.CapacityLimiter
) -> _T:
    """Run what uses a channel in a thread; a cancelled call cuts the channel first."""
    finished = False
    done: list[_T] = []
    failed: list[PeerError] = []

    def attempt() -> None:
        try:
            done.append(work())
        except PeerError as error:
            failed.append(error)

    async def cut_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            if not finished:
                channel.cut()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut_when_cancelled)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(attempt, limiter=limiter)
        finished = True
        nursery.cancel_scope.cancel()
    if failed:
        raise failed[0]
    return done[0]
