import os
import signal
from pathlib import Path

import pytest
import trio

from nunet_node.executors import spawn
from nunet_node.executors.port import Engine
from nunet_node.executors.spawn import ChildSays, said
from tests.executors_kit import an_order, attempt, need, some_executors

COMMANDS: dict[Engine, tuple[str, ...]] = {
    "python": ("main.py",),
    "process": ("sh", "-c", "echo hello; exit 5"),
}
FILES = {"main.py": b"print('hello'); raise SystemExit(5)"}


@pytest.mark.parametrize("engine", ["python", "process"])
async def test_a_fork_of_a_warm_process_runs_like_a_process_of_its_own(engine: Engine):
    order = an_order(engine, *COMMANDS[engine])
    alone = await attempt(order, FILES)
    warm = await attempt(order, FILES, warm=True)
    assert warm.stdout == alone.stdout == b"hello\n"
    assert warm.end.exit_code == alone.end.exit_code == 5
    assert warm.end.isolation == alone.end.isolation
    assert warm.starts == 1


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
async def test_a_job_starts_alone_when_the_warm_process_is_gone(how, caplog):
    await need("process")
    async with some_executors() as executors, executors.warmed():
        assert executors._warm is not None
        gone = executors._warm._process
        os.kill(gone.pid, how)
        end = await run_true(executors)
        assert end.exit_code == 0
        # There is another for the next job.
        assert executors._warm._process is not gone
        assert (await run_true(executors)).exit_code == 0
        assert executors._warm._process.poll() is None
        assert executors._warm._failures == 0
    assert "the warm process is replaced" in caplog.text


async def test_warm_processes_that_die_at_once_are_given_up(monkeypatch, caplog):
    await need("process")
    monkeypatch.setattr(spawn, "FAILURES_MAX", 2)
    async with some_executors() as executors, executors.warmed():
        assert executors._warm is not None
        seen = set()
        for _ in range(4):
            seen.add(executors._warm._process.pid)
            os.kill(executors._warm._process.pid, signal.SIGKILL)
            assert (await run_true(executors)).exit_code == 0
    assert len(seen) == 3
    assert caplog.text.count("is replaced") == 2


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


async def test_a_run_leaves_no_descriptor_open():
    await attempt(an_order("process", "true"))
    before = set(os.listdir("/proc/self/fd"))
    for engine, command in COMMANDS.items():
        await attempt(an_order(engine, *command), FILES)
    await attempt(an_order("process", "sleep", "60", wall_s=1))
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"exit": "0"}',
        b'{"exit": 256}',
        b'{"exit": -1}',
        b'{"fuel": 1e9999}',
        b'{"peak_kib": 99999999999999999999}',
        b'{"child-pid": true}',
        b'{"reason": "' + b"x" * 3000 + b'"}',
        b'{"started": "abc"}',
        b"\xff\xfe",
    ],
)
def test_a_line_that_is_no_claim_says_nothing(line: bytes):
    assert said(line) == ChildSays()


def test_what_is_said_later_is_added_and_holds():
    first = said(b'{"child-pid": 12, "mnt-namespace": 4026532178}')
    both = first.then(said(b'{"exit-code": 0}')).then(said(b'{"exit-code": 3}'))
    assert (both.first_pid, both.box_exit) == (12, 3)


def test_the_child_searches_no_path_of_its_own():
    entries = spawn.import_path().split("\n")
    assert "" not in entries
    assert (Path(entries[0]) / "nunet_node").is_dir()
