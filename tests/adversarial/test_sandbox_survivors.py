"""A job tries to outlive its order, its cancellation, or the node itself."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trio

from nunet_node.executors.local import LocalExecutors
from nunet_node.executors.port import Engine
from nunet_node.executors.sandbox import cgroups
from nunet_node.executors.sandbox.meter import descendants
from tests.executors_kit import an_order, cache_folder, need, some_executors

STAYERS = """
import os, signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
try:
    # The children between have left, so their children are nobody's here.
    while True: os.wait()
except ChildProcessError:
    print('up', flush=True)
time.sleep(600)
"""

PARENT = """
import sys, trio
from pathlib import Path
from nunet_node.executors.local import LocalExecutors
from tests.executors_kit import an_order
async def main(scratch, cache, engine):
    executors = LocalExecutors(Path(scratch), Path(cache))
    job_dir = await executors.open_job('job', 1)
    job_dir.add_file('main.py', Path(sys.argv[4]).read_bytes())
    argv = ('main.py',) if engine == 'python' else ('python3', 'main.py')
    say = lambda name, chunk: print(chunk.decode(), end='', flush=True)
    order = an_order(engine, *argv, wall_s=600)
    if sys.argv[5] == 'warm':
        async with executors.warmed():
            await executors.run(order, job_dir, None, say)
    await executors.run(order, job_dir, None, say)
trio.run(main, *sys.argv[1:4])
"""


def alive_in(scratch: Path) -> list[str]:
    """Processes that hold something below ``scratch`` or run as the job's user."""
    # Mounts are named from their own file system's root, which may be the parent.
    below = f"{scratch.relative_to(tempfile.gettempdir())}/"
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            mounts = (process / "mountinfo").read_text()
            line = (process / "cmdline").read_text()
            inside = below in mounts or str(scratch) in line
        except OSError:
            continue
        if inside and state != "Z":
            found.append(f"{process.name} {line}")
    return found


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("control_groups", [True, False])
async def test_a_cancelled_tree_is_gone_when_the_cancellation_returns(
    control_groups: bool, warm: bool
):
    await need("process")
    async with contextlib.AsyncExitStack() as stack:
        executors = await stack.enter_async_context(
            some_executors(control_groups=control_groups)
        )
        if warm:
            await stack.enter_async_context(executors.warmed())
        job_dir = await executors.open_job("job", 1)
        job_dir.add_file("main.py", STAYERS.encode())
        order = an_order("process", "python3", "main.py")
        up = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(executors.run, order, job_dir, None, lambda *_: up.set())
            await up.wait()
            assert len(alive_in(job_dir.root)) >= 5
            nursery.cancel_scope.cancel()
        assert alive_in(job_dir.root) == []
        await executors.remove(job_dir)


async def test_a_cancelled_script_is_gone_when_the_cancellation_returns():
    await need("python")
    async with some_executors() as executors:
        job_dir = await executors.open_job("job", 1)
        job_dir.add_file("main.py", b"print('up')\nwhile True: pass")
        up = trio.Event()
        before = set(children_of(os.getpid()))
        async with trio.open_nursery() as nursery:
            order = an_order("python", "main.py")
            nursery.start_soon(executors.run, order, job_dir, None, lambda *_: up.set())
            await up.wait()
            assert len(set(children_of(os.getpid())) - before) == 1
            nursery.cancel_scope.cancel()
        assert set(children_of(os.getpid())) <= before
        await executors.remove(job_dir)


async def test_a_job_cancelled_before_it_starts_never_does():
    await need("process")
    async with some_executors() as executors:
        job_dir = await executors.open_job("job", 1)
        order = an_order("process", "sh", "-c", "echo ran; sleep 60")
        with trio.CancelScope() as scope:
            scope.cancel()
            await executors.run(order, job_dir)
        assert scope.cancelled_caught
        assert alive_in(job_dir.root) == []
        await executors.remove(job_dir)


async def test_what_a_finished_job_left_running_is_gone():
    await need("process")
    async with some_executors() as executors:
        job_dir = await executors.open_job("job", 1)
        script = "setsid sleep 600 & (sleep 601 &) ; echo done"
        end = await executors.run(an_order("process", "sh", "-c", script), job_dir)
        assert end.exit_code == 0
        assert alive_in(job_dir.root) == []
        await executors.remove(job_dir)


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def start_node(top: Path, engine: Engine, start: str) -> subprocess.Popen[bytes]:
    """A process that runs one job as a node would, below ``top``."""
    top.chmod(0o711)
    script = top / "script.py"
    endless = "print('up')\nwhile True: pass"
    script.write_text(STAYERS if engine == "process" else endless)
    arguments = (top / "scratch", cache_folder(), engine, script, start)
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )


