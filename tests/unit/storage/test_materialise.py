"""Writing a tree to disk, all of it or nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nunet_node.results.errors import BlockError, PathError
from nunet_node.results.manifest import CHUNK_BYTES, FileEntry, build
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import (
    BlockMissingError,
    StoreUnavailableError,
    TargetRefusedError,
)
from nunet_node.storage.materialise import check_target, materialise
from nunet_node.storage.read_tree import Source, read_tree


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def tree(tmp_path, store):
    made = tmp_path / "made"
    (made / "deep").mkdir(parents=True)
    (made / "deep" / "big").write_bytes(os.urandom(CHUNK_BYTES * 2 + 5))
    (made / "run").write_bytes(b"#!")
    (made / "run").chmod(0o755)
    (made / "none").write_bytes(b"")
    return read_tree(store, [Source(path=made)]).built.tree


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def left_over(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("place", ["out", "a/b/out", "empty"])
def test_a_tree_is_written_as_it_was_read(tmp_path, store, tree, place):
    (tmp_path / "empty").mkdir()
    materialise(tree, store.get, tmp_path / place)
    assert contents(tmp_path / place) == contents(tmp_path / "made")


def test_a_relative_target_is_below_the_current_directory(
    tmp_path, store, tree, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    materialise(tree, store.get, Path("out"))
    assert (tmp_path / "out" / "run").exists()


def test_files_are_private_and_executable_only_where_they_were(tmp_path, store, tree):
    materialise(tree, store.get, tmp_path / "out")
    modes = {
        path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()
    }
    assert modes["run"] == 0o700
    assert modes["none"] == 0o600
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_small_files_can_be_put_beside_the_tree(tmp_path, store, tree):
    materialise(tree, store.get, tmp_path / "out", beside={"receipt.cbor": b"signed"})
    assert (tmp_path / "out" / "receipt.cbor").read_bytes() == b"signed"


@pytest.mark.parametrize("name", ["../escape", "/etc/x", "run"])
def test_a_bad_name_beside_the_tree_writes_nothing(tmp_path, store, tree, name):
    before = left_over(tmp_path)
    with pytest.raises((PathError, TargetRefusedError)):
        materialise(tree, store.get, tmp_path / "out", beside={name: b""})
    assert left_over(tmp_path) == before


@pytest.mark.parametrize("taken", ["file", "full", "link", "dangling"])
def test_a_taken_target_is_refused_and_left_alone(tmp_path, store, tree, taken):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_bytes(b"mine")
    (tmp_path / "void").mkdir()
    (tmp_path / "link").symlink_to("void")
    (tmp_path / "dangling").symlink_to("nowhere")
    before = left_over(tmp_path), contents(tmp_path / "full")
    with pytest.raises(TargetRefusedError):
        materialise(tree, store.get, tmp_path / taken)
    assert (left_over(tmp_path), contents(tmp_path / "full")) == before


def test_a_target_taken_while_writing_is_left_alone(tmp_path, store, tree):
    def get_and_meddle(cid):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "mine").write_bytes(b"mine")
        return store.get(cid)

    with pytest.raises(TargetRefusedError, match="cannot write"):
        materialise(tree, get_and_meddle, tmp_path / "out")
    assert contents(tmp_path / "out") == {"mine": b"mine"}
    assert left_over(tmp_path) == ["made", "out", "store"]


def test_a_missing_block_writes_nothing(tmp_path, store, tree):
    store.delete(tree.files[0].chunks[-1])
    with pytest.raises(BlockMissingError):
        materialise(tree, store.get, tmp_path / "out")
    assert left_over(tmp_path) == ["made", "store"]


@pytest.mark.parametrize(
    "lie", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[::-1]]
)
def test_a_source_that_lies_writes_nothing(tmp_path, store, tree, lie):
    with pytest.raises(BlockError):
        materialise(tree, lambda cid: lie(store.get(cid)), tmp_path / "out")
    assert left_over(tmp_path) == ["made", "store"]


def test_a_file_whose_length_is_a_lie_writes_nothing(tmp_path, store):
    cid = store.put(b"five!")
    lie = build([FileEntry(path="file", size_bytes=6, chunks=(cid,))]).tree
    with pytest.raises(BlockError, match="has 5 bytes, not 6"):
        materialise(lie, store.get, tmp_path / "out")
    assert left_over(tmp_path) == ["store"]


def test_the_target_can_be_checked_beforehand(tmp_path):
    check_target(tmp_path / "new")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TargetRefusedError, match="not empty"):
        check_target(tmp_path)
    with pytest.raises(TargetRefusedError, match="not a directory"):
        check_target(tmp_path / "file")
    with pytest.raises(TargetRefusedError, match="file is not a directory"):
        check_target(tmp_path / "file/below/it")


def test_a_target_where_nothing_can_be_made_is_refused_beforehand(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "access", lambda place, _: place != tmp_path)
    with pytest.raises(TargetRefusedError, match=f"cannot write to {tmp_path};"):
        check_target(tmp_path / "new/result")


def test_a_failing_store_is_reported_as_such(tmp_path, tree):
    def fail(cid):
        raise StoreUnavailableError(str(cid))

    with pytest.raises(StoreUnavailableError):
        materialise(tree, fail, tmp_path / "out")
    assert left_over(tmp_path) == ["made", "store"]


def test_everything_is_synced_before_the_target_has_its_name(
    tmp_path, store, tree, monkeypatch
):
    synced, sync = [], os.fsync

    def record(file):
        path = Path(f"/proc/self/fd/{file}").readlink()
        synced.append((path.name, (tmp_path / "out").exists()))
        sync(file)

    monkeypatch.setattr(os, "fsync", record)
    materialise(tree, store.get, tmp_path / "out")
    before = {name for name, named in synced if not named}
    # What is empty has nothing but its name, which is its directory's.
    assert {"big", "run", "deep"} < before
    assert "none" not in before
    assert [name for name, named in synced if named] == [tmp_path.name]


KILLED = """
import os, signal, sys
from pathlib import Path
from nunet_node.results.manifest import FileEntry, build
from nunet_node.storage.materialise import materialise
from nunet_node.wire.cid import Cid
files = [FileEntry(path=f"{n}", size_bytes=1, chunks=(Cid.of_raw(b"%d" % n),)) for n in range(9)]
left = [int(sys.argv[2])]
def get(cid):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return next(b"%d" % n for n in range(9) if Cid.of_raw(b"%d" % n) == cid)
materialise(build(files).tree, get, Path(sys.argv[1]))
"""


@pytest.mark.parametrize("blocks", [1, 5, 9])
def test_a_killed_writer_leaves_no_target(tmp_path, blocks):
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "out"), str(blocks)], check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()


def test_what_a_killed_writer_left_goes_with_the_next_writing(tmp_path, store, tree):
    words = [sys.executable, "-c", KILLED, str(tmp_path / "out"), "5"]
    for _ in range(2):
        subprocess.run(words, check=False)
    assert len(list(tmp_path.glob(".out.part-*"))) == 1
    (tmp_path / ".other.part-abcdefgh").mkdir()

    materialise(tree, store.get, tmp_path / "out")

    assert list(tmp_path.glob(".out.part-*")) == []
    assert (tmp_path / ".other.part-abcdefgh").exists()


def test_a_writing_that_goes_on_keeps_what_it_has(tmp_path, store, tree):
    def get(cid):
        if not (tmp_path / "out").exists():
            materialise(tree, store.get, tmp_path / "out")
        return store.get(cid)

    with pytest.raises(TargetRefusedError):
        materialise(tree, get, tmp_path / "out")

    assert contents(tmp_path / "out")["run"] == b"#!"
    assert list(tmp_path.glob(".out.part-*")) == []


def test_a_link_that_looks_like_something_left_is_not_followed(tmp_path, store, tree):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept").write_text("kept")
    (tmp_path / ".out.part-aaaaaaaa").symlink_to(tmp_path / "mine")

    materialise(tree, store.get, tmp_path / "out")

    assert (tmp_path / "mine" / "kept").read_text() == "kept"
