"""Finding a provider: who is asked, who wins, and when nobody ever can."""

import dataclasses

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Engine, Isolation, Retry, Timeouts
from nunet_node.market.scoring import CALL_PROVIDERS_MAX
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import BidCounted, Called, ClockDoubted, Unplaced
from nunet_node.protocol.requester.calling import BIDS_S, DISCOVERY_S, RECALL_S
from nunet_node.protocol.requester.memory import LOST_AFTER_S
from nunet_node.quantities import INT53_MAX, ResourceVector
from tests.unit.protocol.puppet import Puppet
from tests.unit.protocol.world import World, place, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def user(world):
    return world.peer(2)


def test_the_cheapest_provider_with_room_gets_the_job(world, user):
    world.peer(11, cpus=2, price=5)
    cheap = world.peer(12, cpus=2, price=3)
    world.peer(13, cpus=1, price=1)
    world.run(for_s=1)

    job = place(user, spec(cpus=2))

    assert user.orders[job].award.provider == cheap.did
    prices = sorted(b.bid.price_micro_ntx for b in user.told(BidCounted) if b.bid)
    assert prices == [3, 5]


def test_adverts_that_ran_out_are_asked_for_again(world):
    provider = world.peer(11, cpus=2)
    user = world.peer(2)
    world.run(for_s=1)
    assert len(user.node.adverts) == 1
    # So it is with a peer that hears no gossip, some time after it joined.
    user.node.adverts.expire(INT53_MAX)

    job = place(user, spec())

    assert user.orders[job].award.provider == provider.did


def test_a_busy_provider_loses_to_a_dearer_one_with_room(world, user):
    cheap = world.peer(11, cpus=2, price=1)
    dear = world.peer(12, cpus=2, price=9)
    world.run(for_s=1)
    first = place(user, spec(cpus=2), b"1" * 16)
    second = place(user, spec(cpus=2), b"2" * 16)

    assert user.orders[first].award.provider == cheap.did
    assert user.orders[second].award.provider == dear.did
    assert user.orders[second].state is State.RUNNING


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (spec(cpus=5), ["CPU", "5", "4"]),
        (
            spec(resources=ResourceVector(memory_bytes=9 << 30)),
            ["memory", "9GiB", "8GiB"],
        ),
        (spec(resources=ResourceVector(disk_bytes=9 << 30)), ["disk", "9GiB", "8GiB"]),
        (spec(engine=Engine.WASM), ["wasm"]),
        (spec(price_micro_ntx_max=2), ["price"]),
    ],
)
def test_no_room_ever_is_refused_at_once_with_the_dimension_and_the_largest_offer(
    world, user, wanted, words
):
    world.peer(11, cpus=2, price=5)
    world.peer(12, cpus=4, price=5)
    world.run(for_s=1)

    job = place(user, wanted)

    order = user.orders[job]
    assert order.state is State.REFUSED
    assert all(word in order.reason for word in words), order.reason
    assert "2 providers" in order.reason
    assert len(order.bids) == 2
    assert all(b.refused for b in order.bids)


def test_a_job_longer_than_any_cluster_allows_is_refused_at_once(world, user):
    provider = world.peer(11, cpus=2)
    provider.capacity = dataclasses.replace(provider.capacity, run_s_max=1800)
    provider.give(provider.capacity)
    world.run(for_s=1)

    order = user.orders[place(user, spec(timeouts=Timeouts(run_s=1801)))]
    assert order.state is State.REFUSED
    assert order.reason == (
        "no room ever: time: 1801s wanted, the longest that a job may run of 1 "
        "providers heard is 30m"
    )
    job = place(user, spec(timeouts=Timeouts(run_s=1800)), b"2" * 16)
    assert user.orders[job].state is State.RUNNING


def test_no_single_provider_with_enough_of_everything_is_no_room_ever(world, user):
    few = Puppet(world, 50)
    few.advertise(cpus=1)
    world.peer(11, cpus=4)
    world.run(for_s=1)
    both = ResourceVector(cpu_millis=4000, memory_bytes=9 << 30)

    job = place(user, spec(resources=both))

    assert user.orders[job].state is State.REFUSED


def test_a_provider_heard_in_time_gets_the_job(world, user):
    job = place(user, spec())
    world.run(for_s=DISCOVERY_S - 2)
    assert user.orders[job].state is State.QUEUED

    world.peer(11, cpus=2)
    world.run(for_s=1)

    assert user.orders[job].state is State.RUNNING


def test_an_order_that_hears_of_nobody_is_refused_with_a_remedy(world, user):
    job = place(user, spec())
    world.run(for_s=DISCOVERY_S + 1)

    assert user.orders[job].state is State.REFUSED
    assert "--bootstrap" in user.orders[job].reason


