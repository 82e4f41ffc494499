"""A provider whose disk is really full: what it still does, and that it recovers."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.held import running
from tests.e2e.network import TIMED_OUT, Network, Node

SMALL = 'mount -t tmpfs -o size=96m none "$0" && exec "$@"'
"""Gives a command a small disk of its own at the first argument."""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can mount a small disk"
)


def _fill(disk: Path) -> Path:
    """Write to a disk until nothing more fits; return what is in the way."""
    path = disk / "in-the-way"
    with path.open("wb", buffering=0) as file:
        for size_bytes in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size_bytes))
    return path


def _warned(node: Node, word: str) -> None:
    node.event(lambda each: each["event"] == "warning" and word in each["message"])


def test_a_full_disk_stops_new_work_and_nothing_else(net: Network, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    within = ("unshare", "--mount", "sh", "-c", SMALL, str(disk))
    offer = ("--cpus", 1, "--memory", "1GiB", "--disk", "24MiB")
    provider = net.node(*offer, home=disk / "home", within=within)
    user = net.user(provider)
    words = ("--disk", "8MiB")
    done = user.submit(*words, "--name", "done", "--", "echo", "kept").must().document
    run = running(user, provider, *words)
    inside = Path(f"/proc/{provider.pid}/root{disk}")

    in_the_way = _fill(inside)
    _warned(provider, "the disk is full")
    refused = user.submit(*words, "--queue-timeout", "1s", "--", "true").must(TIMED_OUT)
    assert "has no disk space left" in refused.document["reason"]
    # Its own copy would do, and ask nobody.
    shutil.rmtree(user.home / "blocks")
    user.run("get", done["job"], "--out", "again").must()
    assert (user.cwd / "again/stdout").read_text() == "kept\n"
    user.run("cancel", run.job).must()
    assert user.status(run.job)["state"] == "cancelled"

    in_the_way.unlink()
    _warned(provider, "has room again")
    user.submit(*words, "--", "true").must()
    said = [each for each in provider.stop().must().documents if "message" in each]
    assert len(said) == 2, said
