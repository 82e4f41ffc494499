"""The lock on a home directory."""

import os
import subprocess
import sys

import pytest

from nunet_node.storage.errors import HomeInUseError
from nunet_node.storage.lock import exclusive

HOLDER = """
import sys
from pathlib import Path
from nunet_node.storage.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path):
    with (
        exclusive(tmp_path / "lock"),
        pytest.raises(HomeInUseError, match=rf"pid {os.getpid()}\)"),
        exclusive(tmp_path / "lock"),
    ):
        pass


def test_the_lock_is_free_again_after_the_block(tmp_path):
    for _ in range(2):
        with exclusive(tmp_path / "lock"):
            assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_killed_holder_leaves_no_lock_behind(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(HomeInUseError, match=str(holder.pid)),
            exclusive(tmp_path / "lock"),
        ):
            pass
        holder.kill()
    with exclusive(tmp_path / "lock"):
        pass


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), exclusive(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
