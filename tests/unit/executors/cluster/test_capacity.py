"""What a cluster offers is never more than one machine, or all, can hold."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nunet_node.executors.cluster.capacity import (
    KINDS_TOLD_MAX,
    RUNNER_BYTES,
    GpuKinds,
    longest_run_s,
    room_of,
)
from nunet_node.executors.cluster.port import ClusterGpus, MachineRoom
from nunet_node.market.offers import LARGEST_MAX
from nunet_node.quantities import GPUS_MAX, KINDS_MAX, Gpus, ResourceVector

GIB = 1 << 30


def machine(cpus, memory_gib, disk_gib=10, name="n"):
    return MachineRoom(
        name=name,
        cpu_millis=cpus * 1000,
        memory_bytes=memory_gib * GIB + RUNNER_BYTES,
        disk_bytes=disk_gib * GIB,
    )


def room(cpus, memory_gib, disk_gib=10):
    return ResourceVector(
        cpu_millis=cpus * 1000, memory_bytes=memory_gib * GIB, disk_bytes=disk_gib * GIB
    )


machines = st.lists(
    st.builds(machine, st.integers(0, 9), st.integers(-1, 9), st.integers(0, 9)),
    max_size=20,
)


def test_two_kinds_of_machine_are_both_told():
    found = room_of([machine(4, 64), machine(4, 64), machine(64, 4)], 0)
    assert found.total == room(72, 132, 30)
    assert found.largest == (room(64, 4), room(4, 64))


def test_a_machine_that_another_outdoes_is_not_told():
    assert room_of([machine(4, 4), machine(8, 4)], 0).largest == (room(8, 4),)


def test_a_machine_with_memory_for_our_runner_alone_takes_no_job():
    assert room_of([machine(4, 0)], 0).largest == ()


def test_a_disk_that_is_not_told_is_the_one_that_was_seen():
    assert room_of([machine(1, 1, 0)], 5 * GIB).largest == (room(1, 1, 5),)


def test_an_owner_caps_each_machine_and_all_of_them():
    found = room_of([machine(4, 64), machine(64, 4)], 0)
    capped = found.capped(room(8, 8, 100))
    assert capped.total == room(8, 8, 20)
    assert capped.largest == (room(8, 4), room(4, 8))


A100 = Gpus(vendor="nvidia", model="NVIDIA A100", memory_bytes=40 * GIB)
DESCRIBED = GpuKinds(known={"a100": A100})


def with_gpus(made, **labels):
    gpus = (ClusterGpus(label=label, count=n) for label, n in labels.items())
    return replace(made, gpus=tuple(gpus))


def test_gpus_are_told_of_all_machines_and_of_each():
    found = room_of(
        [with_gpus(machine(4, 4), a100=2), with_gpus(machine(4, 4), a100=4)],
        0,
        DESCRIBED,
    )
    assert found.total.gpu_kinds == (replace_count(A100, 6),)
    assert [each.gpu_kinds for each in found.largest] == [(replace_count(A100, 4),)]


def replace_count(kind, count):
    return Gpus(
        vendor=kind.vendor,
        model=kind.model,
        memory_bytes=kind.memory_bytes,
        count=count,
    )


def test_what_nobody_described_meets_no_demand_for_memory_or_vendor():
    found = room_of([with_gpus(machine(4, 4), t4=2)], 0, DESCRIBED)
    [kind] = found.total.gpu_kinds
    assert (kind.model, kind.vendor, kind.memory_bytes) == ("t4", "", 0)
    assert Gpus(model="T4").accepts(kind)
    assert not Gpus(memory_bytes=1).accepts(kind)
    assert not Gpus(vendor="nvidia").accepts(kind)


def test_machines_with_other_gpus_are_not_alike():
    small = with_gpus(machine(4, 4), t4=1)
    found = room_of([small, with_gpus(machine(8, 8), a100=1)], 0)
    assert len(found.largest) == 2


def test_machines_that_tell_their_gpus_in_another_order_are_alike():
    one = with_gpus(machine(4, 4), t4=1, a100=2)
    other = with_gpus(machine(4, 4), a100=2, t4=1)
    found = room_of([one, other], 0, DESCRIBED)
    assert len(found.largest) == 1
    assert found.largest == room_of([one], 0, DESCRIBED).largest


def test_two_labels_for_one_kind_are_no_more_of_it_for_one_job():
    kinds = GpuKinds(known={"a": A100, "b": A100})
    found = room_of([with_gpus(machine(4, 4), a=2, b=3)], 0, kinds)
    assert found.largest[0].gpu_kinds == (replace_count(A100, 3),)


def test_of_more_kinds_than_are_told_the_rarest_are_left_out():
    labels = {f"k{n}": n + 1 for n in range(KINDS_MAX + 2)}
    found = room_of([with_gpus(machine(4, 4), **labels)], 0)
    models = {kind.model for kind in found.total.gpu_kinds}
    assert models == {f"k{n}" for n in range(2, KINDS_MAX + 2)}
    assert {kind.model for kind in found.largest[0].gpu_kinds} == models


def test_so_many_kinds_are_told_that_an_advert_stays_small():
    labels = [{f"k{m}-{n}": 9 for n in range(3)} for m in range(2)]
    many = [machine(4 + n, 9 - n) for n in range(8)]
    each = [with_gpus(one, **labels[n % 2]) for n, one in enumerate(many)]
    told = room_of([*each, machine(64, 64)], 0).largest
    assert len(told) == 4
    assert sum(len(room.gpu_kinds) for room in told) <= KINDS_TOLD_MAX
    assert told[-1] == room(64, 64)


def test_no_more_gpus_are_told_than_a_vector_has_room_for():
    many = [with_gpus(machine(4, 4), a100=40) for _ in range(2)]
    assert room_of(many, 0).total.gpu_kinds[0].count == GPUS_MAX


def test_an_owner_that_offers_no_gpus_offers_none_of_any_machine():
    found = room_of([with_gpus(machine(4, 64), a100=2)], 0)
    capped = found.capped(found.total.with_gpus(()))
    assert capped.total.gpu_kinds == ()
    assert [each.gpu_kinds for each in capped.largest] == [()]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (replace_count(A100, 2), ClusterGpus(label="a100", count=2)),
        (replace_count(A100, 3), None),
        (Gpus(model="t4"), ClusterGpus(label="t4", count=1)),
        (Gpus(model="a100"), None),
    ],
)
def test_a_kind_is_asked_for_by_what_the_cluster_calls_it(wanted, expected):
    there = with_gpus(machine(4, 4), t4=1, a100=2)
    assert DESCRIBED.found_on(there, wanted) == expected


def test_what_one_job_can_have_of_a_machine_is_less_than_what_jobs_have():
    bound = replace(machine(4, 64), job_memory_bytes_max=8 * GIB + RUNNER_BYTES)
    found = room_of([bound], 0)
    assert found.total == room(4, 64)
    assert found.largest == (room(4, 8),)


def test_a_bound_too_small_for_our_runner_takes_no_job():
    bound = replace(machine(4, 64), job_memory_bytes_max=RUNNER_BYTES)
    assert room_of([bound], 0).largest == ()


def test_a_limit_on_time_leaves_some_for_what_surrounds_a_job():
    def longest(*limits):
        return longest_run_s([replace(machine(1, 1), run_s_max=s) for s in limits])

    assert longest() == longest(0) == longest(7200, 0) == 0
    assert longest(7200) == longest(3600, 7200) == 6600
    assert longest(400) == 300
    assert longest(1) == 1


@given(machines)
def test_what_is_told_is_what_some_machine_has(found):
    made = room_of(found, 0)
    assert len(made.largest) <= LARGEST_MAX
    assert all(each.fits(made.total) for each in made.largest)
    rooms = [
        room(m.cpu_millis // 1000, (m.memory_bytes - RUNNER_BYTES) // GIB, 0)
        for m in found
        if m.memory_bytes > RUNNER_BYTES and m.cpu_millis
    ]
    assert all(any(_same(e, r) for r in rooms) for e in made.largest)
    if len(made.largest) < LARGEST_MAX:
        assert all(any(r.fits(e) for e in made.largest) for r in rooms)


def _same(one, other):
    return (one.cpu_millis, one.memory_bytes) == (other.cpu_millis, other.memory_bytes)
