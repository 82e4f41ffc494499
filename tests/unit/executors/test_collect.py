from pathlib import Path

import pytest

from nunet_node.executors.collect import Collected, collect_outputs
from nunet_node.executors.jobdir import JobDir


@pytest.fixture
def job_dir(tmp_path: Path):
    made = JobDir(root=tmp_path, uid=None, locks=[])
    made.path.mkdir()
    made.add_file("input.csv", b"given")
    for path in ("a.txt", "b.csv", "out/c.csv", "out/deep/d.csv", "out/deep/e.txt"):
        target = made.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path)
    return made


def paths(job_dir: JobDir, *globs: str) -> list[str]:
    found = collect_outputs(job_dir, globs, bytes_max=1 << 20, files_max=100)
    assert isinstance(found, Collected)
    return [file.path for file in found.files]


def test_without_globs_every_new_file_is_an_output(job_dir: JobDir):
    everything = ["a.txt", "b.csv", "out/c.csv", "out/deep/d.csv", "out/deep/e.txt"]
    assert paths(job_dir) == everything


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.csv", ["b.csv"]),
        ("**/*.csv", ["b.csv", "out/c.csv", "out/deep/d.csv"]),
        ("out/**/*.csv", ["out/c.csv", "out/deep/d.csv"]),
        ("out/*", ["out/c.csv"]),
        ("out", ["out/c.csv", "out/deep/d.csv", "out/deep/e.txt"]),
        ("out/deep/", ["out/deep/d.csv", "out/deep/e.txt"]),
        ("./out/deep/**", ["out/deep/d.csv", "out/deep/e.txt"]),
        ("**/deep/**", ["out/deep/d.csv", "out/deep/e.txt"]),
        ("**/**/e.txt", ["out/deep/e.txt"]),
        ("?.txt", ["a.txt"]),
        ("[ab].*", ["a.txt", "b.csv"]),
        ("a.txt", ["a.txt"]),
        ("A.TXT", []),
        ("*", ["a.txt", "b.csv"]),
        ("../*", []),
        ("/etc/*", []),
    ],
)
def test_a_glob_names_outputs(job_dir: JobDir, glob: str, expected: list[str]):
    assert paths(job_dir, glob) == expected


def test_several_globs_add_up_and_take_no_file_twice(job_dir: JobDir):
    assert paths(job_dir, "a.*", "*.txt", "b.csv") == ["a.txt", "b.csv"]


def test_an_input_is_an_output_only_when_the_job_changed_it(job_dir: JobDir):
    assert "input.csv" not in paths(job_dir, "**")
    (job_dir.path / "input.csv").write_text("other")
    assert "input.csv" in paths(job_dir, "**")


def test_an_input_replaced_by_another_file_is_an_output(job_dir: JobDir):
    (job_dir.path / "input.csv").unlink()
    (job_dir.path / "input.csv").write_text("given")
    assert "input.csv" in paths(job_dir)


def test_an_output_carries_its_size_and_whether_it_is_a_program(job_dir: JobDir):
    (job_dir.path / "tool").write_text("#!/bin/sh")
    (job_dir.path / "tool").chmod(0o755)
    found = collect_outputs(job_dir, ("tool", "a.txt"), bytes_max=100, files_max=2)
    assert isinstance(found, Collected)
    seen = [(file.path, file.size_bytes, file.executable) for file in found.files]
    assert seen == [("a.txt", 5, False), ("tool", 9, True)]
    assert found.files[1].source.read_text() == "#!/bin/sh"
