"""The node as one machine: the journal, the turn that is taken back, the adverts."""

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Retry, RetryCause
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import Drained
from nunet_node.protocol.messages import AdvertsWanted
from nunet_node.protocol.turn import Ledger
from tests.unit.protocol.puppet import Puppet
from tests.unit.protocol.world import World, capacity, place, snapshot, spec


@pytest.fixture
def world():
    return World()


def test_a_job_goes_from_one_peer_to_another_and_its_result_comes_back(world):
    provider, user = world.peer(1, cpus=2), world.peer(2)

    job = place(user, spec())
    provider.finish()
    provider.store()

    states = [move.state for move in user.orders[job].history]
    assert states == [
        State.ALLOCATED,
        State.STARTING,
        State.RUNNING,
        State.STORING,
        State.COMPLETED,
    ]
    assert user.orders[job].result == provider.jobs[job].result
    assert user.orders[job].link.startswith(f"nunet://{job}?")


def test_a_journal_replayed_to_any_point_is_a_state_the_node_was_in(world):
    provider, user = world.peer(1, cpus=2), world.peer(2)
    place(user, spec())
    provider.finish()
    provider.store()

    for peer in (provider, user):
        ledger = Ledger()
        for fact in peer.journal:
            ledger.apply(fact)
        replayed = type("Replayed", (), {"_ledger": ledger})
        assert snapshot(replayed) == snapshot(peer.node)


@pytest.mark.parametrize("at", range(1, 9))
def test_a_provider_that_cannot_write_at_any_step_forgets_nothing(world, at):
    provider, user = world.peer(1, cpus=2), world.peer(2)
    steps = iter(
        [
            lambda: place(user, spec()),
            lambda: provider.running and provider.finish(),
            lambda: provider.storing and provider.store(),
            lambda: world.run(for_s=20),
        ]
        * 3
    )
    for number, step in enumerate(steps, 1):
        if number == at:
            provider.disk_full = True
        step()
        if number == at + 1:
            provider.disk_has_room()
    world.run(for_s=60)
    for _ in range(3):
        if provider.running:
            provider.finish()
        if provider.storing:
            provider.store()

    (order,) = user.orders.values()
    assert order.state is State.COMPLETED
    assert provider.reserved().cpu_millis == 0


def test_a_submitter_that_cannot_write_goes_on_when_it_can(world):
    provider, user = world.peer(1, cpus=2), world.peer(2)
    job = place(user, spec())
    user.disk_full = True
    provider.finish()
    provider.store()
    world.run(for_s=60)
    assert user.orders[job].state is State.RUNNING

    user.disk_has_room()
    world.run(for_s=10)

    assert user.orders[job].state is State.COMPLETED


def test_an_order_that_could_not_be_written_was_never_placed(world):
    world.peer(1, cpus=2)
    user = world.peer(2)
    user.disk_full = True
    job = place(user, spec())
    user.held.clear()  # whoever asked was told, and asks no more

    user.disk_has_room()
    world.run(for_s=20)

    assert job not in user.orders
    assert user.journal == []


@pytest.mark.parametrize("retry", [Retry(), Retry(attempts=2)])
def test_a_job_that_ran_when_its_provider_died_is_lost_or_tried_again(world, retry):
    provider, user = world.peer(1, cpus=2), world.peer(2)
    job = place(user, spec(retry=retry))
    provider.kill()
    world.run(for_s=1)
    provider.restart()
    world.run(for_s=20)

    if retry.attempts == 1:
        assert provider.jobs[job].state is user.orders[job].state is State.LOST
        assert provider.running == []
    else:
        assert provider.jobs[job].state is user.orders[job].state is State.RUNNING
        assert [r.attempt for r in provider.running] == [2]


def test_a_queued_job_starts_after_a_restart_without_its_submitter(world):
    provider, user = world.peer(1, cpus=2), world.peer(2)
    place(user, spec(cpus=2), b"1" * 16)
    job = place(user, spec(cpus=2), b"2" * 16)
    user.kill()
    provider.kill()
    provider.restart()

    assert provider.jobs[job].state is State.RUNNING


def test_nothing_starts_before_the_journal_was_read(world):
    provider, user = world.peer(1, cpus=2), world.peer(2)
    place(user, spec(cpus=2), b"1" * 16)
    job = place(user, spec(cpus=2), b"2" * 16)
    provider.kill()
    provider.boot_node()

    provider.give(provider.capacity)

    assert provider.running == []
    assert provider.jobs[job].state is State.QUEUED


def test_a_result_is_still_there_after_a_restart(world):
    provider, user = world.peer(1, cpus=2), world.peer(2)
    job = place(user, spec())
    provider.finish()
    provider.store()
    provider.kill()
    provider.restart()
    world.run(for_s=10)

    user.give(ins.ReadWanted(job=job))
    world.run(for_s=10)

    (grant,) = provider.grants
    assert grant.peer_id == user.peer_id


def test_a_node_that_offers_less_after_a_restart_never_reserves_more(world):
    provider, user = world.peer(1, cpus=4), world.peer(2)
    wanted = spec(cpus=3, retry=Retry(attempts=3, on=(RetryCause.LOST,)))
    big = place(user, wanted, b"1" * 16)
    small = place(user, spec(cpus=2), b"2" * 16)
    provider.kill()
    provider.capacity = capacity(2)
    provider.restart()

    assert provider.jobs[big].state is State.QUEUED
    assert provider.jobs[small].state is State.RUNNING


def test_a_node_tells_the_adverts_it_heard(world):
    provider = world.peer(1, cpus=2)
    world.run(for_s=1)
    asker = Puppet(world, 50)

    heard = asker.ask(asker.dial(provider), AdvertsWanted())

    assert [a.issuer for a in heard.body.adverts] == [provider.did]


def test_a_peer_that_is_gone_is_no_longer_offered(world):
    provider, user = world.peer(1, cpus=2), world.peer(2)
    world.run(for_s=1)
    assert len(user.node.adverts) == 1

    provider.kill()
    world.run()

    assert len(user.node.adverts) == 0


def test_a_node_without_addresses_can_be_drained(world):
    user = world.peer(2)
    user.boot_node()
    user.give(ins.NodeStarted())

    user.give(ins.DrainBegan(kill_after_s=5))

    assert len(user.told(Drained)) == 1
