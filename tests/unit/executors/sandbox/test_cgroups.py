import subprocess
import sys

import pytest

from nunet_node.executors.sandbox import cgroups


@pytest.fixture
def group():
    limits = cgroups.GroupLimits(memory_bytes=64 << 20, pids=16, cpu_millis=500)
    made = cgroups.limited(limits)
    if made is None:
        pytest.skip("this host gives us no control groups")
    yield made
    made.remove()


def run_inside(group: cgroups.ControlGroup, script: str) -> int:
    join = "".join(f"open({path!r}, 'w').write('0');" for path in group.procs_files)
    return subprocess.run([sys.executable, "-c", join + script], check=False).returncode


def test_a_process_that_joins_is_counted_and_leaves_its_use_behind(
    group: cgroups.ControlGroup,
):
    assert run_inside(group, "x = bytearray(b'x' * (20 << 20)); sum(range(10**6))") == 0
    assert group.pids() == []
    assert group.memory_peak_bytes() > 20 << 20
    assert group.cpu_ms() > 0
    assert group.oom_kills() == 0


def test_the_kernel_ends_a_process_that_wants_too_much_memory(
    group: cgroups.ControlGroup,
):
    assert run_inside(group, "x = bytearray(b'x' * (200 << 20))") == -9
    assert group.oom_kills() == 1


def test_an_empty_group_is_removed_and_removing_it_again_is_fine(
    group: cgroups.ControlGroup,
):
    assert group.remove()
    assert group.remove()
    assert group.memory_peak_bytes() == 0


def test_sweeping_spares_groups_in_use(group: cgroups.ControlGroup):
    join = "".join(f"open({path!r}, 'w').write('0');" for path in group.procs_files)
    with subprocess.Popen(
        [sys.executable, "-c", join + "print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as inside:
        assert inside.stdout is not None
        inside.stdout.readline()
        cgroups.sweep()
        assert group.pids() == [inside.pid]
        inside.communicate(b"\n")


def test_where_groups_are_made_is_looked_up_again_after_a_failure(
    group: cgroups.ControlGroup, monkeypatch: pytest.MonkeyPatch
):
    taken = int(next(iter(group.folders.values())).name.rpartition("-")[2])
    monkeypatch.setattr(cgroups, "_serial", iter([taken]))
    assert cgroups._parents() is cgroups._parents()
    assert cgroups.create() is None
    assert cgroups._parents.cache_info().currsize == 0
