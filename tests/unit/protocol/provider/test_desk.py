"""What the provider has in mind: its room, its queue, and who watches."""

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Timeouts
from nunet_node.protocol.provider.desk import WATCHERS_PER_JOB_MAX
from nunet_node.protocol.sessions import Session
from nunet_node.protocol.turn import Turn
from tests.unit.protocol.world import INPUT, World, capacity, place, spec


@pytest.fixture
def world():
    return World()


def desk_of(peer):
    return peer.node._provider.desk


def turn_of(peer):
    return Turn(peer.node._ledger, peer.world.now)


def test_what_is_reserved_is_not_free(world):
    provider, user = world.peer(1, cpus=3), world.peer(2)
    place(user, spec(cpus=2))

    assert desk_of(provider).free(turn_of(provider)).cpu_millis == 1000


def test_a_queue_holds_what_waits_and_nothing_else(world):
    provider, user = world.peer(1, cpus=3), world.peer(2)
    place(user, spec(cpus=2), b"1" * 16)
    job = place(user, spec(cpus=2), b"2" * 16)

    (waiting,) = desk_of(provider).waiting(turn_of(provider))
    (holding,) = desk_of(provider).holding(turn_of(provider))

    assert waiting.job == job
    assert waiting.ready
    assert holding.need.cpu_millis == 2000


def test_a_running_job_ends_within_its_time_at_the_latest(world):
    provider, user = world.peer(1, cpus=2), world.peer(2)
    place(user, spec(timeouts=Timeouts(run_s=100)))
    world.run(for_s=30)

    (holding,) = desk_of(provider).holding(turn_of(provider))

    assert holding.ends_in_s == 70


def test_a_job_is_not_ready_without_its_inputs_or_its_engine(world):
    provider, user = world.peer(1, cpus=1), world.peer(2)
    desk = desk_of(provider)
    job = place(user, spec())
    assert desk.ready(provider.jobs[job])

    provider.give(capacity(1, ready=False))

    assert not desk.ready(provider.jobs[job])
    assert "being prepared" in desk.queue_reason(provider.jobs[job])


def test_a_job_whose_inputs_are_missing_says_so(world):
    provider, user = world.peer(1, cpus=1), world.peer(2)
    world._deliver = lambda *_: None
    job = place(user, spec(inputs=INPUT))

    assert provider.jobs[job].state is State.ALLOCATED
    assert "inputs" in desk_of(provider).queue_reason(provider.jobs[job])


def test_the_newest_watchers_of_a_job_stay(world):
    provider, user = world.peer(1, cpus=1), world.peer(2)
    job = provider.jobs[place(user, spec())]
    desk = desk_of(provider)
    for number in range(100, 150, 2):
        desk.watch(Session(id=number, peer_id=user.peer_id, ours=False), job)

    kept = desk.watchers[job.job]
    assert len(kept) == WATCHERS_PER_JOB_MAX
    assert max(kept) == 148


def test_a_session_that_is_gone_watches_nothing(world):
    provider, user = world.peer(1, cpus=1), world.peer(2)
    place(user, spec())
    assert desk_of(provider).watchers

    world.cut(user, provider)
    user.kill()
    world.run()

    assert desk_of(provider).watchers == {}
