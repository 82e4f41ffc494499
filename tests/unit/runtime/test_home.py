"""The home directory keeps secrets secret and says what is wrong in one line."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nunet_node.runtime.home import HomeError, RunningNode, open_home


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_is_private(tmp_path):
    home = open_home(tmp_path / "deep/home")
    assert mode_of(home.path) == 0o700
    assert {p.name: mode_of(p) for p in home.path.iterdir()} == dict.fromkeys(
        ("identities", "tokens", "blocks", "locks", "scratch"), 448
    )


def test_an_empty_directory_made_by_hand_becomes_private(tmp_path):
    (tmp_path / "home").mkdir(mode=0o755)
    assert mode_of(open_home(tmp_path / "home").path) == 0o700


def test_the_environment_names_the_home_unless_an_option_does(tmp_path):
    named = {"NUNET_HOME": str(tmp_path / "named")}
    assert open_home(None, named).path == tmp_path / "named"
    assert open_home(tmp_path / "chosen", named).path == tmp_path / "chosen"


def test_a_home_that_others_can_write_to_is_refused(tmp_path):
    path = tmp_path / "home"
    open_home(path)
    path.chmod(0o777)
    with pytest.raises(HomeError, match="chmod go-w"):
        open_home(path)


def test_a_file_is_no_home(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(HomeError, match="not a directory"):
        open_home(tmp_path / "home")


def test_a_home_that_cannot_be_made_names_the_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="--home DIR or NUNET_HOME"):
        open_home(tmp_path / "file/home")


def test_the_node_key_stays_the_same_and_private(tmp_path):
    home = open_home(tmp_path / "h")
    key = home.node_key()
    assert open_home(tmp_path / "h").node_key().did == key.did
    assert mode_of(home.path / "node.key") == 0o600
    assert sorted(p.name for p in home.path.iterdir() if p.is_file()) == ["node.key"]


def test_a_key_that_others_can_read_is_refused(tmp_path):
    home = open_home(tmp_path / "h")
    home.node_key()
    (home.path / "node.key").chmod(0o644)
    with pytest.raises(HomeError, match="chmod 600"):
        home.node_key()


def test_a_damaged_key_is_named_and_never_replaced(tmp_path):
    home = open_home(tmp_path / "h")
    path = home.path / "node.key"
    path.write_text("{")
    path.chmod(0o600)
    with pytest.raises(HomeError, match=r"node\.key cannot be used"):
        home.node_key()
    assert path.read_text() == "{"


def test_identities_are_found_by_name(tmp_path):
    home = open_home(tmp_path / "h")
    made = home.new_identity("alice")
    home.new_identity("bob")
    assert home.identity_names() == ("alice", "bob")
    assert home.identity("alice").did == made.did
    assert mode_of(home.identity_path("alice")) == 0o600
    assert [each.name for each in home.identities()] == ["alice", "bob"]


def test_an_identity_is_never_overwritten(tmp_path):
    home = open_home(tmp_path / "h")
    made = home.new_identity("alice")
    with pytest.raises(HomeError, match="exists already"):
        home.new_identity("alice")
    assert home.identity("alice").did == made.did
    assert home.identity_names() == ("alice",)


def test_an_unknown_identity_names_those_there_are(tmp_path):
    home = open_home(tmp_path / "h")
    home.new_identity("alice")
    with pytest.raises(HomeError, match=r"there: alice.*did create bob"):
        home.identity("bob")


def test_a_link_in_the_place_of_a_key_is_not_followed(tmp_path):
    home = open_home(tmp_path / "h")
    made = home.new_identity("alice")
    home.identity_path("eve").symlink_to(home.identity_path("alice"))
    with pytest.raises(HomeError):
        home.identity("eve")
    assert home.identity("alice").did == made.did


def test_a_running_node_is_found_until_it_says_goodbye(tmp_path):
    home = open_home(tmp_path / "h")
    assert home.running_node() is None
    running = RunningNode(pid=os.getpid(), peer_id="p", addresses=("/a", "/b"))
    home.announce(running)
    home.announce(running)
    assert home.running_node() == running
    home.unannounce()
    home.unannounce()
    assert home.running_node() is None


def test_what_a_killed_node_left_behind_counts_as_none(tmp_path):
    home = open_home(tmp_path / "h")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    home.announce(RunningNode(pid=gone.pid, peer_id="p", addresses=()))
    assert home.running_node() is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"pid": "x"}'])
def test_a_damaged_announcement_counts_as_none(tmp_path, text):
    home = open_home(tmp_path / "h")
    (home.path / "node.json").write_text(text)
    assert home.running_node() is None


def test_scratch_lies_where_job_users_can_pass(tmp_path):
    home = open_home(tmp_path / "h")
    scratch = home.scratch()
    assert scratch.is_dir()
    if os.geteuid() == 0:
        assert mode_of(scratch) == 0o711
        assert home.path not in scratch.parents
        scratch.rmdir()
    else:
        assert scratch.parent == home.path


def test_what_stands_in_the_way_in_a_home_is_named(tmp_path):
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home/tokens").write_text("")
    with pytest.raises(HomeError, match="home/tokens: File exists"):
        open_home(tmp_path / "home")


def test_a_home_below_a_directory_that_is_gone_names_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(HomeError, match="--home DIR or NUNET_HOME"):
        open_home(Path("home"))


@pytest.mark.parametrize("data", [None, b"\xff\x00"])
def test_what_is_no_key_is_named(tmp_path, data):
    home = open_home(tmp_path / "home")
    path = tmp_path / "home/node.key"
    if data is None:
        path.mkdir(mode=0o700)
    else:
        path.write_bytes(data)
        path.chmod(0o600)
    with pytest.raises(HomeError, match=r"home/node\.key"):
        home.node_key()
