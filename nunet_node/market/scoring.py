"""Which bid wins: a rule that anyone can repeat.

First price: the winner is paid what it asked. A second-price rule would need an
honest auctioneer, and here the auctioneer is the buyer. Among bids within the
price limit, one that can start now beats one that would queue; then the lower
price, then the earlier start; ties go by a hash over call and provider, which
spreads work and depends on no order of arrival.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nunet_node.identity.did import Did
from nunet_node.market.offers import Advert, Bid, EngineOffer, level_of
from nunet_node.quantities import ResourceVector, duration_text, largest, price_text

CALL_PROVIDERS_MAX: Final = 16
"""Providers asked per job, so that its cost does not grow with the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A provider as its advert shows it."""

    provider: Did
    advert: Advert


def rank_bids(bids: Iterable[tuple[Did, Bid]]) -> tuple[tuple[Did, Bid], ...]:
    """Return the bids, best first."""
    return tuple(sorted(bids, key=_bid_key))


def rank_candidates(
    candidates: Iterable[Candidate], need: ResourceVector, salt: bytes
) -> tuple[Candidate, ...]:
    """Return the providers worth asking, likeliest to start soon first."""

    def key(candidate: Candidate) -> tuple[bool, int, int, bytes]:
        advert = candidate.advert
        return (
            not need.fits(advert.free),
            advert.price_micro_ntx,
            advert.queued,
            _spread(salt, candidate.provider),
        )

    return tuple(sorted(candidates, key=key))[:CALL_PROVIDERS_MAX]


def why_unfit(  # noqa: PLR0913 - what a call says of its job
    advert: Advert,
    engine: str,
    need: ResourceVector,
    price_micro_ntx_max: int | None,
    isolation: str = "",
    *,
    secrets: bool = False,
    http: Sequence[str] = (),
    run_s: int = 0,
) -> tuple[str, str] | None:
    """Return the dimension and the reason for which a provider never fits, or None.

    ``isolation`` is the level that is demanded, any if empty; ``secrets`` tells
    whether the job names any; ``http`` are the domains that it is to reach; ``run_s``
    is how long it may run.
    """
    offer = next((each for each in advert.engines if each.engine == engine), None)
    if offer is None:
        offered = ", ".join(each.engine for each in advert.engines) or "none"
        return "engine", f"engine {engine} is not offered (offered: {offered})"
    # What an engine that is still being prepared will have is not known yet.
    if offer.ready and not keeps(offer.isolation, isolation):
        kept = offer.isolation or "nothing"
        return "isolation", f"isolation {isolation} wanted, {engine} is in {kept}"
    short = _why_not_given(offer, secrets=secrets, http=bool(http))
    short = short or why_too_large(need, advert.rooms) or _why_too_long(advert, run_s)
    if short is not None:
        return short
    if price_micro_ntx_max is not None and advert.price_micro_ntx > price_micro_ntx_max:
        asked, limit = (
            price_text(advert.price_micro_ntx),
            price_text(price_micro_ntx_max),
        )
        return "price", f"price: {asked} NTX a CPU-hour asked, {limit} is the limit"
    return None


def _why_too_long(advert: Advert, run_s: int) -> tuple[str, str] | None:
    longest_s = advert.run_s_max
    if not longest_s or run_s <= longest_s:
        return None
    most = duration_text(longest_s)
    return "time", f"time: {duration_text(run_s)} wanted, jobs may run {most} here"


def _why_not_given(
    offer: EngineOffer, *, secrets: bool, http: bool
) -> tuple[str, str] | None:
    """Return what an engine cannot give its jobs, of what is wanted, and the reason."""
    engine = offer.engine
    if secrets and not offer.secrets:
        return "secrets", f"secrets cannot be handed to engine {engine} here"
    if http and not offer.http:
        return "network", f"network http wanted, engine {engine} reaches nothing here"
    return None


def why_too_large(
    need: ResourceVector, rooms: Sequence[ResourceVector]
) -> tuple[str, str] | None:
    """Return the dimension and the reason for which a job fits none of the rooms."""
    shortfalls = [need.shortfall(room) for room in rooms]
    if None in shortfalls:
        return None
    for dimension in filter(None, shortfalls):
        if not any(need.has(dimension, room) for room in rooms):
            has = f"{largest(dimension, rooms).text(dimension)} is all it has"
            return dimension, f"{dimension}: {need.text(dimension)} wanted, {has}"
    dimension = shortfalls[0] or ""
    return dimension, f"{dimension}: no machine that has enough of it has all the rest"


def keeps(isolation: str, demanded: str) -> bool:
    """Tell whether barriers joined by ``+`` are of the level that is demanded."""
    return not demanded or level_of(isolation) == demanded


def _bid_key(entry: tuple[Did, Bid]) -> tuple[bool, int, int, bytes]:
    provider, bid = entry
    return (
        bid.starts_in_s > 0,
        bid.price_micro_ntx,
        bid.starts_in_s,
        _spread(bid.call, provider),
    )


def _spread(salt: bytes, provider: Did) -> bytes:
    return hashlib.sha256(salt + provider.encode()).digest()