def bury_all_but(known: set[int]) -> None:
    """Wait for what a killed node left to us, also for what it was just forking.

    Where executors ran in this process, it is the parent of all that is orphaned below
    it, and one who dies later would be a surprise to another test.
    """
    while left := set(descendants(os.getpid())) - known:
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


@pytest.mark.parametrize("engine", ["process", "python"])
@pytest.mark.parametrize("start", ["alone", "warm"])
async def test_no_job_survives_a_killed_node(engine: Engine, start: str):
    await need(engine)
    before = set(descendants(os.getpid()))
    with tempfile.TemporaryDirectory(prefix="nunet-node-test-") as top:
        scratch = Path(top) / "scratch"
        node = start_node(Path(top), engine, start)
        assert node.stdout is not None
        assert await trio.to_thread.run_sync(node.stdout.readline) == b"up\n"
        tree = descendants(node.pid)[1:]
        assert tree
        handles = [os.pidfd_open(pid) for pid in tree]
        node.send_signal(signal.SIGKILL)
        await trio.to_thread.run_sync(node.wait)
        node.stdout.close()
        with trio.fail_after(20):
            for handle in handles:
                await trio.lowlevel.wait_readable(handle)
                os.close(handle)
            await trio.to_thread.run_sync(bury_all_but, before, abandon_on_cancel=True)
        assert alive_in(scratch) == []
        # The next start of the node sweeps what the killed one left.
        assert LocalExecutors(scratch, cache_folder()).sweep() == 1


@pytest.mark.parametrize("engine", ["process", "python"])
async def test_a_guest_never_runs_as_the_root_of_the_host(engine: Engine):
    await need(engine)
    async with some_executors() as executors:
        job_dir = await executors.open_job("job", 1)
        job_dir.add_file("main.py", STAYERS.encode())
        job_dir.add_file("endless.py", b"print('up')\nwhile True: pass")
        argv = ("endless.py",) if engine == "python" else ("python3", "main.py")
        up = trio.Event()
        before = set(descendants(os.getpid()))
        async with trio.open_nursery() as nursery:
            order = an_order(engine, *argv)
            nursery.start_soon(executors.run, order, job_dir, None, lambda *_: up.set())
            await up.wait()
            tree = set(descendants(os.getpid())) - before
            users = [users_of(pid) for pid in tree]
            nursery.cancel_scope.cancel()
        await executors.remove(job_dir)
    assert users
    assert all("0" not in ids for ids in users)


def users_of(pid: int) -> list[str]:
    """The real, effective, saved and file-system user ids of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1:] for line in lines if line.startswith("Uid:"))


@pytest.mark.parametrize("warm", [True, False])
async def test_jobs_cancelled_at_any_moment_leave_nothing(warm: bool):
    await need("process")
    chance = random.Random(7)
    before = set(descendants(os.getpid()))
    descriptors = set(os.listdir("/proc/self/fd"))

    async def one(executors: LocalExecutors, patience_s: float) -> None:
        job_dir = await executors.open_job("job", 1)
        order = an_order("process", "sh", "-c", "sleep 600 & sleep 600")
        with trio.move_on_after(patience_s):
            await executors.run(order, job_dir)
        await executors.remove(job_dir)

    async with contextlib.AsyncExitStack() as stack:
        executors = await stack.enter_async_context(some_executors())
        if warm:
            await stack.enter_async_context(executors.warmed())
        async with trio.open_nursery() as nursery:
            for _ in range(24):
                nursery.start_soon(one, executors, chance.random() / 5)
    # The dead count as well: one that nobody waited for would stay in this list.
    assert set(descendants(os.getpid())) <= before
    assert set(os.listdir("/proc/self/fd")) == descriptors
    assert own_groups() == []


def own_groups() -> list[Path]:
    """The control groups that this process has made and not removed."""
    parents = cgroups._v2_parents() or cgroups._v1_parents()
    mine = f"nunet-node-{os.getpid()}-*"
    return [path for parent in parents.values() for path in parent.glob(mine)]
