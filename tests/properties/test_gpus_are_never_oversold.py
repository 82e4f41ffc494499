"""What jobs hold is always there, device for device, whatever they asked for."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from nunet_node.executors.sandbox.devices import Device, Devices, kinds_of
from nunet_node.jobs.scheduler import (
    Holding,
    Waiting,
    free_of,
    given_of,
    startable,
)
from nunet_node.quantities import Gpus, ResourceVector

KINDS = [
    Gpus(vendor="nvidia", model="A100", memory_bytes=40),
    Gpus(vendor="nvidia", model="A100", memory_bytes=80),
    Gpus(vendor="nvidia", model="A100-SXM4", memory_bytes=40),
    Gpus(vendor="amd", model="MI300", memory_bytes=80),
]
machines = st.lists(st.sampled_from(KINDS), min_size=1, max_size=6)
wishes = st.builds(
    Gpus,
    vendor=st.sampled_from(["", "nvidia", "amd"]),
    model=st.sampled_from(["", "a100", "A100-SXM4", "MI"]),
    memory_bytes=st.sampled_from([0, 40, 80]),
    count=st.integers(1, 3),
)
steps = st.lists(st.one_of(wishes, st.integers(0, 5)), max_size=20)


@given(machines, steps)
def test_every_job_that_has_room_gets_devices_that_nobody_has(machine, steps):
    present = tuple(
        Device(name=str(n), kind=kind, nodes=(f"/{n}",))
        for n, kind in enumerate(machine)
    )
    devices = Devices(present=present)
    total = ResourceVector().with_gpus(kinds_of(present))
    running: list[tuple[ResourceVector, contextlib.ExitStack]] = []
    for step in steps:
        if isinstance(step, int):
            if running:
                running.pop(step % len(running))[1].close()
            continue
        need = ResourceVector().with_gpus([step])
        free = free_of(total, (room for room, _ in running))
        assert need.fits(free) is (need.shortfall(free) is None)
        if need.fits(free):
            room = need.taken_from(free)
            stack = contextlib.ExitStack()
            nodes = stack.enter_context(devices.held(room.gpu_kinds))
            assert len([n for n in nodes if n[1:].isdigit()]) == step.count
            running.append((room, stack))
            (kind,) = room.gpu_kinds
            assert step.accepts(kind)
            assert free.less(need) == free.less(room)


clusters = st.lists(machines, min_size=1, max_size=3)


@given(clusters, st.lists(wishes, max_size=8))
def test_on_a_cluster_a_job_gets_what_one_machine_has_and_nobody_holds(cluster, jobs):
    rooms = tuple(ResourceVector().with_gpus(kinds_of(_devices(m))) for m in cluster)
    total = sum(rooms, ResourceVector())
    held: list[ResourceVector] = []
    for wish in jobs:
        need = ResourceVector().with_gpus([wish])
        free = free_of(total, held)
        given = given_of(need, free, rooms)
        names = startable(total, _holding(held), [_waiting(need)], rooms)
        assert bool(names) is (given is not None)
        if given is None:
            continue
        assert any(given.fits(room) for room in rooms)
        assert given.fits(free)
        held.append(given)
    used = sum(held, ResourceVector())
    assert used.fits(total)


def _devices(machine):
    return [Device(name=str(n), kind=kind, nodes=()) for n, kind in enumerate(machine)]


def _holding(rooms):
    return [Holding(need=room, ends_in_s=9) for room in rooms]


def _waiting(need):
    return Waiting(job="job", tag=1, sequence=0, need=need, run_s=9, ready=True)
