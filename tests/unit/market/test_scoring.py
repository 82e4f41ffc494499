"""The winner follows from the bids alone, and anyone can repeat the choice."""

import random

import msgspec
import pytest

from nunet_node.identity.keys import SigningKey
from nunet_node.market.offers import Advert, Bid, EngineOffer
from nunet_node.market.scoring import (
    CALL_PROVIDERS_MAX,
    Candidate,
    rank_bids,
    rank_candidates,
    why_unfit,
)
from nunet_node.quantities import ResourceVector

CALL = bytes(16)
DIDS = [SigningKey(bytes([n] * 32)).did for n in range(1, 41)]
NEED = ResourceVector(cpu_millis=1000, memory_bytes=100)
ROOM = ResourceVector(cpu_millis=4000, memory_bytes=400, disk_bytes=400)


def bid(price=0, starts_in_s=0, call=CALL):
    return Bid(call=call, price_micro_ntx=price, starts_in_s=starts_in_s)


def advert(*, free=ROOM, price=0, queued=0, engine="python"):
    return Advert(
        peer_id="p",
        addresses=(),
        sequence=1,
        engines=(EngineOffer(engine=engine, isolation="wasi"),),
        total=ROOM,
        free=free,
        price_micro_ntx=price,
        queued=queued,
    )


def winner(*bids):
    return rank_bids(zip(DIDS, bids, strict=False))[0][1]


def test_the_lower_price_wins():
    assert winner(bid(3), bid(2), bid(4)) == bid(2)


def test_room_now_beats_a_lower_price_later():
    assert winner(bid(9), bid(1, starts_in_s=60)) == bid(9)


def test_of_equal_prices_the_earlier_start_wins():
    assert winner(bid(5, 60), bid(5, 30)) == bid(5, 30)


def test_the_order_of_arrival_decides_nothing():
    bids = [(did, bid(n % 3, n % 2)) for n, did in enumerate(DIDS)]
    expected = rank_bids(bids)
    for seed in range(10):
        random.Random(seed).shuffle(bids)
        assert rank_bids(bids) == expected


def test_ties_are_spread_over_the_providers():
    firsts = {
        rank_bids((did, bid(call=bytes([n] * 16))) for did in DIDS[:4])[0][0]
        for n in range(64)
    }
    assert firsts == set(DIDS[:4])


def test_only_so_many_providers_are_asked():
    candidates = [Candidate(provider=did, advert=advert()) for did in DIDS]
    assert len(rank_candidates(candidates, NEED, CALL)) == CALL_PROVIDERS_MAX


def test_providers_with_room_are_asked_before_cheaper_ones_without():
    full = Candidate(provider=DIDS[0], advert=advert(free=ResourceVector()))
    dear = Candidate(provider=DIDS[1], advert=advert(price=9))
    cheap = Candidate(provider=DIDS[2], advert=advert(price=1))
    assert rank_candidates([full, dear, cheap], NEED, CALL) == (cheap, dear, full)


def test_of_equal_providers_the_shorter_queue_is_asked_first():
    busy = Candidate(provider=DIDS[0], advert=advert(queued=5))
    idle = Candidate(provider=DIDS[1], advert=advert(queued=0))
    assert rank_candidates([busy, idle], NEED, CALL) == (idle, busy)


def test_a_provider_that_fits_has_nothing_against_it():
    assert why_unfit(advert(price=5), "python", NEED, 5) is None
    assert why_unfit(advert(price=5), "python", NEED, None) is None


@pytest.mark.parametrize(
    ("engine", "need", "price_max", "dimension"),
    [
        ("process", NEED, None, "engine"),
        ("python", ResourceVector(cpu_millis=4001), None, "cpu_millis"),
        ("python", ResourceVector(memory_bytes=401), None, "memory_bytes"),
        ("python", ResourceVector(disk_bytes=401), None, "disk_bytes"),
        ("python", NEED, 4, "price"),
    ],
)
def test_a_provider_that_never_fits_is_told_by_the_dimension(
    engine, need, price_max, dimension
):
    unfit = why_unfit(advert(price=5), engine, need, price_max)
    assert unfit is not None
    assert unfit[0] == dimension
    assert unfit[1]


def cluster(*largest):
    return msgspec.structs.replace(advert(), largest=largest)


MANY = ResourceVector(cpu_millis=3000, memory_bytes=100, disk_bytes=400)
FAT = ResourceVector(cpu_millis=1000, memory_bytes=300, disk_bytes=400)


@pytest.mark.parametrize("need", [NEED, MANY, FAT])
def test_a_cluster_fits_what_fits_one_of_its_machines(need):
    assert why_unfit(cluster(MANY, FAT), "python", need, None) is None


@pytest.mark.parametrize(
    ("need", "dimension", "words"),
    [
        (ResourceVector(cpu_millis=3500), "cpu_millis", "3 CPU is all it has"),
        (ResourceVector(memory_bytes=301), "memory_bytes", "300B is all it has"),
        (ResourceVector(cpu_millis=2000, memory_bytes=200), "memory_bytes", "the rest"),
    ],
)
def test_a_cluster_never_fits_what_only_all_its_machines_together_have(
    need, dimension, words
):
    assert need.fits(ROOM)
    unfit = why_unfit(cluster(MANY, FAT), "python", need, None)
    assert unfit is not None
    assert unfit[0] == dimension
    assert words in unfit[1]


@pytest.mark.parametrize(("limit_s", "fits"), [(0, True), (3600, True), (3599, False)])
def test_a_job_that_could_not_end_in_time_never_fits(limit_s, fits):
    bound = msgspec.structs.replace(advert(), run_s_max=limit_s)
    unfit = why_unfit(bound, "python", NEED, None, run_s=3600)
    assert (unfit is None) is fits
    if unfit is not None:
        assert unfit == ("time", "time: 1h wanted, jobs may run 3599s here")


def kept_in(isolation, *, ready=True):
    offer = EngineOffer(engine="process", isolation=isolation, ready=ready)
    return msgspec.structs.replace(advert(), engines=(offer,))


def test_a_demanded_level_is_met_by_the_first_barrier():
    boxed = kept_in("bwrap+uid+seccomp")
    assert why_unfit(boxed, "process", NEED, None, "process") is None
    assert why_unfit(boxed, "process", NEED, None, "") is None


@pytest.mark.parametrize("demanded", ["container", "wasm", "nonsense"])
def test_another_level_than_the_demanded_one_never_fits(demanded):
    unfit = why_unfit(kept_in("bwrap+uid"), "process", NEED, None, demanded)
    assert unfit is not None
    assert unfit[0] == "isolation"
    assert demanded in unfit[1]
    assert "bwrap+uid" in unfit[1]


def test_domains_are_reached_only_where_the_engine_is_said_to_reach_some():
    closed = kept_in("bwrap")
    offer = EngineOffer(engine="process", isolation="bwrap", http=True)
    lending = msgspec.structs.replace(advert(), engines=(offer,))
    domains = ("pypi.example",)
    assert why_unfit(lending, "process", NEED, None, http=domains) is None
    assert why_unfit(closed, "process", NEED, None) is None
    unfit = why_unfit(closed, "process", NEED, None, http=domains)
    assert unfit is not None
    assert unfit[0] == "network"


def test_an_engine_that_is_being_prepared_is_not_judged_by_its_level():
    preparing = kept_in("", ready=False)
    assert why_unfit(preparing, "process", NEED, None, "process") is None
