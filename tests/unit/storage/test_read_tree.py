"""Reading files and directories into a tree."""

import os
import socket
from pathlib import Path

import pytest

from nunet_node.results.errors import ManifestError
from nunet_node.results.manifest import TreeLimits, parse_root, parse_tree
from nunet_node.storage import read_tree as module
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import TreeRefusedError
from nunet_node.storage.read_tree import SKIPPED_NAMES_MAX, Source, read_tree


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def made(tmp_path):
    made = tmp_path / "made"
    (made / "deep" / "er").mkdir(parents=True)
    (made / "deep" / "er" / "file").write_bytes(b"inner")
    (made / "top").write_bytes(b"outer")
    (made / "run").write_bytes(b"#!")
    (made / "run").chmod(0o755)
    (made / "none").write_bytes(b"")
    return made


def paths(read):
    return [file.path for file in read.built.tree.files]


def test_a_directory_keeps_its_tree(store, made):
    read = read_tree(store, [Source(path=made)])
    assert paths(read) == ["deep/er/file", "none", "run", "top"]
    assert [file.executable for file in read.built.tree.files] == [0, 0, 1, 0]
    assert read.skipped == ()


def test_a_tree_can_be_read_back_from_its_id_alone(store, made):
    read = read_tree(store, [Source(path=made)])
    root = parse_root(store.get(read.built.root), TreeLimits())
    assert parse_tree(root) == read.built.tree
    (file,) = [file for file in parse_tree(root).files if file.path == "top"]
    assert [store.get(cid) for cid in file.chunks] == [b"outer"]


def test_sources_hang_where_they_are_told_to(store, made):
    sources = [
        Source(path=made / "top"),
        Source(path=made / "top", dest="again/renamed"),
        Source(path=made / "deep", dest="data"),
    ]
    assert paths(read_tree(store, sources)) == ["again/renamed", "data/er/file", "top"]


def test_two_sources_for_one_path_are_refused(store, made):
    with pytest.raises(ManifestError, match="twice"):
        read_tree(store, [Source(path=made / "top"), Source(path=made / "top")])
    assert store.stat().blocks == 0


@pytest.mark.parametrize(
    "kind", ["link", "dangling", "directory link", "pipe", "socket"]
)
def test_what_is_no_plain_file_is_refused_by_name(store, made, kind, monkeypatch):
    monkeypatch.chdir(made)
    make_special(kind, "special")
    with pytest.raises(TreeRefusedError, match="special' is"):
        read_tree(store, [Source(path=made)])
    with pytest.raises(TreeRefusedError, match="special' is"):
        read_tree(store, [Source(path=made / "special")])


@pytest.mark.parametrize(
    "kind", ["link", "dangling", "directory link", "pipe", "socket"]
)
def test_what_is_no_plain_file_may_be_passed_over(store, made, kind, monkeypatch):
    monkeypatch.chdir(made)
    make_special(kind, "special")
    read = read_tree(store, [Source(path=made)], skip_refused=True)
    assert paths(read) == ["deep/er/file", "none", "run", "top"]
    (why,) = read.skipped
    assert "special" in why


@pytest.mark.parametrize(
    "name", [b"new\nline", b"\xff\xfe", b"back\\slash", b"\x1b[2J"]
)
def test_names_that_would_mislead_are_refused_or_passed_over(store, made, name):
    (made / os.fsdecode(name)).write_bytes(b"x")
    with pytest.raises(TreeRefusedError, match="is refused"):
        read_tree(store, [Source(path=made)])
    read = read_tree(store, [Source(path=made)], skip_refused=True)
    assert len(paths(read)) == 4
    assert read.skipped[0].isprintable()


def test_a_deep_hole_is_refused_without_falling_in(store, tmp_path):
    bottom = tmp_path / "hole"
    bottom.mkdir()
    for _ in range(40):
        bottom = bottom / "d"
        bottom.mkdir()
    with pytest.raises(TreeRefusedError, match="deeper"):
        read_tree(store, [Source(path=tmp_path / "hole")])


def test_a_sparse_giant_is_refused_before_it_is_read(store, made):
    with (made / "giant").open("wb") as file:
        file.truncate(1 << 40)
    limits = TreeLimits(bytes_max=1000)
    with pytest.raises(TreeRefusedError, match="does not fit"):
        read_tree(store, [Source(path=made)], limits=limits, skip_refused=True)
    assert store.stat().blocks == 0


def test_one_file_too_many_is_refused(store, made):
    with pytest.raises(TreeRefusedError, match="3 files"):
        read_tree(store, [Source(path=made)], limits=TreeLimits(files_max=3))
    assert len(paths(read_tree(store, [Source(path=made)]))) == 4


def test_a_flood_of_names_is_refused(store, made, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES_MAX", 4)
    with pytest.raises(TreeRefusedError, match="more than 4 entries"):
        read_tree(store, [Source(path=made)])


def test_only_some_of_the_names_passed_over_are_reported(store, made):
    for number in range(SKIPPED_NAMES_MAX + 5):
        (made / f"link{number}").symlink_to("top")
    read = read_tree(store, [Source(path=made)], skip_refused=True)
    assert len(read.skipped) == SKIPPED_NAMES_MAX


def test_a_missing_source_is_named(store, tmp_path):
    with pytest.raises(TreeRefusedError, match="absent' is not there"):
        read_tree(store, [Source(path=tmp_path / "absent")])


def make_special(kind, name):
    if kind == "pipe":
        os.mkfifo(name)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)
    else:
        targets = {"link": "top", "dangling": "nowhere", "directory link": "deep"}
        Path(name).symlink_to(targets[kind])
