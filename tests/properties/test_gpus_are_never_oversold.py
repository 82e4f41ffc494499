"""What jobs hold is always there, device for device, whatever they asked for."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from nunet_node.executors.sandbox.devices import Device, Devices, kinds_of
from nunet_node.jobs.scheduler import free_of
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
