import os
import signal
from itertools import repeat
from pathlib import Path

import pytest
import trio

from nunet_node.executors import ready
from nunet_node.executors.sandbox import cgroups, meter
from tests.executors_kit import an_order, need, some_executors


async def test_two_forks_see_different_random_bytes():
    await need("python")
    said_by = []
    async with some_executors() as executors, executors.warmed():
        for _ in range(2):
            job_dir = await executors.open_job("job", 1)
            job_dir.add_file("main.py", b"import os; print(os.urandom(16).hex())")
            await executors.run(an_order("python", "main.py"), job_dir)
            said_by.append(job_dir.stdout_path.read_bytes())
            await executors.remove(job_dir)
    assert said_by[0] != said_by[1]


async def test_many_jobs_share_one_warm_process():
    await need("process")
    codes: list[int | None] = []
    async with some_executors() as executors, executors.warmed():

        async def one(code: int) -> None:
            job_dir = await executors.open_job("job", 1)
            order = an_order("process", "sh", "-c", f"exit {code}")
            codes.append((await executors.run(order, job_dir)).exit_code)
            await executors.remove(job_dir)

        async with trio.open_nursery() as nursery:
            for code in range(8):
                nursery.start_soon(one, code)
    assert sorted(codes, key=str) == list(range(8))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_jobs_run_and_there_is_another_when_the_warm_process_is_gone(how, caplog):
    await need("process")
    async with some_executors() as executors, executors.warmed():
        warm = executors._warm
        assert warm is not None
        gone = warm._process
        os.kill(gone.pid, how)
        # One runs in each child that was ready, and one needs another.
        for _ in range(ready.READY_MAX + 1):
            assert (await run_true(executors)).exit_code == 0
        assert warm._process is not gone
        assert (await run_true(executors)).exit_code == 0
        assert warm._process.poll() is None
    assert "the warm process is replaced" in caplog.text


async def test_warm_processes_that_die_at_once_are_given_up(monkeypatch, caplog):
    await need("process")
    monkeypatch.setattr(ready, "FAILURES_MAX", 2)
    boot = ready._BOOT.removesuffix("main()") + "'{0}' == 'warm' or main()"
    monkeypatch.setattr(ready, "_BOOT", boot)
    async with some_executors() as executors, executors.warmed():
        for _ in range(4):
            assert (await run_true(executors)).exit_code == 0
    assert caplog.text.count("is replaced") == 2


async def test_children_are_had_by_way_of_orphans_where_there_are_no_siblings(
    monkeypatch,
):
    await need("process")
    none = "from nunet_node.executors.inside import warm; warm._CLONE.clear(); main()"
    boot = ready._BOOT.removesuffix("main()") + none
    monkeypatch.setattr(ready, "_BOOT", boot)
    async with some_executors() as executors, executors.warmed():
        assert executors._warm is not None
        (first, *_) = await ready_ones(executors._warm)
        assert meter.parent_of(first.pid) == os.getpid()
        assert (await run_true(executors)).exit_code == 0
        assert first.given


async def test_a_job_starts_alone_when_the_child_that_was_ready_is_gone():
    await need("process")
    async with some_executors() as executors, executors.warmed():
        warm = executors._warm
        assert warm is not None
        waiting = await ready_ones(warm)
        for each in waiting:
            os.kill(each.pid, signal.SIGKILL)
            # Until it is dead, it would take a job with it; nobody else looks yet.
            os.waitid(os.P_PID, each.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        for _ in waiting:
            assert (await run_true(executors)).exit_code == 0


async def test_a_child_that_is_ready_has_joined_its_group_and_is_used_once():
    await need("process")
    async with some_executors() as executors, executors.warmed():
        warm = executors._warm
        assert warm is not None
        (first, *_) = await ready_ones(warm)
        if first.group is None:
            pytest.skip("this host gives us no control groups")
        assert first.group.pids() == [first.pid]
        assert (await run_true(executors)).isolation.endswith("+cgroup")
        assert first.given
        assert first not in warm._ready


async def test_a_child_waits_without_a_group_where_none_can_be_made(monkeypatch):
    await need("process")
    async with some_executors() as executors, executors.warmed():
        warm = executors._warm
        assert warm is not None
        (first, *_) = await ready_ones(warm)
        if first.group is None:
            pytest.skip("this host gives us no control groups")
        name = Path(first.group.places[0]).name
        monkeypatch.setattr(cgroups, "_serial", repeat(name.rpartition("-")[2]))
        without = await warm._made()
        assert without is not None
        assert without.group is None
        assert without.alive()
        without.dismiss()
        # What is another's is left alone.
        assert first.group.pids() == [first.pid]


async def test_children_that_wait_end_with_what_made_them():
    await need("process")
    before = set(cgroups_here())
    async with some_executors() as executors, executors.warmed():
        assert executors._warm is not None
        waiting = await ready_ones(executors._warm)
    for each in waiting:
        with pytest.raises(ProcessLookupError):
            os.kill(each.pid, 0)
    assert set(cgroups_here()) == before


def cgroups_here():
    parents = cgroups._v2_parents() or cgroups._v1_parents()
    return [
        p for at in parents.values() for p in at.glob(f"nunet-node-{os.getpid()}-*")
    ]


async def ready_ones(warm):
    while len(warm._ready) < ready.READY_MAX:
        assert warm._failures < ready.FAILURES_MAX
        await trio.lowlevel.checkpoint()
    return list(warm._ready)


async def run_true(executors):
    job_dir = await executors.open_job("job", 1)
    end = await executors.run(an_order("process", "true"), job_dir)
    await executors.remove(job_dir)
    return end


async def test_nothing_of_the_warm_process_stays_open():
    await need("process")
    before = set(os.listdir("/proc/self/fd"))
    async with some_executors() as executors, executors.warmed():
        job_dir = await executors.open_job("job", 1)
        await executors.run(an_order("process", "true"), job_dir)
        await executors.remove(job_dir)
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_child_searches_no_path_of_its_own():
    entries = ready.import_path().split("\n")
    assert "" not in entries
    assert (Path(entries[0]) / "nunet_node").is_dir()


async def test_ctrl_c_at_the_node_s_terminal_reaches_no_child():
    await need("process")
    async with some_executors() as executors, executors.warmed():
        warm = executors._warm
        assert warm is not None
        children = [warm._process.pid, *(each.pid for each in await ready_ones(warm))]
        groups = {os.getpgid(pid) for pid in children}
    assert os.getpgid(0) not in groups