def test_silent_providers_are_waited_for_only_so_long(world, user):
    for number in (50, 51):
        Puppet(world, number).advertise(cpus=8)
    honest = world.peer(11, cpus=2, price=9)
    world.run(for_s=1)

    job = place(user, spec())
    assert user.orders[job].award is None
    world.run(for_s=BIDS_S + 1)

    assert user.orders[job].award.provider == honest.did


def test_only_so_many_providers_are_asked(world, user):
    for number in range(50, 50 + CALL_PROVIDERS_MAX + 5):
        Puppet(world, number).advertise()

    place(user, spec())

    assert [c.providers for c in user.told(Called)] == [CALL_PROVIDERS_MAX]


def test_a_refusal_for_now_is_tried_again(world, user):
    provider = world.peer(11, cpus=2)
    world.run(for_s=1)
    provider.give(ins.StoreFilled(full=True))
    job = place(user, spec())
    world.run(for_s=3)
    assert user.orders[job].state is State.QUEUED
    assert [b.refused for b in user.orders[job].bids] == ["has no disk space left"]

    provider.give(ins.StoreFilled(full=False))
    world.run(for_s=RECALL_S[0] + 1)

    assert user.orders[job].state is State.RUNNING


def test_the_queue_time_out_ends_the_search_too(world, user):
    provider = world.peer(11, cpus=2)
    world.run(for_s=1)
    provider.give(ins.StoreFilled(full=True))
    job = place(user, spec(timeouts=Timeouts(queue_s=8)))
    world.run(for_s=8 + 1)

    assert user.orders[job].state is State.TIMED_OUT
    assert "has no disk space left" in user.orders[job].reason


def test_providers_that_come_and_go_are_not_asked_in_a_circle(world, user):
    provider = world.peer(11, cpus=2)
    world.run(for_s=1)
    provider.give(ins.StoreFilled(full=True))
    place(user, spec())
    world.run(for_s=sum(RECALL_S) + 10 * RECALL_S[-1])

    assert len(user.told(Called)) <= len(RECALL_S) + 10 + 1
    assert len(user.told(Unplaced)) >= len(RECALL_S) + 8


def test_a_job_lost_with_its_provider_waits_for_another_and_then_says_why(world, user):
    provider = world.peer(11, cpus=2)
    world.run(for_s=1)
    job = place(user, spec(retry=Retry(attempts=2)))
    provider.kill()
    world.run(for_s=LOST_AFTER_S + DISCOVERY_S + 20)

    assert user.orders[job].state is State.REFUSED
    assert "lost" in user.orders[job].reason


def test_another_provider_that_comes_while_it_waits_gets_the_job(world, user):
    provider = world.peer(11, cpus=2)
    world.run(for_s=1)
    job = place(user, spec(retry=Retry(attempts=2)))
    provider.kill()
    world.run(for_s=LOST_AFTER_S + 8)
    assert user.orders[job].award.lost

    other = world.peer(12, cpus=2)
    world.run(for_s=2)

    assert user.orders[job].award.provider == other.did
    assert user.orders[job].state is State.RUNNING


def test_a_node_does_not_call_itself(world):
    alone = world.peer(11, cpus=4)
    other = world.peer(12, cpus=1)
    world.run(for_s=1)

    job = place(alone, spec())

    assert alone.orders[job].award.provider == other.did


def test_the_answers_of_all_providers_are_kept_for_status(world, user):
    provider = world.peer(11, cpus=2)
    full = world.peer(12, cpus=2)
    world.run(for_s=1)
    full.give(ins.StoreFilled(full=True))

    job = place(user, spec())

    kept = {b.provider: (b.price_micro_ntx, b.refused) for b in user.orders[job].bids}
    assert kept[provider.did] == (0, "")
    assert kept[full.did][1] == "has no disk space left"


def test_whose_clock_is_wrong_is_told_to_look_at_it(world, user):
    user.give(ins.AdvertsHeard(adverts=(), stale=2))
    user.give(ins.AdvertsHeard(adverts=(), stale=2))
    assert len(user.told(ClockDoubted)) == 1
    job = place(user, spec())
    world.run(for_s=DISCOVERY_S + 1)
    assert user.orders[job].state is State.REFUSED
    assert "clock" in user.orders[job].reason


def test_one_advert_that_is_fresh_clears_the_clock(world, user):
    user.give(ins.AdvertsHeard(adverts=(), stale=2))
    world.peer(11)
    world.run(for_s=1)
    assert not user.node.clock_doubted


def test_a_level_of_isolation_that_nobody_has_is_no_room_ever(world, user):
    world.peer(11, cpus=2)
    world.run(for_s=1)

    job = place(user, spec(isolation=Isolation.CONTAINER))

    order = user.orders[job]
    assert order.state is State.REFUSED
    assert "isolation container" in order.reason
