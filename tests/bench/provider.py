"""A `nunet-node up` of our own on loopback, and what it takes to keep one.

Rule: a process that is started here is ended here, by its own number.
"""

import json
import os
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Final, Self

_TICKS_IN_S: Final = os.sysconf("SC_CLK_TCK")
_PRIORITY: Final = 50
ROOT: Final = Path(__file__).parents[2]
OFFER: Final = ("--cpus", "16", "--memory", "8GiB", "--disk", "4GiB")
"""Room for every job in flight, whatever the machine has: what is measured is the
node, and trivial jobs use nothing of it."""


def environment() -> dict[str, str]:
    """Return the environment of every process here: this tree, and no settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NUNET")}
    return {**kept, "PYTHONPATH": str(ROOT)}


def words(home: Path, *rest: str) -> list[str]:
    """Return the words of a command on a home."""
    return [sys.executable, "-m", "nunet_node", "--home", str(home), "--json", *rest]


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process and its children hold, in bytes."""

    resident: int
    proportional: int
    """Pages that several of them share count once here, in parts."""


@dataclass(frozen=True, slots=True)
class Work:
    """Processor time of a node so far, in seconds."""

    own: float
    jobs: float
    """Of what it started, and has reaped."""


class Provider:
    """A node that provides; a context manager. ``ready_s`` says how long it took.

    ``offer`` are the words that say what it offers.
    """

    def __init__(self, home: Path, offer: tuple[str, ...] = OFFER) -> None:
        listen = ("--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns")
        began = time.perf_counter()
        self._process = subprocess.Popen(
            words(home, "up", *listen, *offer),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(home.parent / f"{home.name}.log").open("ab"),
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.ready_s = time.perf_counter() - began
        if not line:
            raise RuntimeError(f"the node ended: see {home}.log")
        self.address: str = json.loads(line)["addresses"][0]
        # It tells an event for every step of every job, and drops what nobody reads.
        self._events = Thread(target=deque, args=(self._process.stdout, 0))
        self._events.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def memory(self) -> Memory:
        """Return what the node and its helpers hold now."""
        pids = [self.pid, *_children(self.pid)]
        found = [_memory(pid) for pid in pids]
        return Memory(
            sum(m.resident for m in found), sum(m.proportional for m in found)
        )

    def work(self) -> Work:
        """Return how much the node has worked."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        ticks = [int(each) for each in stat.rpartition(")")[2].split()[11:15]]
        user, system, user_below, system_below = ticks
        return Work(
            (user + system) / _TICKS_IN_S, (user_below + system_below) / _TICKS_IN_S
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._events.join()


def worked_s(pid: int) -> float:
    """Return the processor time that a process has taken, without its children's."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    ticks = stat.rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / _TICKS_IN_S


def put_first(pid: int) -> None:
    """Give a process and all that it started a real-time priority.

    Whatever they start from then on has it, too. Needs root, or CAP_SYS_NICE.
    """
    for task in Path(f"/proc/{pid}/task").iterdir():
        priority = os.sched_param(_PRIORITY)
        os.sched_setscheduler(int(task.name), os.SCHED_RR, priority)
    for child in _children(pid):
        # In a job's control group there is none to have.
        with suppress(PermissionError):
            put_first(child)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [
        int(child)
        for task in tasks.iterdir()
        for child in (task / "children").read_text().split()
    ]


def _memory(pid: int) -> Memory:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return Memory(kib["Rss"] * 1024, kib["Pss"] * 1024)
