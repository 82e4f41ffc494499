"""What a cluster offers is never more than one machine, or all, can hold."""

from hypothesis import given
from hypothesis import strategies as st

from nunet_node.executors.cluster.capacity import RUNNER_BYTES, room_of
from nunet_node.executors.cluster.port import MachineRoom
from nunet_node.market.offers import LARGEST_MAX
from nunet_node.quantities import ResourceVector

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
