"""What a provider shows: adverts that follow its room, bids that hold nothing."""

import dataclasses
import itertools

import msgspec
import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Network
from nunet_node.market.offers import ADVERT_TOPIC, CALL, Bid, CallForBids
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import Publish
from nunet_node.protocol.opening import open_advert
from nunet_node.protocol.provider.offering import CHANGE_MS_MIN
from nunet_node.quantities import ResourceVector
from tests.unit.protocol.puppet import Puppet, code_of, spec_cid
from tests.unit.protocol.world import World, capacity, place, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2, price=7)


def shown(provider, peer):
    (advert,) = (
        a.payload
        for a in peer.node.adverts.fresh(peer.world.now.unix_s)
        if a.issuer == provider.did
    )
    return advert


def call(provider, asker, cpus=1, **more):
    given = {
        "call": b"c" * 16,
        "spec": spec_cid(spec()),
        "engine": "process",
        "resources": ResourceVector(cpu_millis=cpus * 1000),
        "run_s": 60,
    }
    wanted = CallForBids(**{**given, **more})
    said = asker.state(CALL, wanted, provider.did)
    return asker.ask(asker.dial(provider), said)


def test_reserved_room_shows_in_the_next_advert_and_so_does_its_return(world, provider):
    user = world.peer(2)
    world.run(for_s=1)
    job = place(user, spec())
    world.run(for_s=1)
    assert shown(provider, user).free.cpu_millis == 1000
    assert shown(provider, user).total.cpu_millis == 2000

    user.give(ins.CancelWanted(job=job))
    world.run(for_s=1)

    assert shown(provider, user).free.cpu_millis == 2000


def test_the_queue_shows_in_the_advert(world, provider):
    user = world.peer(2)
    place(user, spec(cpus=2), b"1" * 16)
    place(user, spec(cpus=2), b"2" * 16)
    world.run(for_s=1)

    assert shown(provider, user).queued == 1


def test_changes_are_shown_at_a_bounded_pace(world, provider):
    published = []
    world.watch = lambda _, e: published.append(e) if isinstance(e, Publish) else None
    for number in range(40):
        provider.give(capacity(2 + number % 2))
    world.run(for_s=1)

    assert 0 < len(published) <= 1000 // CHANGE_MS_MIN + 1
    assert {p.topic for p in published} == {ADVERT_TOPIC}


def test_an_unchanged_advert_is_repeated_before_it_expires(world, provider):
    adverts = []
    world.watch = lambda p, e: (
        adverts.append((world.elapsed_ns, open_advert(e.data, now_s=world.now.unix_s)))
        if isinstance(e, Publish) and p is provider
        else None
    )
    world.run(for_s=60)

    times = [at for at, _ in adverts]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    life_s = adverts[-1][1].expires_at_s - adverts[-1][1].issued_at_s
    assert gaps
    assert max(gaps) * 2 < life_s * 10**9
    sequences = [a.payload.sequence for _, a in adverts]
    assert sequences == sorted(set(sequences))


def test_nothing_is_shown_before_there_is_an_address(world, provider):
    provider.boot_node()
    published = []
    world.watch = lambda _, e: published.append(e) if isinstance(e, Publish) else None
    provider.give(provider.capacity)
    provider.give(ins.NodeStarted())
    assert published == []

    provider.give(ins.AddressesChanged(addresses=("/memory/x",)))

    assert len(published) == 1


def test_a_bid_tells_price_start_and_isolation(world, provider):
    bid = call(provider, Puppet(world, 50)).body.payload
    assert isinstance(bid, Bid)
    assert (bid.call, bid.price_micro_ntx, bid.starts_in_s) == (b"c" * 16, 7, 0)
    assert (bid.isolation, bid.queue_position) == ("process", 0)


def test_a_bid_of_a_busy_provider_tells_the_wait(world, provider):
    user = world.peer(2)
    world.run(for_s=1)
    place(user, spec(cpus=2))

    bid = call(provider, Puppet(world, 50)).body.payload

    assert bid.starts_in_s > 0
    assert bid.queue_position == 1


