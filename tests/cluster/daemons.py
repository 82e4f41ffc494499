"""Processes of a cluster under test: each is started here, and ended by its number."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

READY_S = 60
"""Far more than any part of a cluster takes to start on a busy machine."""
LOOK_S = 0.1
STOP_S = 10


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_for(what: str, seen: Callable[[], bool]) -> None:
    """Look until something is seen."""
    deadline = time.monotonic() + READY_S
    while not seen():
        assert time.monotonic() < deadline, f"never seen: {what}"
        time.sleep(LOOK_S)


@contextlib.contextmanager
def daemon(
    *words: object, log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon in the foreground; it ends, with all it started, with the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        below = family(process)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        kill(below)
        process.wait()


def kill(processes: list[psutil.Process]) -> None:
    """Kill processes as a machine does that loses its power, and see them gone."""
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(processes, READY_S)


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return a daemon and everything that it has started, and so on."""
    try:
        found = psutil.Process(process.pid)
        return [found, *found.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def clean_environment(**more: object) -> dict[str, str]:
    """Return an environment without settings of a cluster that is not ours."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RAY_", "SLURM", "SBATCH", "NUNET"))
    }
    return {**ours, **{name: str(value) for name, value in more.items()}}
