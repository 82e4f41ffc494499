"""Joining the network: the peers we start from, what they know, and gossip.

Rule: the peers named to us are kept connected for as long as we run, and those of our
own choice while they are wanted (`acquaintances`); each is asked once, at every new
connection, for the adverts it holds; so a peer that comes
for a moment knows the network after one round trip. Everything else that we hear
comes by gossip, verified before it becomes an input.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import trio

from nunet_node.market.offers import ADVERT_TOPIC
from nunet_node.market.table import AdvertTable
from nunet_node.network.discovery import parse_node_address, stay_connected
from nunet_node.network.port import (
    ConnectFailed,
    GossipMessage,
    Host,
    PeerConnected,
)
from nunet_node.protocol.inputs import AdvertsHeard, Input, NeighbourFound, PeerGone
from nunet_node.protocol.messages import REVOCATIONS_TOPIC
from nunet_node.protocol.opening import (
    advert_is_authentic,
    open_adverts,
    open_revocations,
    revocation_is_authentic,
)
from nunet_node.runtime.clock import Clock
from nunet_node.runtime.exchange.acquaintances import Acquaintances

ADVERTS_AT_ONCE_MAX: Final = 64
"""Gossiped adverts verified in one go: a few milliseconds between other tasks."""

STRAGGLERS_S: Final = 2
"""How long the other named peers may take, once one has said what it knows: most of
it they would say again, and one that hangs must not hold everybody up."""

_log = logging.getLogger("nunet_node.runtime.neighbours")


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """How joining went."""

    neighbours: frozenset[str]
    """The peers we are connected to."""
    failures: tuple[str, ...]
    """Why named peers could not be reached, in words."""


class Neighbours:
    """The peers named to us, and the gossip of all."""

    def __init__(
        self,
        host: Host,
        named: Iterable[str],
        post: Callable[[Input], Awaitable[None]],
        gone: Callable[[str], None],
        adverts: AdvertTable,
        clock: Clock,
    ) -> None:
        """Prepare to join.

        Args:
            host: the host that is connected.
            named: multiaddrs of the peers to start from.
            post: takes inputs for the node.
            gone: called with each peer whose connections are all lost.
            adverts: what the node has heard.
            clock: tells the time.

        Raises:
            AddressError: one is no multiaddr with a peer id.
        """
        self._host = host
        self._post = post
        self._gone = gone
        self._clock = clock
        self._acquaintances = Acquaintances(host, adverts, clock)
        self._named = _by_peer(named)
        self._named.pop(host.peer_id, None)
        self._failures: dict[str, str] = {}
        self._settled = {peer_id: trio.Event() for peer_id in self._named}
        self._met = {peer_id: trio.Event() for peer_id in self._named}
        self._first = trio.Event()

    async def run(self, *, gossip: bool, mdns: bool) -> None:
        """Stay joined; never returns."""
        events = self._host.peer_events()
        async with trio.open_nursery() as nursery:
            if gossip:
                heard = await self._host.subscribe(ADVERT_TOPIC, advert_is_authentic)
                nursery.start_soon(self._listen, heard)
                void = await self._host.subscribe(
                    REVOCATIONS_TOPIC, revocation_is_authentic
                )
                nursery.start_soon(self._listen_for_revocations, void)
                nursery.start_soon(self._acquaintances.run)
            if self._named:
                addresses = list(self._named.values())
                nursery.start_soon(
                    stay_connected, self._host, addresses, self._cannot_reach
                )
            async for event in events:
                if not isinstance(event, PeerConnected):
                    self._acquaintances.lost(event.peer_id)
                    self._gone(event.peer_id)
                    await self._post(PeerGone(peer_id=event.peer_id))
                elif mdns or self._knows(event.peer_id):
                    self._failures.pop(event.peer_id, None)
                    self._meet(event.peer_id)
                    await self._post(NeighbourFound(peer_id=event.peer_id))

    def settle(self, peer_id: str) -> None:
        """Note that a peer said what it knows, or never will."""
        event = self._settled.get(peer_id)
        if event is not None:
            event.set()
            self._meet(peer_id)
            if peer_id not in self._failures:
                self._first.set()

    async def wait_settled(self, timeout_s: float) -> Joined:
        """Wait until every named peer has said what it knows, or cannot be reached.

        Once one has, the others get `STRAGGLERS_S` more.
        """
        with trio.move_on_after(timeout_s) as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hurry, patience)
                for event in self._settled.values():
                    await event.wait()
                nursery.cancel_scope.cancel()
        neighbours = self._host.connected_peers()
        silent = {
            peer_id: "no answer from " + ", ".join(addresses)
            for peer_id, addresses in self._named.items()
            if peer_id not in neighbours and not self._settled[peer_id].is_set()
        }
        return Joined(
            neighbours=neighbours,
            failures=(*self._failures.values(), *silent.values()),
        )

    async def wait_findable(self, peer_id: str, timeout_s: float) -> None:
        """Wait until a peer is connected, or whoever was named has said where it is.

        What a named peer knows may be asked on the very session that waits here: it
        need not have spoken, only be there.
        """
        with trio.move_on_after(timeout_s):
            if peer_id in self._met:
                await self._met[peer_id].wait()
            if peer_id not in self._host.connected_peers():
                await self.wait_settled(timeout_s)

    @property
    def all_spoke(self) -> bool:
        """Whether every named peer said what it knows, or cannot be reached."""
        return all(event.is_set() for event in self._settled.values())

    async def ask_again(self, timeout_s: float) -> None:
        """Have the named peers that are there say what they know by now."""
        there = self._host.connected_peers() & self._named.keys()
        spoke = [peer_id for peer_id in there if self._settled[peer_id].is_set()]
        if not spoke:
            return
        self._first = trio.Event()
        for peer_id in spoke:
            self._settled[peer_id] = trio.Event()
            await self._post(NeighbourFound(peer_id=peer_id))
        await self.wait_settled(timeout_s)

    def _meet(self, peer_id: str) -> None:
        if peer_id in self._met:
            self._met[peer_id].set()

    async def _hurry(self, patience: trio.CancelScope) -> None:
        await self._first.wait()
        soon = trio.current_time() + STRAGGLERS_S
        patience.deadline = min(patience.deadline, soon)

    def _knows(self, peer_id: str) -> bool:
        return peer_id in self._named or peer_id in self._acquaintances

    async def _cannot_reach(self, peer_id: str, error: ConnectFailed) -> None:
        _log.warning("%s; trying again", error)
        self._failures[peer_id] = str(error)
        self.settle(peer_id)
        await trio.lowlevel.checkpoint()

    async def _listen_for_revocations(
        self, heard: trio.MemoryReceiveChannel[GossipMessage]
    ) -> None:
        async for message in heard:
            opened = open_revocations((message.data,))
            if opened.revocations:
                await self._post(opened)

    async def _listen(self, heard: trio.MemoryReceiveChannel[GossipMessage]) -> None:
        async for message in heard:
            items = [message.data]
            while len(items) < ADVERTS_AT_ONCE_MAX:
                try:
                    items.append(heard.receive_nowait().data)
                except (trio.WouldBlock, trio.EndOfChannel):
                    break
            opened: AdvertsHeard = open_adverts(items, now_s=self._clock.now().unix_s)
            if opened.adverts:
                await self._post(opened)


def _by_peer(named: Iterable[str]) -> dict[str, list[str]]:
    peers: dict[str, list[str]] = {}
    for text in named:
        peers.setdefault(str(parse_node_address(text).peer_id), []).append(text)
    return peers