def test_a_bid_while_the_engine_is_being_prepared_is_not_for_now(world, provider):
    provider.give(capacity(2, ready=False))
    bid = call(provider, Puppet(world, 50)).body.payload
    assert bid.starts_in_s >= 1


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"cpus": 3}, "provider.never-cpu-millis"),
        ({"engine": "python"}, "provider.never-engine"),
        ({"price_micro_ntx_max": 6}, "provider.never-price"),
    ],
)
def test_a_call_that_never_fits_is_refused_with_all_there_is(
    world, provider, more, code
):
    heard = call(provider, Puppet(world, 50), **more)
    assert code_of(heard) == code
    assert heard.body.payload.largest.cpu_millis == 2000


def lending(world, *domains):
    """A provider that was seen to let jobs reach domains, and lends these."""
    provider = world.peer(3, cpus=2, domains=domains)
    probed = provider.capacity
    engines = [msgspec.structs.replace(each, http=True) for each in probed.engines]
    provider.capacity = dataclasses.replace(probed, engines=tuple(engines))
    provider.give(provider.capacity)
    return provider


def test_a_call_for_domains_that_are_lent_gets_a_bid(world):
    provider = lending(world, "*.data.example", "pypi.example")
    asker = Puppet(world, 50)
    for http in (("pypi.example",), ("*.a.data.example", "b.data.example")):
        assert isinstance(call(provider, asker, http=http).body.payload, Bid)


@pytest.mark.parametrize(
    "http", [("other.example",), ("pypi.example", "data.example"), ("*.pypi.example",)]
)
def test_a_call_for_other_domains_is_refused_with_a_remedy(world, http):
    provider = lending(world, "*.data.example", "pypi.example")
    heard = call(provider, Puppet(world, 50), http=http)
    assert code_of(heard) == "provider.never-network"
    assert f"do not reach {http[-1]}" in heard.body.payload.reason
    assert "inputs" in heard.body.payload.reason


def test_who_lends_nothing_refuses_every_domain(world, provider):
    heard = call(provider, Puppet(world, 50), http=("pypi.example",))
    assert code_of(heard) == "provider.never-network"


def test_a_job_for_domains_goes_to_who_lends_them_and_to_nobody_else(world, provider):
    able = lending(world, "pypi.example")
    user = world.peer(2)
    world.run(for_s=1)
    job = place(user, spec(network=Network(http=("pypi.example",))))
    world.run(for_s=10)
    assert able.jobs[job].state is State.RUNNING
    assert job not in provider.jobs


def has_machines(provider, *cpus):
    probed = capacity(sum(cpus))
    rooms = (msgspec.structs.replace(probed.total, cpu_millis=n * 1000) for n in cpus)
    provider.capacity = dataclasses.replace(probed, largest=tuple(rooms))
    provider.give(provider.capacity)


def test_a_call_that_no_machine_of_a_cluster_could_take_is_refused(world, provider):
    has_machines(provider, 4, 2)
    refused = call(provider, Puppet(world, 50), cpus=5)
    assert code_of(refused) == "provider.never-cpu-millis"
    assert refused.body.payload.largest.cpu_millis == 4000

    assert call(provider, Puppet(world, 51), cpus=4).body.payload.starts_in_s == 0


def test_a_job_waits_while_no_machine_of_the_cluster_is_large_enough(world, provider):
    user = world.peer(2)
    world.run(for_s=1)
    has_machines(provider, 2, 2)
    salts = (bytes([n] * 16) for n in range(3))
    *_, last = [place(user, spec(cpus=2), salt) for salt in salts]
    has_machines(provider, 1, 1, 1, 1)

    provider.finish()
    provider.store()
    provider.finish()
    provider.store()
    assert provider.jobs[last].state is State.QUEUED

    has_machines(provider, 2)
    world.run()
    assert provider.jobs[last].state is State.RUNNING


def test_a_call_for_another_level_of_isolation_is_refused(world, provider):
    asker = Puppet(world, 9)
    answer = call(provider, asker, isolation="container")
    assert code_of(answer) == "provider.never-isolation"
