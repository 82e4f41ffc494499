"""A scratch directory lasts as long as its user, even if that one is killed."""

import os
import subprocess
import sys

import pytest

from nunet_node.runtime.home import open_home
from nunet_node.runtime.work import scratch as module
from nunet_node.runtime.work.scratch import LOCK_NAME, held_scratch, sweep_others

HOLD = """
import sys, time
from pathlib import Path
from nunet_node.runtime.home import Home
from nunet_node.runtime.work.scratch import held_scratch
with held_scratch(Home(Path(sys.argv[1]))) as scratch:
    (scratch / "job-left" / "job").mkdir(parents=True)
    print(scratch, flush=True)
    sys.stdin.read()
"""

privileged = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root has its jobs outside the home"
)


def is_gone(place, sweep):
    """Sweep until it is; a node elsewhere on this machine may be at it, too."""
    for _ in range(1_000):
        sweep()
        if not place.exists():
            return True
    return False


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


@pytest.fixture
def other(tmp_path):
    """Another home, whose scratch directory another process holds."""
    home = open_home(tmp_path / "other")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        process.stdout.readline()
        yield process, home.scratch()
        process.kill()


def test_a_scratch_directory_inside_the_home_is_the_homes_to_keep(home, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with held_scratch(home) as scratch:
        assert scratch.parent == home.path
    assert scratch.is_dir()
    assert sweep_others(scratch) == 0


@privileged
def test_a_scratch_directory_outside_the_home_goes_with_its_last_user(home):
    with held_scratch(home) as scratch:
        with held_scratch(home):
            pass
        assert [each.name for each in scratch.iterdir()] == [LOCK_NAME]
    assert not scratch.exists()


@privileged
def test_what_is_no_jobs_is_kept(home):
    with held_scratch(home) as scratch:
        (scratch / "images").mkdir()
    assert (scratch / "images").is_dir()
    (scratch / "images").rmdir()
    with held_scratch(home):
        pass
    assert not scratch.exists()


@privileged
def test_what_a_killed_node_left_is_removed_by_the_next_of_any_home(home, other):
    process, left = other
    with held_scratch(home) as scratch:
        sweep_others(scratch)
        assert (left / "job-left").is_dir()
        process.kill()
        process.wait()
        assert is_gone(left, lambda: sweep_others(scratch))
        assert scratch.is_dir()


@privileged
def test_a_directory_without_a_lock_is_left_alone(home, other):
    process, left = other
    process.kill()
    process.wait()
    (left / LOCK_NAME).rename(left / "elsewhere")
    with held_scratch(home) as scratch:
        sweep_others(scratch)
    assert left.is_dir()
    (left / "elsewhere").rename(left / LOCK_NAME)
    assert is_gone(left, lambda: module._drop(left))


@privileged
def test_a_lock_that_was_taken_away_is_not_mistaken_for_one(home, monkeypatch):
    scratch = home.scratch()
    (scratch / LOCK_NAME).touch()
    flock = module.fcntl.flock

    def take_away_first(lock, how):
        monkeypatch.setattr(module.fcntl, "flock", flock)
        module._drop(scratch)
        assert not scratch.exists()
        flock(lock, how)

    monkeypatch.setattr(module.fcntl, "flock", take_away_first)
    with held_scratch(home):
        assert (scratch / LOCK_NAME).stat().st_nlink == 1
    assert not scratch.exists()
