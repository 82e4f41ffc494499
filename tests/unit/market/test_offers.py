"""Adverts stay rare as the network grows, and offers carry nothing unbounded."""

import pytest

from nunet_node.market.offers import (
    ADDRESSES_MAX,
    ADVERT,
    BID,
    CALL,
    ENGINES_MAX,
    LARGEST_MAX,
    LIFETIMES_PER_REFRESH,
    REFRESH_S_MAX,
    REFRESH_S_MIN,
    REFUSAL,
    Advert,
    Bid,
    CallForBids,
    EngineOffer,
    Refusal,
    level_of,
    lifetime_s,
    refresh_s,
)
from nunet_node.quantities import KINDS_MAX, Gpus, ResourceVector
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import SchemaError
from nunet_node.wire.limits import GOSSIP_BYTES_MAX
from nunet_node.wire.schema import decode_record, encode_record, from_plain, to_plain

LARGEST = ResourceVector(cpu_millis=8000, memory_bytes=2**40, disk_bytes=2**40)
OFFERS = [
    Advert(
        peer_id="12D3Koo",
        addresses=("/ip4/127.0.0.1/tcp/4001",),
        sequence=1,
        engines=(EngineOffer(engine="python", isolation="wasi"),),
        total=LARGEST,
    ),
    CallForBids(
        call=bytes(16),
        spec=Cid.of_dag_cbor(b"\xa0"),
        engine="python",
        resources=LARGEST,
        run_s=60,
    ),
    Bid(call=bytes(16), price_micro_ntx=5, starts_in_s=3),
    Refusal(code="capacity", reason="too large", largest=LARGEST, never=True),
]


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: type(offer).__name__)
def test_every_offer_comes_back_as_it_was(offer):
    data = encode_record(offer)
    assert decode_record(type(offer), data, bytes_max=len(data)) == offer


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: type(offer).__name__)
def test_no_offer_carries_what_it_does_not_know(offer):
    with pytest.raises(SchemaError):
        from_plain(type(offer), {**to_plain(offer), "extra": 1})


@pytest.mark.parametrize(
    "said",
    [
        {"addresses": ("/ip4/127.0.0.1/tcp/1",) * (ADDRESSES_MAX + 1)},
        {"addresses": ("x" * 257,)},
        {"engines": ({"engine": "e", "isolation": "i"},) * (ENGINES_MAX + 1)},
        {"peer_id": "x" * 129},
        {"sequence": -1},
        {"total": {"cpu_millis": 2**53}},
        {"price_micro_ntx": -1},
        {"queued": True},
    ],
    ids=str,
)
def test_an_absurd_advert_is_refused(said):
    with pytest.raises(SchemaError):
        from_plain(Advert, {**to_plain(OFFERS[0]), **said})


def test_the_largest_advert_fits_in_a_gossip_message():
    kind = Gpus(vendor="v" * 16, model="m" * 64, memory_bytes=2**53 - 1, count=64)
    room = LARGEST.with_gpus([kind] * KINDS_MAX)
    # A cluster tells of ten kinds in its machines, and no more.
    one, two = LARGEST.with_gpus([kind]), LARGEST.with_gpus([kind, kind])
    advert = Advert(
        peer_id="1" * 128,
        addresses=("/" * 256,) * ADDRESSES_MAX,
        sequence=2**53 - 1,
        engines=(EngineOffer(engine="e" * 32, isolation="i" * 64),) * ENGINES_MAX,
        total=room,
        free=room,
        largest=(two, two, *(one,) * (LARGEST_MAX - 2)),
        run_s_max=2**53 - 1,
    )
    assert len(encode_record(advert)) < GOSSIP_BYTES_MAX // 2


def test_a_small_network_hears_of_changes_soon_and_a_large_one_stays_quiet():
    assert refresh_s(0) == REFRESH_S_MIN
    assert refresh_s(1000) == 50
    assert refresh_s(10_000) == REFRESH_S_MAX
    waits = [refresh_s(nodes) for nodes in range(0, 3000, 50)]
    assert waits == sorted(waits)


def test_an_advert_outlives_two_lost_repetitions():
    for nodes in (0, 500, 100_000):
        assert lifetime_s(nodes) == LIFETIMES_PER_REFRESH * refresh_s(nodes)


def test_no_two_kinds_share_a_name():
    assert len({ADVERT, CALL, BID, REFUSAL}) == 4


@pytest.mark.parametrize(
    ("barriers", "level"),
    [
        ("wasm+cgroup+uid+landlock+seccomp", "wasm"),
        ("bwrap", "process"),
        ("bwrap+uid+seccomp", "process"),
        ("container+cgroup", "container"),
        ("none", ""),
        ("", ""),
        ("uid+bwrap", ""),
    ],
)
def test_the_first_barrier_names_the_level(barriers, level):
    assert level_of(barriers) == level


def test_a_call_that_demands_nothing_keeps_its_old_bytes():
    call = CallForBids(
        call=bytes(16),
        spec=Cid.of_dag_cbor(b"\xa0"),
        engine="python",
        resources=LARGEST,
        run_s=60,
    )
    assert "isolation" not in to_plain(call)
