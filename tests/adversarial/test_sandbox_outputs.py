"""A job leaves traps in the directory that the node will read."""

import os
import sys
from pathlib import Path

import pytest

from nunet_node.executors.collect import (
    SHOWN_CHARS_MAX,
    Collected,
    OutputsRefused,
    collect_outputs,
)
from nunet_node.executors.jobdir import (
    DEPTH_MAX,
    InputPathError,
    JobDir,
    open_job_dir,
    remove_job_dir,
)
from nunet_node.results.layout import OUTPUTS
from nunet_node.results.paths import check_path
from tests.executors_kit import MIB, shell_job


@pytest.fixture
def job_dir(tmp_path: Path):
    """A job directory that this user may fill as a job would."""
    path = tmp_path / "job-x"
    for folder in (path / "job", path / "tmp"):
        folder.mkdir(parents=True)
    return JobDir(root=path, uid=None, locks=[])


def collected(job_dir: JobDir, *globs: str) -> Collected:
    found = collect_outputs(job_dir, globs, bytes_max=MIB, files_max=100)
    assert isinstance(found, Collected)
    return found


def paths(job_dir: JobDir, *globs: str) -> list[str]:
    return [file.path for file in collected(job_dir, *globs).files]


async def test_links_pipes_and_second_names_are_passed_over():
    ran = await shell_job(
        "echo x > plain; ln -s /etc/shadow link; ln -s plain near; mkfifo pipe;"
        "ln plain second; mkdir d; ln -s / d/root; echo y > good"
    )
    assert ran.paths == ["good"]
    assert ran.skipped == {
        "link": "link",
        "near": "link",
        "pipe": "special",
        "plain": "hard-link",
        "second": "hard-link",
        "d/root": "link",
    }


def test_a_link_to_a_directory_is_not_entered(job_dir: JobDir, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret").write_text("x")
    (job_dir.path / "way").symlink_to(tmp_path / "elsewhere")
    assert paths(job_dir, "**") == []
    assert paths(job_dir, "way/secret") == []


def test_a_tree_too_deep_is_reported_and_not_walked(job_dir: JobDir):
    deep = job_dir.path
    for _ in range(DEPTH_MAX + 2):
        deep = deep / "d"
        deep.mkdir()
    (deep / "file").write_text("x")
    found = collected(job_dir)
    assert found.files == ()
    assert [entry.reason for entry in found.skipped] == ["depth"]


def test_a_sparse_file_counts_with_its_whole_length(job_dir: JobDir):
    with (job_dir.path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    refused = collect_outputs(job_dir, (), bytes_max=MIB, files_max=10)
    assert refused == OutputsRefused(limit="output_bytes_max", allowed=MIB)


def test_too_many_files_are_refused_by_name_of_the_limit(job_dir: JobDir):
    for number in range(11):
        (job_dir.path / str(number)).touch()
    refused = collect_outputs(job_dir, (), bytes_max=MIB, files_max=10)
    assert refused == OutputsRefused(limit="files_max", allowed=10)


def test_a_name_that_is_not_text_is_passed_over(job_dir: JobDir):
    raw = os.fsencode(job_dir.path) + b"/bad-\xff"
    os.close(os.open(raw, os.O_CREAT | os.O_WRONLY, 0o600))
    found = collected(job_dir)
    assert found.files == ()
    assert [entry.reason for entry in found.skipped] == ["name"]
    found.skipped[0].path.encode()


NAMES_THAT_FORGE = ("a\nb", "a\x1b[31m", "a\x9b", "a\u202egpj.exe", "a\\b", "a\r")


@pytest.mark.parametrize("name", NAMES_THAT_FORGE, ids=ascii)
def test_a_name_that_no_result_can_carry_costs_only_its_own_file(
    job_dir: JobDir, name: str
):
    (job_dir.path / name).write_text("x")
    (job_dir.path / "good").write_text("y")
    found = collected(job_dir)
    assert [file.path for file in found.files] == ["good"]
    (skipped,) = found.skipped
    assert skipped.reason == "name"
    assert skipped.path.isprintable()


@pytest.mark.parametrize("parts", [31, 32])
def test_a_file_deeper_than_a_result_costs_only_itself(job_dir: JobDir, parts: int):
    deep = job_dir.path.joinpath(*"d" * (parts - 1))
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (job_dir.path / "good").write_text("y")
    found = collected(job_dir)
    for file in found.files:
        check_path(f"{OUTPUTS}/{file.path}")
    assert len(found.files) == (2 if parts == 31 else 1)


def test_a_path_longer_than_a_result_takes_costs_only_itself(job_dir: JobDir):
    deep = job_dir.path.joinpath(*["x" * 250] * 4)
    deep.mkdir(parents=True)
    (deep / "fifteen-chars-x").write_text("x")
    (deep / "longer-than-that").write_text("x")
    (job_dir.path / "good").write_text("y")
    found = collected(job_dir)
    for file in found.files:
        check_path(f"{OUTPUTS}/{file.path}")
    assert len(found.files) + len(found.skipped) == 3
    assert found.skipped[0].reason == "name"
    assert len(found.skipped[0].path) <= SHOWN_CHARS_MAX + 1


def test_what_is_passed_over_is_reported_within_bounds(job_dir: JobDir):
    for number in range(150):
        (job_dir.path / str(number)).symlink_to("/")
    found = collected(job_dir)
    assert (len(found.skipped), found.skipped_more) == (100, 50)


def test_a_glob_cannot_take_exponential_time(job_dir: JobDir):
    folder = job_dir.path
    for _ in range(DEPTH_MAX - 2):
        folder = folder / "a"
        folder.mkdir()
    (folder / "a").touch()
    glob = "/".join(["**", "*a*a*a"] * 30)
    assert paths(job_dir, glob) == []


@pytest.mark.parametrize(
    "path",
    [
        *("", "/etc/x", "..", "../x", "a/../b", "a//b", "./a", "a/", "a\0b"),
        "n" * 256,
        "/".join("d" * (DEPTH_MAX + 1)),
    ],
)
def test_an_input_cannot_be_placed_outside(job_dir: JobDir, path: str):
    with pytest.raises(InputPathError):
        job_dir.add_file(path, b"x")


def test_an_input_cannot_replace_another(job_dir: JobDir):
    job_dir.add_file("a", b"x")
    with pytest.raises(InputPathError, match="taken"):
        job_dir.add_file("a", b"y")
    with pytest.raises(InputPathError, match="taken"):
        job_dir.add_file("a/b", b"y")


def test_a_tree_deeper_than_any_path_is_removed(tmp_path: Path):
    tmp_path.chmod(0o711)
    for parent in tmp_path.parents[:2]:
        if parent.owner() == Path(tmp_path).owner():
            parent.chmod(0o711)
    job_dir = open_job_dir(tmp_path)
    depth = sys.getrecursionlimit() + 500
    here = os.open(job_dir.path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove_job_dir(job_dir)
    assert not job_dir.root.exists()
