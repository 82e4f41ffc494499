import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nunet_node.executors import jobdir
from nunet_node.executors.jobdir import (
    JOB_UID_FIRST,
    JOB_UIDS_MAX,
    InputPathError,
    JobDir,
    ScratchError,
    open_job_dir,
    remove_job_dir,
    remove_tree,
    sweep,
)

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="user ids are given by root")


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nunet-node-test-") as top:
        Path(top).chmod(0o711)
        yield Path(top)


@pytest.fixture
def job_dir(scratch: Path) -> Iterator[JobDir]:
    made = open_job_dir(scratch)
    yield made
    remove_job_dir(made)


def test_inputs_are_where_the_job_expects_them(job_dir: JobDir, tmp_path: Path):
    (tmp_path / "source").write_bytes(b"from a file")
    job_dir.add_file("data/a.txt", b"from bytes")
    job_dir.add_file("data/b.txt", tmp_path / "source")
    job_dir.add_file("tool", b"#!", executable=True)
    assert (job_dir.path / "data/a.txt").read_bytes() == b"from bytes"
    assert (job_dir.path / "data/b.txt").read_bytes() == b"from a file"
    assert os.access(job_dir.path / "tool", os.X_OK)
    assert not (job_dir.path / "data/a.txt").stat().st_mode & 0o100
    assert set(job_dir.inputs) == {"data/a.txt", "data/b.txt", "tool"}


def test_a_file_can_be_opened_by_its_place(job_dir: JobDir):
    job_dir.add_file("a/b", b"x")
    with os.fdopen(job_dir.open_file("a/b"), "rb") as file:
        assert file.read() == b"x"
    with pytest.raises(InputPathError):
        job_dir.open_file("../stdout")


def test_opening_makes_no_directories_and_follows_no_link(job_dir: JobDir):
    (job_dir.path / "way").symlink_to("/etc")
    (job_dir.path / "shadow").symlink_to("/etc/shadow")
    for path in ("absent/file", "way/passwd", "shadow"):
        with pytest.raises(OSError):
            job_dir.open_file(path)
    assert not (job_dir.path / "absent").exists()


@AS_ROOT
def test_every_open_job_has_a_user_of_its_own(scratch: Path):
    first, second = open_job_dir(scratch), open_job_dir(scratch)
    assert first.uid is not None
    assert second.uid is not None
    assert first.uid != second.uid
    assert min(first.uid, second.uid) >= JOB_UID_FIRST
    assert first.path.stat().st_uid == first.uid
    assert first.path.stat().st_mode & 0o777 == 0o700
    assert first.stdout_path.stat().st_uid == 0
    remove_job_dir(first)
    remove_job_dir(second)


@pytest.fixture
def ids_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """User ids that no other node on this machine gives to a job meanwhile."""
    monkeypatch.setattr(jobdir, "_UID_LOCKS", tmp_path / "uids")
    monkeypatch.setattr(jobdir, "JOB_UID_FIRST", JOB_UID_FIRST + JOB_UIDS_MAX)


@AS_ROOT
@pytest.mark.usefixtures("ids_of_our_own")
def test_a_user_id_is_free_again_when_its_job_is_removed(scratch: Path):
    first, second = open_job_dir(scratch), open_job_dir(scratch)
    remove_job_dir(first)
    third = open_job_dir(scratch)
    remove_job_dir(second)
    remove_job_dir(third)
    assert third.uid == first.uid


@AS_ROOT
@pytest.mark.usefixtures("ids_of_our_own")
def test_a_user_id_that_the_dead_still_have_is_given_to_no_job(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
):
    # Apart from those of the test above, which may run in another tree meanwhile.
    monkeypatch.setattr(jobdir, "JOB_UID_FIRST", JOB_UID_FIRST + JOB_UIDS_MAX + 20)
    first = open_job_dir(scratch)
    remove_job_dir(first)
    assert first.uid is not None
    with subprocess.Popen(["true"], user=first.uid) as dead:
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        second = open_job_dir(scratch)
    remove_job_dir(second)
    assert second.uid != first.uid


@AS_ROOT
def test_a_scratch_that_the_users_of_jobs_cannot_reach_is_refused(scratch: Path):
    scratch.chmod(0o700)
    with pytest.raises(ScratchError, match="pass through"):
        open_job_dir(scratch)


def test_sweeping_removes_what_a_killed_node_left_and_nothing_else(scratch: Path):
    left = open_job_dir(scratch)
    left.add_file("a/b", b"x")
    # The kernel closes the locks of a killed node in this way.
    while left.locks:
        os.close(left.locks.pop())
    (scratch / "other").mkdir()
    assert sweep(scratch) == 1
    assert [path.name for path in scratch.iterdir()] == ["other"]


def test_sweeping_spares_the_job_of_a_living_node(scratch: Path, job_dir: JobDir):
    assert sweep(scratch) == 0
    assert job_dir.path.is_dir()


def test_a_closed_directory_is_removed(scratch: Path):
    closed = scratch / "top/closed/deep"
    closed.mkdir(parents=True)
    (closed / "file").touch()
    closed.chmod(0)
    closed.parent.chmod(0)
    remove_tree(scratch / "top")
    assert not (scratch / "top").exists()


def test_removing_follows_no_link(scratch: Path, tmp_path: Path):
    (tmp_path / "precious").touch()
    (scratch / "top").mkdir()
    (scratch / "top/way").symlink_to(tmp_path)
    remove_tree(scratch / "top")
    assert (tmp_path / "precious").exists()


@AS_ROOT
@pytest.mark.skipif(shutil.which("unshare") is None, reason="util-linux is missing")
def test_a_root_without_user_ids_for_jobs_says_so_and_leaves_nothing(scratch: Path):
    code = (
        "import pathlib, sys\n"
        "from nunet_node.executors import jobdir\n"
        "try: jobdir.open_job_dir(pathlib.Path(sys.argv[1]))\n"
        "except jobdir.ScratchError as error: print(error)\n"
    )
    ran = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", code, scratch],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    if "unshare" in ran.stderr:
        pytest.skip(f"no namespace of users here: {ran.stderr}")
    assert "no user ids for jobs" in ran.stdout, ran.stderr
    assert list(scratch.iterdir()) == []
