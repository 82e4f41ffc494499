"""Holding secrets until the job starts, in memory alone."""

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.provider.moving import STAGING_S_MIN
from nunet_node.protocol.secrets import holding
from tests.unit.protocol.world import World, place, spec


@pytest.fixture
def world():
    return World()


def desk_of(peer):
    return peer.node._provider.desk


def users(world, value=b"v"):
    user = world.peer(9)
    user.environment = {"TOKEN": value} if value is not None else {}
    world.run(for_s=1)
    return user


def wanted(**more):
    return spec(secrets=("TOKEN",), **more)


def test_they_are_held_until_the_job_runs_and_no_longer(world):
    provider, user = world.peer(1, cpus=2), users(world)
    world.starts_at_once = False
    job = place(user, wanted())
    assert list(desk_of(provider).secrets) == [job]
    provider.give(ins.JobStarted(job=job, attempt=1))
    assert desk_of(provider).secrets == {}


def test_a_job_that_ends_before_it_starts_leaves_none(world):
    provider, user = world.peer(1, cpus=1), users(world)
    place(user, spec(), salt=b"o" * 16)
    job = place(user, wanted())
    assert list(desk_of(provider).secrets) == [job]
    user.give(ins.CancelWanted(job=job))
    world.run()
    assert desk_of(provider).secrets == {}


def test_a_job_in_the_queue_waits_for_its_secrets_and_says_so(world):
    provider, user = world.peer(1, cpus=1), users(world, value=None)
    place(user, spec(), salt=b"o" * 16)
    job = place(user, wanted())
    provider.finish()
    provider.store()
    assert provider.jobs[job].state is State.QUEUED
    assert desk_of(provider).queue_reason(provider.jobs[job]) == (
        "its secrets have not been handed over"
    )


def test_room_does_not_wait_for_secrets_for_ever(world):
    provider, user = world.peer(1, cpus=2), users(world, value=None)
    job = place(user, wanted())
    assert provider.jobs[job].state is State.ALLOCATED
    world.run(for_s=STAGING_S_MIN + 1)
    assert provider.jobs[job].state is State.FAILED
    assert user.orders[job].reason == "its secrets were not handed over"


def test_more_than_a_node_holds_is_refused(world, monkeypatch):
    monkeypatch.setattr(holding, "HELD_BYTES_MAX", 16)
    provider, user = world.peer(1, cpus=2), users(world)
    job = place(user, wanted())
    assert provider.jobs[job].state is State.ALLOCATED
    assert desk_of(provider).secrets == {}
