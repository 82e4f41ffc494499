"""How a job in custody moves: exits, limits, retries, time-outs, restarts, drains."""

from dataclasses import replace

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Retry, RetryCause
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import LogsGranted, StartJob
from nunet_node.results.logs.chain import LogHead
from tests.unit.protocol.world import (
    INPUT,
    OUTPUT,
    World,
    capacity,
    place,
    snapshot,
    spec,
)


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


@pytest.mark.parametrize(
    ("exit_code", "limit", "state", "words"),
    [
        (0, "", State.COMPLETED, ""),
        (1, "", State.FAILED, "exit code 1"),
        (137, "memory", State.FAILED, "memory"),
        (0, "disk", State.FAILED, "disk"),
        (None, "log", State.FAILED, "log"),
        (None, "wall", State.TIMED_OUT, "3600 s"),
        (None, "", State.FAILED, "could not be run"),
    ],
)
def test_the_end_of_the_run_decides_the_end_of_the_job(
    provider, user, exit_code, limit, state, words
):
    job = place(user, spec())
    provider.finish(exit_code=exit_code, limit=limit)
    assert provider.jobs[job].holding, "its room is taken until its result is stored"
    provider.store()

    ended = provider.jobs[job]
    assert (ended.state, ended.exit_code, ended.result) == (state, exit_code, OUTPUT)
    assert words in ended.reason
    assert user.orders[job].state is state
    assert user.orders[job].exit_code == exit_code


def test_a_job_that_could_not_be_started_gives_its_reason(provider, user):
    job = place(user, spec())
    provider.finish(exit_code=None, reason="no such command")
    provider.store()

    assert provider.jobs[job].state is State.FAILED
    assert "no such command" in provider.jobs[job].reason


def test_a_job_whose_machine_is_lost_is_lost_with_it(provider, user):
    job = place(user, spec())
    provider.finish(exit_code=None, limit="lost", reason="its machine went away")

    assert provider.jobs[job].state is State.LOST
    assert user.orders[job].state is State.LOST
    assert provider.jobs[job].reason == "its machine went away"
    assert not provider.storing


def test_a_job_whose_machine_is_lost_is_tried_again_if_its_owner_allows(provider, user):
    retry = Retry(attempts=2, on=(RetryCause.LOST,))
    job = place(user, spec(retry=retry))
    provider.finish(exit_code=None, limit="lost", reason="its machine went away")
    assert provider.jobs[job].attempt == 2

    provider.finish()
    provider.store()

    assert provider.jobs[job].state is State.COMPLETED
    assert user.orders[job].state is State.COMPLETED


def test_a_result_that_cannot_be_stored_fails_the_job(provider, user):
    job = place(user, spec())
    provider.finish()
    order = provider.storing.pop()
    provider.give(ins.ResultNotStored(job=order.job, attempt=1, reason="disk full"))

    assert provider.jobs[job].state is State.FAILED
    assert "disk full" in provider.jobs[job].reason
    assert provider.jobs[job].result is None


def test_a_failed_job_is_tried_again_if_its_owner_allows(provider, user):
    retry = Retry(attempts=2, on=(RetryCause.FAILED,))
    job = place(user, spec(retry=retry))
    provider.finish(exit_code=1)
    provider.store()
    assert provider.jobs[job].attempt == 2
    assert user.orders[job].state is State.RUNNING

    provider.finish(exit_code=1)
    provider.store()

    assert provider.jobs[job].state is State.FAILED
    assert [m.attempt for m in user.orders[job].history][-1] == 2


def test_a_word_of_an_attempt_that_is_over_is_ignored(provider, user):
    retry = Retry(attempts=2, on=(RetryCause.FAILED,))
    job = place(user, spec(retry=retry))
    provider.finish(exit_code=1)
    provider.store()
    before = snapshot(provider.node)

    provider.give(ins.JobExited(job=job, attempt=1, exit_code=0))
    provider.give(ins.ResultStored(job=job, attempt=1, root=OUTPUT, size_bytes=1))
    provider.give(ins.JobStarted(job=job, attempt=1))

    assert snapshot(provider.node) == before


@pytest.mark.parametrize(
    "word",
    [
        ins.JobStarted(job="a" * 32, attempt=1),
        ins.JobExited(job="a" * 32, attempt=1, exit_code=0),
        ins.ResultStored(job="a" * 32, attempt=1, root=OUTPUT, size_bytes=1),
        ins.InputsArrived(job="a" * 32, attempt=1),
        ins.TimerFired(name="queue:" + "a" * 32),
        ins.TimerFired(name="staging:" + "a" * 32),
        ins.TimerFired(name="nonsense"),
    ],
)
def test_a_word_about_no_job_changes_nothing(provider, word):
    before = snapshot(provider.node)
    provider.give(word)
    assert snapshot(provider.node) == before


def test_two_jobs_cannot_take_the_last_slot(world, provider, user):
    other = world.peer(3)
    world.run(for_s=1)
    first, second = spec(cpus=2), spec(cpus=2)
    # Both are under way before either is decided.
    from tests.unit.protocol.world import job_of

    jobs = [job_of(user, first), job_of(other, second)]
    user.give(ins.OrderWanted(job=jobs[0], spec=first, salt=b"s" * 16))
    other.give(ins.OrderWanted(job=jobs[1], spec=second, salt=b"s" * 16))
    world.run()

    states = sorted(provider.jobs[j].state for j in jobs)
    assert states == [State.QUEUED, State.RUNNING]
    assert {provider.jobs[j].owner for j in jobs} == {user.user.did, other.user.did}


