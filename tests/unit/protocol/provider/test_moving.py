"""Every move is told by one signed notice, and sets the clocks of its state."""

from hashlib import sha256

import pytest

from nunet_node.identity.statement import open_statement
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Retry, RetryCause, Timeouts
from nunet_node.jobs.statements import NOTICE, REASON_CHARS_MAX, Notice
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.provider.moving import STAGING_S_MIN
from tests.unit.protocol.world import INPUT, World, capacity, place, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2)


@pytest.fixture
def user(world, provider):
    user = world.peer(2)
    world.run(for_s=1)
    return user


def told(data: bytes) -> Notice:
    return open_statement(
        data,
        kind=NOTICE,
        payload_type=Notice,
        now_s=0,
        audience=None,
        check_time=False,
    ).payload


def test_each_move_is_told_by_a_notice_that_names_the_one_before(provider, user):
    job = provider.jobs[place(user, spec())]

    notices = [told(data) for data in job.notices]

    assert [each.state for each in notices] == [each.state for each in job.history]
    assert [each.sequence for each in notices] == list(range(1, len(notices) + 1))
    before = [sha256(data).digest() for data in job.notices[:-1]]
    assert [each.previous for each in notices[1:]] == before


def test_a_reason_is_cut_to_what_a_notice_may_carry(world, provider, user):
    world._deliver = lambda *_: None
    job = place(user, spec(inputs=INPUT))
    provider.give(ins.InputsNotKept(job=job, attempt=1, reason="x" * 5000))

    assert len(told(provider.jobs[job].notices[-1]).reason) == REASON_CHARS_MAX
    assert len(provider.jobs[job].reason) == REASON_CHARS_MAX


def test_the_queue_time_out_ends_the_wait_with_a_reason(world, provider, user):
    place(user, spec(cpus=2), b"1" * 16)
    job = place(user, spec(cpus=2, timeouts=Timeouts(run_s=60, queue_s=9)), b"2" * 16)
    world.run(for_s=8)
    assert provider.jobs[job].state is State.QUEUED

    world.run(for_s=2)

    assert user.orders[job].state is State.TIMED_OUT
    assert "queue" in user.orders[job].reason


def test_the_queue_time_out_goes_on_over_a_restart(world, provider, user):
    place(user, spec(cpus=2, timeouts=Timeouts(run_s=99)), b"1" * 16)
    waits = spec(cpus=2, timeouts=Timeouts(run_s=60, queue_s=20))
    job = place(user, waits, b"2" * 16)
    world.run(for_s=15)
    provider.kill()
    provider.capacity = capacity(1)
    provider.restart()
    assert provider.jobs[job].state is State.QUEUED

    world.run(for_s=6)

    assert provider.jobs[job].state is State.TIMED_OUT


def test_an_attempt_that_is_queued_again_may_wait_its_whole_time(world, provider, user):
    retry = Retry(attempts=2, on=(RetryCause.LOST,))
    timeouts = Timeouts(run_s=600, queue_s=30)
    job = place(user, spec(cpus=2, retry=retry, timeouts=timeouts))
    world.run(for_s=100)
    provider.kill()
    provider.boot_node()
    provider.give(ins.NodeStarted())
    world.run(for_s=5)
    provider.give(provider.capacity)

    assert provider.jobs[job].state is not State.TIMED_OUT
    assert provider.jobs[job].attempt == 2


def test_inputs_that_never_come_free_the_room(world, provider, user):
    world._deliver = lambda *_: None
    job = place(user, spec(inputs=INPUT))
    assert provider.jobs[job].state is State.ALLOCATED

    world.run(for_s=STAGING_S_MIN + 1)

    assert provider.jobs[job].state is State.FAILED
    assert "inputs" in provider.jobs[job].reason
    assert provider.reserved().cpu_millis == 0
