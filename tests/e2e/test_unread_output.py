"""A node whose output nobody reads, or nobody can read any more, goes on working."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest
import trio

from nunet_node.client import JobFile, open_client
from nunet_node.jobs.lifecycle import State
from tests.e2e.network import DEADLINE_S, LOOPBACK, ROOT

PIPE_BYTES = 4096
"""The smallest pipe there is: the events of a few jobs fill it."""
JOBS = 10
"""Jobs whose events are several such pipes, on either stream."""


@contextlib.contextmanager
def node(place, *flags):
    """Run a node with a small pipe for both of its streams; yield it and its reader."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    home = ("--home", str(place / "node"))
    offer = ("--cpus", "4", "--memory", "1GiB", "--disk", "1GiB")
    up = ("up", "--listen", LOOPBACK, "--no-mdns", *offer)
    process = subprocess.Popen(
        [sys.executable, "-m", "nunet_node", *home, *flags, *up],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer if "-vv" in flags else subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as said:
        try:
            yield process, said
        finally:
            process.kill()
            process.wait()


def address(said):
    """Return where the node listens, once it says so, having read little more."""
    heard = b""
    while b"/p2p/" not in heard or not heard.endswith((b'"', b"\n", b"]}")):
        piece = said.read(1)
        assert piece, heard
        heard += piece
    return next(w for w in heard.decode().replace('"', " ").split() if "/p2p/" in w)


async def run_jobs(place, at):
    """Return how many jobs came to a good end."""
    with trio.fail_after(DEADLINE_S):
        async with open_client(place / "user", bootstrap=[at]) as client:
            ended = []
            for _ in range(JOBS):
                handle = await client.submit(JobFile(command=("true",)))
                ended.append((await handle.ended()).state)
    return ended.count(State.COMPLETED)


@pytest.mark.parametrize("flags", [("--json",), (), ("-vv",)])
def test_jobs_go_on_when_nobody_reads_what_the_node_says(tmp_path, flags):
    with node(tmp_path, *flags) as (process, said):
        at = address(said)

        assert trio.run(run_jobs, tmp_path, at) == JOBS

        process.send_signal(signal.SIGTERM)
        # It ends although its last words find no room.
        assert process.wait(DEADLINE_S) == 0


def test_whoever_reads_again_hears_what_was_kept(tmp_path):
    with node(tmp_path, "--json") as (process, said):
        at = address(said)
        assert trio.run(run_jobs, tmp_path, at) == JOBS
        process.send_signal(signal.SIGTERM)
        lines = said.readall().splitlines()
        assert process.wait(DEADLINE_S) == 0

    # What is left of the first line was read before.
    events = [json.loads(line) for line in lines[1:]]
    done = [event for event in events if event.get("state") == "completed"]
    assert len(done) == JOBS
    assert events[-1] == {"event": "stopped"}


def test_jobs_go_on_when_the_reader_is_gone(tmp_path):
    with node(tmp_path, "--json") as (process, said):
        at = address(said)
        said.close()

        assert trio.run(run_jobs, tmp_path, at) == JOBS

        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
