"""A public result, by its id alone, from anybody who has it.

Rule: the id is all that is believed: every block is checked against it, and who gave
it to us does not matter. Nobody proves who they are, on either side.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from nunet_node.client.errors import ResultMissingError
from nunet_node.client.fetching.at_hand import AtHand, write_at_hand
from nunet_node.errors import PeerError
from nunet_node.runtime.exchange.bulk.gathering import SOURCES_MAX, Listener
from nunet_node.runtime.exchange.public.asking import gives
from nunet_node.runtime.peer import Peer
from nunet_node.wire.cid import Cid

ASKED_AT_ONCE_MAX: Final = 16
"""Peers that are asked at the same time: each is a connection to be made."""

ASKED_MAX: Final = 512
"""Peers that are asked at all: as many as four neighbours tell of. Whoever has it and
is not among them has to be named."""

LISTEN_S: Final = 5
"""How long the network is listened to for who is there."""

ASK_S: Final = 20
"""How long one peer may take to be reached and to say whether it has it: a trickle of
bytes must not keep the others from being asked."""

OTHERS_S: Final = 1
"""How long others are waited for once one has it, to fetch from them, too."""


async def fetch_public(
    peer: Peer,
    join: Callable[[], Awaitable[None]],
    root: Cid,
    target: Path,
    listener: Listener,
) -> None:
    """Fetch a public result to a target; raises as `Client.fetch_public`.

    What is all in this home's own store is not asked for.
    """
    if await write_at_hand(peer, AtHand(root=root, seal=None, beside={}), target):
        return
    await join()
    known = await _known(peer)
    having = await _who_has(peer, known, root)
    if not having:
        raise ResultMissingError(
            f"none of the {len(known)} peers heard gives {root} to everybody: it is "
            "private, gone, or with a node that was not heard"
        )

    await peer.transfers.fetch(having, root, target, listener=listener)


async def _known(peer: Peer) -> dict[str, tuple[str, ...]]:
    """Return the peers that may have it, neighbours first, and their addresses."""
    joined = await peer.wait_known(LISTEN_S)
    known: dict[str, tuple[str, ...]] = dict.fromkeys(sorted(joined.neighbours), ())
    now_s = peer.driver.clock.now().unix_s
    for heard in peer.adverts.fresh(now_s):
        if len(known) < ASKED_MAX:
            known.setdefault(heard.payload.peer_id, heard.payload.addresses)
    return known


async def _who_has(
    peer: Peer, known: Mapping[str, tuple[str, ...]], root: Cid
) -> list[str]:
    """Return some peers that have a block for everybody."""
    having: list[str] = []
    async with trio.open_nursery() as nursery:
        scope = nursery.cancel_scope

        async def ask(turns: Iterator[tuple[str, tuple[str, ...]]]) -> None:
            for peer_id, addresses in turns:
                if not await _gives(peer, peer_id, addresses, root):
                    continue
                having.append(peer_id)
                scope.deadline = min(scope.deadline, trio.current_time() + OTHERS_S)
                if len(having) == SOURCES_MAX:
                    scope.cancel()

        turns = iter(known.items())
        for _ in range(ASKED_AT_ONCE_MAX):
            nursery.start_soon(ask, turns)
    return having


async def _gives(peer: Peer, peer_id: str, addresses: Sequence[str], root: Cid) -> bool:
    """Tell whether a peer has a block for everybody."""
    with trio.move_on_after(ASK_S), suppress(PeerError):
        if addresses:
            await peer.connect(addresses)
        return await gives(peer.transfers.host, peer_id, root)
    return False
