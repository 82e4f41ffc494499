"""The peers that a node goes to by itself: a few that it heard of, and those it lost.

Rule: a node keeps some connections of its own choice, so that those who met through
one peer stay together when that one is gone; and it goes back to a node that it was
connected to, with growing pauses, for as long as that node may well return. Where to
dial stands in an advert, which nobody but its node can have signed; that the node is
there is proved by the connection alone. So what a stranger can make us do is bounded:
one dial at a time, a few addresses, and none on our own machine but where we live.
"""

import logging
import random
from dataclasses import dataclass
from itertools import islice
from typing import Final

import trio

from nunet_node.identity.errors import IdentityError
from nunet_node.identity.peer_id import did_of_peer_id
from nunet_node.market.table import AdvertTable
from nunet_node.network.discovery import (
    RETRY_FIRST_S,
    RETRY_MAX_S,
    Address,
    one_peer,
    parse_listen_address,
)
from nunet_node.network.port import AddressError, ConnectFailed, Host
from nunet_node.runtime.clock import Clock

WANTED: Final = 6
"""Nodes to be connected to: as many as the mesh of a gossip topic has."""

KEPT_MAX: Final = 32
"""Nodes that are gone back to. They are dialled together when a network returns, and
a few of them are enough to be part of it again."""

KEPT_S: Final = 3_600
"""How long a node that was lost is dialled: a machine that was updated or moved is
back by then, and one that is not costs some hundred packets."""

LOOK_S: Final = 4
"""Between looks at who is there: some microseconds each."""

ADDRESSES_TRIED_MAX: Final = 4
"""Addresses of one node that are dialled; the widest reach comes first."""

STRANGER_PAUSE_S: Final = 300
"""How long a node that was heard of and cannot be reached is left alone."""

STRANGERS_MAX: Final = 256
"""Nodes remembered as out of reach; beyond them the oldest may be tried again."""

_log = logging.getLogger("nunet_node.runtime.neighbours")


@dataclass(slots=True, kw_only=True)
class _Kept:
    """A node that we were connected to."""

    addresses: tuple[str, ...]
    seen_s: float
    due_s: float = 0.0
    pause_s: float = float(RETRY_FIRST_S)


class Acquaintances:
    """Whom a node knows well enough to go to; one task runs it."""

    def __init__(self, host: Host, adverts: AdvertTable, clock: Clock) -> None:
        self._host = host
        self._adverts = adverts
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        """The one seen longest ago comes first."""
        self._strangers: dict[str, float] = {}
        """Until when each is left alone; the oldest comes first."""
        self._meeting: str | None = None

    def __contains__(self, peer_id: str) -> bool:
        """Tell whether we are, or were, or are about to be connected by choice."""
        return peer_id == self._meeting or peer_id in self._kept

    def lost(self, peer_id: str) -> None:
        """Note that a connection has just ended, while its node's advert still counts.

        One that was too young for a look to have found it is gone back to as well.
        """
        addresses = self._addresses_of(peer_id)
        if addresses and peer_id not in self._kept:
            now_s = trio.current_time()
            self._kept[peer_id] = _Kept(addresses=addresses, seen_s=now_s)
            if len(self._kept) > KEPT_MAX:
                del self._kept[next(iter(self._kept))]

    async def run(self) -> None:
        """Stay with them; never returns."""
        while True:
            # Spread, so that two that met do not dial each other at once.
            await trio.sleep(LOOK_S * random.uniform(0.5, 1.0))  # noqa: S311
            there = self._host.connected_peers()
            self._remember(there)
            async with trio.open_nursery() as nursery:
                for peer_id, kept in self._kept.items():
                    if peer_id not in there and kept.due_s <= trio.current_time():
                        nursery.start_soon(self._return_to, peer_id, kept)
            if len(there & self._kept.keys()) < WANTED:
                await self._meet_one(there)

    def _remember(self, there: frozenset[str]) -> None:
        now_s = trio.current_time()
        known_first = sorted(there, key=lambda peer_id: peer_id not in self._kept)
        found = ((each, self._addresses_of(each)) for each in known_first)
        for peer_id, addresses in islice((f for f in found if f[1]), KEPT_MAX):
            self._kept.pop(peer_id, None)
            self._kept[peer_id] = _Kept(addresses=addresses, seen_s=now_s)
        for peer_id, kept in list(self._kept.items()):
            if len(self._kept) > KEPT_MAX or now_s - kept.seen_s > KEPT_S:
                del self._kept[peer_id]

    async def _return_to(self, peer_id: str, kept: _Kept) -> None:
        try:
            await self._host.connect(kept.addresses)
        except ConnectFailed as error:
            _log.debug("%s: %s", peer_id, error)
            wait_s = kept.pause_s * random.uniform(0.75, 1.25)  # noqa: S311
            kept.due_s = trio.current_time() + wait_s
            kept.pause_s = min(kept.pause_s * 2, RETRY_MAX_S)

    async def _meet_one(self, there: frozenset[str]) -> None:
        """Connect to one of those who were only heard of."""
        now_s = trio.current_time()
        heard = (each.payload.peer_id for each in self._adverts.fresh(self._now_s()))
        unmet = [
            peer_id
            for peer_id in heard
            if peer_id not in there
            and peer_id not in self._kept
            and self._strangers.get(peer_id, 0) <= now_s
        ]
        if not unmet:
            return
        self._meeting = random.choice(unmet)  # noqa: S311
        try:
            await self._host.connect(self._addresses_of(self._meeting))
        except (AddressError, ConnectFailed) as error:
            _log.debug("%s: %s", self._meeting, error)
            self._leave_alone(self._meeting)
        finally:
            self._meeting = None

    def _leave_alone(self, peer_id: str) -> None:
        self._strangers.pop(peer_id, None)
        self._strangers[peer_id] = trio.current_time() + STRANGER_PAUSE_S
        if len(self._strangers) > STRANGERS_MAX:
            del self._strangers[next(iter(self._strangers))]

    def _addresses_of(self, peer_id: str) -> tuple[str, ...]:
        """Return where a node says that it is, as far as we would go there."""
        try:
            heard = self._adverts.of_provider(did_of_peer_id(peer_id), self._now_s())
            if heard is None:
                return ()
            named, places = one_peer(heard.payload.addresses)
        except (AddressError, IdentityError):
            return ()
        if named != peer_id:
            return ()
        near = self._is_at_home()
        return tuple(str(each) for each in places if _may_dial(each, near=near))[
            :ADDRESSES_TRIED_MAX
        ]

    def _is_at_home(self) -> bool:
        """Tell whether only this machine can reach us, as in a trial on one machine."""
        own = (each.partition("/p2p/")[0] for each in self._host.addresses())
        return all(parse_listen_address(each).is_loopback() for each in own)

    def _now_s(self) -> int:
        return self._clock.now().unix_s


def _may_dial(place: Address, *, near: bool) -> bool:
    # A name would be a question to our resolver, which its author could be counting.
    return not place.kind.startswith("dns") and (near or not place.is_loopback())
