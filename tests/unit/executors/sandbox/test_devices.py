"""A device is one job's at a time, and no other sandbox sees its node."""

import os

import pytest
import trio

from nunet_node.executors.port import DevicesError
from nunet_node.executors.sandbox.devices import (
    SHARED_NODES,
    Device,
    Devices,
    kinds_of,
)
from nunet_node.quantities import Gpus
from tests.executors_kit import a_device_node, an_order, need, some_executors

SMALL = Gpus(vendor="nvidia", model="Tesla T4", memory_bytes=15 << 30)
LARGE = Gpus(vendor="nvidia", model="NVIDIA A100", memory_bytes=40 << 30)


def some_devices() -> Devices:
    kinds = [SMALL, LARGE, LARGE]
    return Devices(
        present=tuple(
            Device(name=f"nvidia{n}", kind=kind, nodes=(f"/dev/nvidia{n}",))
            for n, kind in enumerate(kinds)
        )
    )


def two(kind: Gpus) -> Gpus:
    return Gpus(
        vendor=kind.vendor, model=kind.model, memory_bytes=kind.memory_bytes, count=2
    )


def test_a_job_sees_its_own_nodes_and_those_that_all_share():
    with some_devices().held([LARGE]) as nodes:
        assert nodes == ("/dev/nvidia1", *SHARED_NODES)


def test_nothing_wanted_is_nothing_seen():
    with some_devices().held([]) as nodes:
        assert nodes == ()


def test_what_one_job_holds_no_other_gets():
    devices = some_devices()
    with devices.held([LARGE]) as first:
        with devices.held([LARGE]) as second:
            assert not {first[0], second[0]} & set(SHARED_NODES)
            assert first[0] != second[0]
            with pytest.raises(DevicesError, match="0 here and free"):
                devices.held([LARGE]).__enter__()
        with devices.held([LARGE]) as third:
            assert third == second


def test_a_job_that_wants_too_many_holds_none():
    devices = some_devices()
    with pytest.raises(DevicesError), devices.held([two(LARGE), LARGE]):
        pass
    with devices.held([two(LARGE)]) as nodes:
        assert len(nodes) == 2 + len(SHARED_NODES)


def test_kinds_are_counted():
    assert kinds_of(some_devices().present) == (SMALL, two(LARGE))


async def test_the_node_of_a_device_is_in_the_box_of_its_holder_alone():
    await need("process")
    node = a_device_node()
    look = ("sh", "-c", f"test -c {node} && echo seen || echo none")
    said = []
    async with some_executors() as executors:
        device = Device(name="lent", kind=SMALL, nodes=(node,))
        executors.devices.present = (device,)
        for gpus in ((SMALL,), ()):
            job_dir = await executors.open_job("job", 1)
            order = an_order("process", *look, gpus=gpus)
            end = await executors.run(order, job_dir)
            assert end.exit_code == 0
            said.append(job_dir.stdout_path.read_text())
            await executors.remove(job_dir)
    assert said == ["seen\n", "none\n"]


async def test_a_job_whose_device_is_held_does_not_start():
    await need("process")
    async with some_executors() as executors:
        device = Device(name="lent", kind=SMALL, nodes=(os.devnull,))
        executors.devices.present = (device,)
        up, ends = trio.Event(), []

        async def one(*words: str) -> None:
            job_dir = await executors.open_job("job", 1)
            order = an_order("process", *words, gpus=(SMALL,))
            try:
                ends.append(await executors.run(order, job_dir, up.set))
            finally:
                await executors.remove(job_dir)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "sleep", "60")
            await up.wait()
            await one("true")
            nursery.cancel_scope.cancel()
        await one("true")
    assert ends[0].exit_code is None
    assert "0 here and free" in (ends[0].reason or "")
    assert ends[1].exit_code == 0
