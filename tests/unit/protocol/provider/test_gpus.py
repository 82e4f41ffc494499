"""Graphics processors are room like any other: had by one job, or waited for."""

import dataclasses

import msgspec
import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import StartJob
from nunet_node.quantities import Gpus
from tests.unit.protocol.world import World, capacity, place, spec

H100 = Gpus(vendor="nvidia", model="NVIDIA H100 80GB HBM3", memory_bytes=80 << 30)
T4 = Gpus(vendor="nvidia", model="Tesla T4", memory_bytes=15 << 30)


def many(kind, count):
    return msgspec.structs.replace(kind, count=count)


def offered(*kinds):
    plain = capacity(8)
    return dataclasses.replace(plain, total=plain.total.with_gpus(kinds))


def wanting(**words):
    plain = spec()
    return msgspec.structs.replace(
        plain, resources=plain.resources.with_gpus([Gpus(**words)])
    )


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    provider = world.peer(1, cpus=8)
    provider.capacity = offered(many(H100, 2), T4)
    provider.give(provider.capacity)
    return provider


@pytest.fixture
def user(world, provider):
    user = world.peer(2)
    world.run(for_s=1)
    return user


def started(provider):
    return {each.job: each.gpus for each in provider.running}


def test_a_job_starts_with_the_smallest_kind_that_will_do(provider, user):
    any_kind = place(user, wanting(), b"1" * 16)
    large = place(user, wanting(vendor="nvidia", memory_bytes=24 << 30), b"2" * 16)
    assert started(provider) == {any_kind: (T4,), large: (H100,)}


def test_a_job_waits_while_others_hold_what_it_needs(world, provider, user):
    first = place(user, wanting(model="h100", count=2), b"1" * 16)
    second = place(user, wanting(model="H100"), b"2" * 16)
    assert started(provider) == {first: (many(H100, 2),)}
    order = user.node.orders[second]
    assert order.state is State.QUEUED
    assert "gpus: 1 GPU H100 wanted, 1 GPU nvidia Tesla T4" in order.reason

    provider.finish()
    provider.store()
    world.run()
    assert started(provider)[second] == (H100,)


def test_what_a_job_holds_is_not_what_it_would_get_now(world, provider, user):
    small = place(user, wanting(), b"1" * 16)
    large = place(user, wanting(), b"2" * 16)
    assert started(provider) == {small: (T4,), large: (H100,)}
    provider.running = [each for each in provider.running if each.job == small]
    provider.finish()
    provider.store()
    world.run()
    # The small one is free again; two large ones are not.
    both = place(user, wanting(model="H100", count=2), b"3" * 16)
    assert provider.jobs[both].state is State.QUEUED


def test_on_a_cluster_a_job_gets_what_one_machine_has(world, provider, user):
    # Two machines with one T4 each, and one with both H100.
    rooms = [provider.capacity.total.with_gpus([kind]) for kind in (T4, many(H100, 2))]
    told = offered(many(T4, 2), many(H100, 2))
    provider.capacity = dataclasses.replace(told, largest=tuple(rooms))
    provider.give(provider.capacity)
    world.run(for_s=1)

    both = place(user, wanting(count=2), b"1" * 16)
    small = place(user, wanting(), b"2" * 16)
    more = place(user, wanting(count=2), b"3" * 16)
    assert started(provider) == {both: (many(H100, 2),), small: (T4,)}
    assert user.node.orders[more].state is State.QUEUED


@pytest.mark.parametrize(
    ("words", "largest"),
    [
        ({"count": 3}, "2 GPU nvidia NVIDIA H100 80GB HBM3 80GiB and 1 GPU"),
        ({"vendor": "amd"}, "amd wanted"),
        ({"model": "B200"}, "GPU B200 wanted"),
        ({"memory_bytes": 81 << 30}, "GPU 81GiB wanted"),
    ],
)
def test_what_there_will_never_be_is_refused_at_once(provider, user, words, largest):
    order = user.node.orders[place(user, wanting(**words))]
    assert order.state is State.REFUSED
    assert order.reason.startswith("no room ever: gpus: ")
    assert "the largest offer of 1 providers heard is 2 GPU nvidia" in order.reason
    assert largest in order.reason


def test_without_any_the_refusal_says_so(world):
    world.peer(3, cpus=8)
    user = world.peer(2)
    world.run(for_s=1)
    order = user.node.orders[place(user, wanting())]
    assert order.reason.endswith(
        "1 GPU wanted, the largest offer of 1 providers heard is no GPU"
    )


def test_what_is_held_survives_a_restart_of_the_ledger(world, provider, user):
    job = place(user, wanting(model="H100"))
    provider.kill()
    provider.restart()
    world.run(for_s=30)
    assert provider.jobs[job].state is State.LOST
    again = place(user, wanting(model="H100", count=2), b"2" * 16)
    world.run(for_s=30)
    assert started(provider) == {again: (many(H100, 2),)}


def test_the_record_of_a_move_names_what_was_given(provider, user):
    place(user, wanting(count=2))
    given = [f.gpus for f in provider.journal if getattr(f, "gpus", ())]
    assert given == [(many(H100, 2),)]


def test_an_order_to_start_without_gpus_names_none(provider, user):
    place(user, spec())
    (order,) = provider.running
    assert isinstance(order, StartJob)
    assert order.gpus == ()


def test_a_machine_that_lost_a_gpu_keeps_its_promises(world, provider, user):
    job = place(user, wanting(model="H100", count=2))
    provider.give(offered(H100))
    waiting = place(user, wanting(model="H100"), b"2" * 16)
    assert provider.jobs[waiting].state is State.QUEUED
    provider.give(ins.JobExited(job=job, attempt=1, exit_code=0))
    world.run()
    assert provider.jobs[job].state is State.STORING
