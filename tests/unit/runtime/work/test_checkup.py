"""A check-up names every gap with its remedy."""

import os
import tempfile
from pathlib import Path

from nunet_node.executors.cluster.capacity import ClusterRoom
from nunet_node.executors.port import ENGINES, Capability
from nunet_node.quantities import ResourceVector
from nunet_node.runtime.work.checkup import (
    _without_room,
    check_up,
    check_up_cluster,
    gaps,
)
from tests.executors_kit import cache_folder, need
from tests.unit.executors.cluster.processes import a_cluster


def capability(engine, *, ready=True, isolation="none", remedy=None):
    return Capability(
        engine=engine, isolation=isolation, ready=ready, detail="why", remedy=remedy
    )


def test_an_engine_that_does_not_work_is_a_gap():
    (gap,) = gaps([capability("process", ready=False, remedy="install it")])
    assert (gap.engine, gap.what, gap.remedy) == ("process", "why", "install it")


def test_a_barrier_that_an_engine_does_without_is_a_gap():
    found = list(gaps([capability("process", isolation="bwrap+uid")]))
    assert ["control group" in gap.what for gap in found] == [True, False]
    assert all(gap.remedy for gap in found)


def test_a_whole_machine_has_no_gap():
    whole = [
        capability("wasm", isolation="wasm+cgroup+uid+landlock+seccomp"),
        capability("python", isolation="wasm+cgroup+uid+landlock+seccomp"),
        capability("process", isolation="bwrap+uid+seccomp+cgroup"),
    ]
    assert list(gaps(whole)) == []


async def test_a_check_up_tries_every_engine_and_measures_the_room():
    with tempfile.TemporaryDirectory(prefix="nunet-node-test-") as top:
        os.chmod(top, 0o711)
        found = await check_up(Path(top) / "scratch", cache_folder())
    assert [each.engine for each in found.capabilities] == list(ENGINES)
    assert found.room.cpu_millis > 0
    for each in found.capabilities:
        if each.ready:
            assert "wall" in {finding.barrier for finding in each.findings}


async def test_a_check_up_of_a_cluster_names_it_and_tries_a_machine_of_it():
    await need("python")
    with a_cluster() as executors:
        found = await check_up_cluster(executors)
    assert found.backend == "processes"
    assert [each.name for each in found.machines] == ["here"]
    held = {each.engine: each.ready for each in found.capabilities}
    assert held["process"]
    assert not any(gap.engine == "backend" for gap in found.gaps)


def test_a_cluster_without_room_is_a_gap():
    (gap,) = _without_room("Slurm", ClusterRoom())
    assert gap.engine == "backend"
    assert "Slurm" in gap.remedy
    room = ResourceVector(cpu_millis=1, memory_bytes=1)
    assert _without_room("Slurm", ClusterRoom(total=room, largest=(room,))) == ()
