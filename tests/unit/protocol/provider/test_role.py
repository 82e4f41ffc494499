"""Draining a provider: no new work, a little time for what runs, and a goodbye."""

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Retry
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import Drained
from nunet_node.protocol.messages import SUBMIT
from tests.unit.protocol.puppet import Puppet, code_of
from tests.unit.protocol.world import World, place, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2)


@pytest.fixture
def user(world, provider):
    return world.peer(2)


def test_an_idle_provider_is_drained_at_once_and_says_that_it_leaves(
    world, provider, user
):
    world.run(for_s=1)
    assert len(user.node.adverts) == 1

    provider.give(ins.DrainBegan(kill_after_s=10))
    world.run()

    assert len(provider.told(Drained)) == 1
    assert len(user.node.adverts) == 0


def test_what_runs_may_end_by_itself(world, provider, user):
    job = place(user, spec())
    provider.give(ins.DrainBegan(kill_after_s=10))
    assert provider.told(Drained) == []

    provider.finish()
    provider.store()

    assert user.orders[job].state is State.COMPLETED
    assert len(provider.told(Drained)) == 1


@pytest.mark.parametrize(
    ("retry", "state"), [(Retry(), State.LOST), (Retry(attempts=2), State.QUEUED)]
)
def test_what_still_runs_after_the_grace_is_ended_and_its_owner_told(
    world, provider, user, retry, state
):
    job = place(user, spec(retry=retry))
    provider.give(ins.DrainBegan(kill_after_s=10))
    world.run(for_s=11)

    assert provider.running == []
    assert user.orders[job].state is state
    assert "stopped" in user.orders[job].reason
    assert len(provider.told(Drained)) == 1


def test_nothing_new_starts_while_draining(world, provider, user):
    place(user, spec(cpus=2), b"1" * 16)
    waits = place(user, spec(), b"2" * 16)
    provider.give(ins.DrainBegan(kill_after_s=10))
    provider.finish()
    provider.store()

    assert provider.jobs[waits].state is State.QUEUED
    assert provider.running == []
    provider.kill()
    provider.restart()
    assert provider.jobs[waits].state is State.RUNNING


def test_a_new_job_is_refused_while_draining(world, provider, user):
    place(user, spec(), b"1" * 16)
    provider.give(ins.DrainBegan(kill_after_s=10))
    late = Puppet(world, 50)

    heard = late.command(
        late.dial(provider), provider, SUBMIT, late.submit_args(spec())
    )

    assert code_of(heard) == "provider.draining"
    assert len(provider.jobs) == 1


def test_an_owner_can_still_cancel_while_draining(world, provider, user):
    job = place(user, spec())
    provider.give(ins.DrainBegan(kill_after_s=100))

    user.give(ins.CancelWanted(job=job))
    world.run()

    assert user.orders[job].state is State.CANCELLED
    assert len(provider.told(Drained)) == 1


def test_a_drain_that_could_not_be_recorded_is_told_when_it_can(world, provider, user):
    place(user, spec())
    provider.give(ins.DrainBegan(kill_after_s=100))
    provider.disk_full = True
    provider.finish()
    assert provider.told(Drained) == []

    provider.disk_has_room()
    provider.store()

    assert len(provider.told(Drained)) == 1
