import os
import subprocess
import sys
from pathlib import Path

from nunet_node.executors.jobdir import DEPTH_MAX
from nunet_node.executors.sandbox import meter


def test_the_disk_counts_allocated_blocks_and_every_entry(tmp_path: Path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(bytes(100_000))
    (tmp_path / "link").symlink_to("/usr")
    use = meter.disk_use((tmp_path,), 100)
    assert use.entries == 3
    assert 100_000 <= use.size_bytes < 200_000


def test_a_hole_takes_no_disk(tmp_path: Path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert meter.disk_use((tmp_path,), 100).size_bytes < 1 << 20


def test_several_directories_add_up(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    assert meter.disk_use((tmp_path / "a", tmp_path / "b"), 100).entries == 2


def test_counting_stops_soon_after_too_many_entries(tmp_path: Path):
    for number in range(50):
        (tmp_path / str(number)).touch()
    assert meter.disk_use((tmp_path,), 10).entries == 11


def test_a_tree_too_deep_counts_as_unmeasurable(tmp_path: Path):
    deep = tmp_path
    for _ in range(DEPTH_MAX + 1):
        deep = deep / "d"
    deep.mkdir(parents=True)
    assert meter.disk_use((tmp_path,), 1000).size_bytes == meter.UNMEASURABLE


def test_a_tree_of_processes_is_found_and_measured(tmp_path: Path):
    script = (
        "import subprocess, sys; x = bytearray(b'x' * (20 << 20));"
        "p = subprocess.Popen([sys.executable, '-c', 'print(1, flush=True); input()']);"
        "p.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        tree = meter.descendants(process.pid)
        use = meter.tree_use(process.pid, tmp_path.stat().st_dev)
        parent = meter.parent_of(tree[1])
        process.communicate(b"\n")
    assert len(tree) == 2
    assert parent == process.pid
    assert use.memory_bytes > 20 << 20
    assert use.cpu_ms > 0


def test_a_process_that_is_gone_counts_nothing():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert meter.tree_use(process.pid, 0) == meter.TreeUse()
    assert meter.parent_of(process.pid) is None


def test_a_file_without_a_name_counts_while_it_is_open(tmp_path: Path):
    with (tmp_path / "f").open("wb") as file:
        (tmp_path / "f").unlink()
        file.write(bytes(1 << 20))
        file.flush()
        device = tmp_path.stat().st_dev
        held = meter.tree_use(os.getpid(), device).unlinked_bytes
    assert held >= 1 << 20