def test_a_queued_job_starts_by_itself_when_room_appears(provider, user):
    place(user, spec(cpus=2), b"1" * 16)
    job = place(user, spec(cpus=2), b"2" * 16)
    order = user.orders[job]
    assert order.state is State.QUEUED
    assert order.queue.position == 1
    assert order.queue.estimate_s > 0
    assert order.queue.reason
    user.kill()

    provider.finish()
    provider.store()

    assert provider.jobs[job].state is State.RUNNING


def test_a_job_whose_engine_is_being_prepared_is_queued_and_then_starts(world):
    provider, user = world.peer(1), world.peer(2)
    provider = world.peer(3, cpus=2)
    provider.give(capacity(2, ready=False))
    world.run(for_s=1)
    job = place(user, spec())
    assert user.orders[job].state is State.QUEUED
    assert "being prepared" in user.orders[job].reason

    provider.give(capacity(2))
    world.run()

    assert user.orders[job].state is State.RUNNING


def test_inputs_that_find_no_place_end_the_job_and_say_why(world, provider, user):
    world._deliver = lambda *_: None
    job = place(user, spec(inputs=INPUT))
    provider.give(ins.InputsNotKept(job=job, attempt=2, reason="of another attempt"))
    assert provider.jobs[job].state is State.ALLOCATED
    provider.give(ins.InputsNotKept(job=job, attempt=1, reason="the disk is full"))
    assert provider.jobs[job].state is State.FAILED
    assert provider.reserved().cpu_millis == 0
    world.run(for_s=1)
    assert user.orders[job].state is State.FAILED
    assert "the disk is full" in user.orders[job].reason


def test_a_job_starts_once_its_inputs_are_there(world, provider, user):
    started = []
    world.watch = lambda _, e: started.append(e) if isinstance(e, StartJob) else None
    job = place(user, spec(inputs=INPUT))

    assert provider.jobs[job].state is State.RUNNING
    assert user.orders[job].award.inputs_handed
    provider.give(ins.InputsArrived(job=job, attempt=1))
    assert len(started) == 1


def test_a_job_with_room_that_had_not_begun_is_queued_over_a_restart(
    world, provider, user
):
    world._deliver = lambda *_: None
    job = place(user, spec(inputs=INPUT))
    provider.kill()
    del world._deliver
    provider.restart()
    world.run(for_s=20)

    assert [m.state for m in provider.jobs[job].history][:2] == [
        State.ALLOCATED,
        State.QUEUED,
    ]
    assert provider.jobs[job].state is State.RUNNING, (
        "the inputs were handed over again"
    )


def test_a_full_disk_starts_nothing_until_there_is_room(provider, user, world):
    job = place(user, spec(cpus=2), b"1" * 16)
    waits = place(user, spec(), b"2" * 16)
    provider.give(ins.StoreFilled(full=True))
    provider.finish()
    provider.store()
    assert provider.jobs[job].ended
    assert provider.jobs[waits].state is State.QUEUED

    provider.give(ins.StoreFilled(full=False))

    assert provider.jobs[waits].state is State.STARTING


HEAD = LogHead(links=3, digest=b"d" * 32)


@pytest.mark.parametrize("cancelled", [True, False])
def test_logs_that_no_result_has_are_signed_for_at_the_end(
    world, provider, user, cancelled
):
    job = place(user, spec())
    if cancelled:
        provider.node._ledger.jobs[job] = replace(provider.jobs[job], cancelling=True)
    provider.finish(exit_code=None, limit="cancelled", log=HEAD)

    assert provider.jobs[job].log == HEAD
    notice = user.orders[job].notice
    assert (notice.log_links, notice.log_digest) == (3, HEAD.digest)
    user.give(ins.LogsWanted(job=job))
    world.run()
    (granted,) = user.told(LogsGranted)
    assert granted.head == HEAD


def test_a_restart_signs_for_the_logs_that_were_found(world, provider, user):
    job = place(user, spec())
    provider.kill()
    provider.boot_node()
    provider.give(provider.capacity)
    provider.give(ins.NodeStarted(logs=((job, 1, HEAD),)))
    world.run()

    assert provider.jobs[job].state is State.LOST
    assert provider.jobs[job].log == HEAD


def test_logs_that_a_result_has_are_not_signed_for_apart(world, provider, user):
    job = place(user, spec())
    provider.finish(log=HEAD)
    provider.store()

    assert user.orders[job].notice.log_digest == b""
    user.give(ins.LogsWanted(job=job))
    world.run()
    (granted,) = user.told(LogsGranted)
    assert granted.head is None


def test_logs_without_a_result_go_when_their_time_is_over(world, provider, user):
    job = place(user, spec(retention_s=100))
    provider.finish(exit_code=None, limit="cancelled", log=HEAD)
    world.run(for_s=101)

    assert provider.jobs[job].expired
    assert [each.job for each in provider.dropped] == [job]
