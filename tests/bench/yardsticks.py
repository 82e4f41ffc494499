"""What the same work costs without us: the floor that no node can go below.

Rule: the box is made by the executor's own code, so that both sides of a ratio run
one and the same bubblewrap line, with the same filter, as the same user.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from nunet_node.executors import engines, jobdir
from nunet_node.executors.port import RunOrder
from nunet_node.executors.sandbox import bubblewrap

TRUE: Final = ("/bin/true",)
"""The least a job can do."""

_ORDER: Final = RunOrder(
    job="yardstick",
    engine="process",
    argv=TRUE,
    cpu_millis=1000,
    memory_bytes=256 << 20,
    disk_bytes=128 << 20,
    wall_s=60,
    output_bytes_max=0,
    log_bytes_max=1 << 20,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The bubblewrap line of a trivial job, ready to be run again and again."""

    argv: tuple[str, ...]
    uid: int | None
    filter: int | None

    def run(self) -> None:
        """Run it once and wait for its end."""
        with self._status() as (ours, options):
            process = subprocess.Popen(self._line(options), **options)
            code = process.wait()
            os.read(ours, 4096)
        if code:
            raise subprocess.CalledProcessError(code, self.argv)

    async def run_async(self) -> None:
        """Run it once beside others."""
        with self._status() as (_, options):
            await trio.run_process(self._line(options), **options)

    def _line(self, options: dict[str, Any]) -> list[str]:
        status, *filters = options["pass_fds"]
        words = [self.argv[0], "--json-status-fd", str(status)]
        words += ["--seccomp", str(filters[0])] if filters else []
        return [*words, *self.argv[1:]]

    @contextlib.contextmanager
    def _status(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Open what each run has for itself: a pipe for bubblewrap's words."""
        with contextlib.ExitStack() as stack:
            ends = os.pipe()
            for end in ends:
                stack.callback(os.close, end)
            fds = [ends[1]]
            if self.filter is not None:
                # A copy would share the place in the file with those beside it.
                fds.append(os.open(f"/proc/self/fd/{self.filter}", os.O_RDONLY))
                stack.callback(os.close, fds[1])
            user = {} if self.uid is None else {"user": self.uid, "group": self.uid}
            yield ends[0], {"pass_fds": fds, "env": {}, "cwd": "/", **user}


@contextlib.contextmanager
def boxed(scratch: Path) -> Iterator[Box | None]:
    """Make the box that the executor would; None where there is no bubblewrap."""
    bwrap = bubblewrap.find()
    if bwrap is None:
        yield None
        return
    job_dir = jobdir.open_job_dir(scratch)
    try:
        with contextlib.ExitStack() as stack:
            if job_dir.uid is not None:
                bwrap = bubblewrap.reachable(bwrap, scratch)
            launch = engines.launch(_ORDER, job_dir, bwrap, stack, None)
            argv = (launch.request["program"], *launch.request["argv"])
            box = Box(argv=argv, uid=job_dir.uid, filter=launch.given.get("filter"))
            yield box if _works(box) else None
    finally:
        jobdir.remove_job_dir(job_dir)


def _works(box: Box) -> bool:
    try:
        box.run()
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def spawn() -> None:
    """Start ``true`` with nothing around it, and wait for its end."""
    pid = os.posix_spawn(TRUE[0], TRUE, {})
    os.waitpid(pid, 0)


async def spawn_async() -> None:
    """Start ``true`` as a trio program does."""
    await trio.run_process(list(TRUE))


def timed(act: Callable[[], object], count: int) -> list[float]:
    """Return how many seconds each of ``count`` runs took."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return taken


async def timed_async(act: Callable[[], Awaitable[object]], count: int) -> list[float]:
    """Return how many seconds each of ``count`` runs took, one after the other."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        await act()
        taken.append(time.perf_counter() - began)
    return taken


async def each_at(
    width: int, count: int, act: Callable[[int], Awaitable[object]]
) -> float:
    """Do ``act`` ``count`` times, ``width`` at once; return the seconds for each."""
    turns = iter(range(count))

    async def work() -> None:
        for turn in turns:
            await act(turn)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(width):
            nursery.start_soon(work)
    return (time.perf_counter() - began) / count


def command(words: list[str], cwd: Path, env: dict[str, str]) -> Callable[[], object]:
    """Return a call that runs a command to its end, and raises if it fails."""
    return partial(
        subprocess.run, words, cwd=cwd, env=env, check=True, capture_output=True
    )
