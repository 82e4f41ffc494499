"""Telling every provider that a delegation is void, and asking them whether it is.

Rule: the user hears of each provider by name what it said, or that it said nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Final

import trio

from nunet_node.capability.delegation import Delegation
from nunet_node.capability.held.terms import link_of
from nunet_node.client.trust.delegating import Revoked
from nunet_node.identity.did import Did
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.jobs.link import is_link, parse_link
from nunet_node.protocol.effects import News
from nunet_node.protocol.trust.events import (
    Reached,
    RevocationAnswered,
    RevokeWanted,
    StandingTold,
    StandingWanted,
)
from nunet_node.runtime.peer import Peer
from nunet_node.wire.cid import Cid

ACKNOWLEDGE_S: Final = 15
"""How long a provider may take to keep a revocation: a slow dial and a slow disk."""

_SILENT: Final = "no answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What providers know of the revocation of some tokens."""

    void: Mapping[Cid, bytes]
    """Each revocation that one of them showed."""
    answered: tuple[str, ...]
    """DIDs of those who answered about every token."""
    missed: tuple[tuple[str, str], ...]
    """Those who did not, each with the reason."""


async def revoke(peer: Peer, chain: Sequence[Delegation], data: bytes) -> Revoked:
    """Tell the providers of a revocation, and wait for the word of each."""
    cid = chain[-1].cid
    wanted = RevokeWanted(cid=cid, data=data, providers=_reached(peer, chain[-1:]))
    silent = {did: _SILENT for did, _, _ in wanted.providers}
    left, kept = set(silent), list[str]()

    def hear(each: News) -> None:
        if isinstance(each, RevocationAnswered) and each.cid == cid:
            left.discard(Did(each.provider))
            silent[Did(each.provider)] = each.reason
            kept.extend([each.provider] if each.kept else [])

    await _heard(peer, [wanted], hear, left)
    missed = tuple((did, why) for did, why in silent.items() if did not in kept)
    return Revoked(cid=cid, acknowledged=tuple(kept), missed=missed)


async def ask_standing(peer: Peer, links: Sequence[Delegation]) -> Standing:
    """Ask the providers whether these tokens have been revoked."""
    reached = _reached(peer, links)
    wanted = [StandingWanted(cid=link.cid, providers=reached) for link in links]
    silent = {(did, link.cid): _SILENT for did, _, _ in reached for link in links}
    left, void = set(silent), dict[Cid, bytes]()

    def hear(each: News) -> None:
        if isinstance(each, StandingTold):
            about = (Did(each.provider), each.cid)
            left.discard(about)
            silent[about] = each.unanswered
            void.update({each.cid: each.revocation} if each.revocation else {})

    await _heard(peer, wanted, hear, left)
    missed = {did: why for (did, _), why in silent.items() if why}
    answered = tuple(did for did, _, _ in reached if did not in missed)
    return Standing(void=void, answered=answered, missed=tuple(missed.items()))


async def _heard(
    peer: Peer,
    wanted: Iterable[RevokeWanted | StandingWanted],
    hear: Callable[[News], None],
    left: Sized,
) -> None:
    """Tell wishes, and hear news until none is left or it takes too long."""
    with peer.subscribe() as news:
        for each in wanted:
            await peer.tell(each)
        with trio.move_on_after(ACKNOWLEDGE_S):
            while left:
                hear(await news.receive())


def _reached(peer: Peer, links: Sequence[Delegation]) -> tuple[Reached, ...]:
    """Return every provider heard, and the custodians that the tokens name."""
    now_s = peer.driver.clock.now().unix_s
    reached = {
        heard.issuer: (heard.issuer, heard.payload.peer_id, heard.payload.addresses)
        for heard in peer.adverts.fresh(now_s)
        if heard.payload.engines
    }
    for named in (link_of(link.meta) for link in links):
        if is_link(named):
            kept = parse_link(named)
            peer_id = peer_id_of(kept.custodian)
            reached.setdefault(
                kept.custodian, (kept.custodian, peer_id, kept.addresses)
            )
    return tuple(reached.values())
