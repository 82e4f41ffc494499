"""A job that runs until a test says otherwise.

Rule: the job ends by a signal to the one process that it waits for, found by the
number in its command line, so that no test guesses how long something takes.
"""

import itertools
import os
import signal
import time
from dataclasses import dataclass
from typing import Final

import psutil
import pytest

from tests.e2e.network import DEADLINE_S, Document, Node, User

_LOOK_S: Final = 0.05
_NUMBERS: Final = itertools.count()
_SCRIPT: Final = "echo begun; sleep {marker} 2>&-; echo told; echo made > made.txt"


@dataclass(frozen=True)
class Held:
    """A job that runs, or will when it has room, until it is told to end."""

    document: Document
    marker: str

    @property
    def job(self) -> str:
        """Its id."""
        found: str = self.document["job"]
        return found

    def process(self) -> psutil.Process:
        """Wait until it runs, and return the process that it waits for."""
        deadline = time.monotonic() + DEADLINE_S
        while (found := self.find()) is None:
            assert time.monotonic() < deadline, f"never ran: {self.document}"
            time.sleep(_LOOK_S)
        return found

    def find(self) -> psutil.Process | None:
        """Return the process that it waits for, if there is one."""
        wanted = ["sleep", self.marker]
        return next(
            (
                each
                for each in psutil.process_iter(["cmdline"])
                if each.info["cmdline"] == wanted
            ),
            None,
        )

    def gone(self, process: psutil.Process) -> None:
        """Wait until a process of the job is no more."""
        process.wait(DEADLINE_S)

    def tell(self) -> None:
        """Tell it to end."""
        os.kill(self.process().pid, signal.SIGTERM)

    def release(self) -> None:
        """Tell it to end if it runs, so that it leaves a shared provider's room."""
        found = self.find()
        if found is not None:
            found.terminate()


def hold(user: User, *options: object) -> Held:
    """Submit, and leave, a job that takes its time; it ends with the user's test."""
    marker = new_marker()
    words = held_words(marker)
    held = Held(user.detached(*options, *words), marker)
    user.finally_(held.release)
    return held


def new_marker() -> str:
    """Return seconds that no other test sleeps for."""
    return f"900.{os.getpid()}{next(_NUMBERS):04}"


def held_words(marker: str) -> tuple[str, ...]:
    """Return what to submit for a job that can be told to end."""
    return ("--", "sh", "-c", _SCRIPT.format(marker=marker))


def running(user: User, node: Node, *options: object) -> Held:
    """Submit a job that takes its time, and wait until it runs."""
    held = hold(user, *options)
    node.moved(held.job, "running")
    held.process()
    return held


def need_process(user: User) -> None:
    """Skip the test where no provider of the user's offers native commands."""
    heard = user.run("nodes", "--bootstrap", user.bootstrap).must().document
    if not any("process" in each["engines"] for each in heard):
        pytest.skip(
            "the engine `process` does not hold here; it needs bubblewrap and "
            "unprivileged user namespaces"
        )
