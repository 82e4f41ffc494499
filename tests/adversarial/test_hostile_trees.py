"""Trees made by a liar: whatever they say, nothing lands outside, and nothing grows."""

import tracemalloc

import pytest

from nunet_node.errors import PeerError
from nunet_node.results.manifest import (
    FileEntry,
    Tree,
    TreeLimits,
    parse_root,
    parse_tree,
)
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.materialise import materialise
from nunet_node.storage.read_tree import Source, read_tree
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import BLOCK_BYTES_MAX

DATA = b"owned"
CHUNK = Cid.of_raw(DATA)
MEMORY_BYTES_MAX = 64 << 20

ESCAPES = [
    "/etc/cron.d/owned",
    "../owned",
    "outputs/../../owned",
    "outputs/./../../owned",
    "..",
    "outputs//owned",
    "..\\owned",
    "outputs/\0/owned",
    "~/../owned",
]


def plain(*paths, **changes):
    return cbor.encode(
        {
            "version": 1,
            "file_count": len(paths),
            "size_bytes": len(paths) * len(DATA),
            "files": tuple(
                {"path": path, "size_bytes": len(DATA), "chunks": (CHUNK,)}
                for path in paths
            ),
            **changes,
        }
    )


def take(data):
    return parse_tree(parse_root(data, TreeLimits(bytes_max=1 << 30)))


@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_that_leads_outside_is_never_parsed(path):
    with pytest.raises(PeerError):
        take(plain(path))


@pytest.mark.parametrize("path", ["../owned", "deep/../../owned"])
def test_a_path_in_a_tree_that_nobody_parsed_is_not_written(tmp_path, path):
    (tmp_path / "owned").write_bytes(b"mine")
    file = FileEntry(path=path, size_bytes=len(DATA), chunks=(CHUNK,))
    with pytest.raises(PeerError):
        materialise(
            Tree(files=(file,), size_bytes=5), lambda _: DATA, tmp_path / "new" / "out"
        )
    assert (tmp_path / "owned").read_bytes() == b"mine"
    assert not (tmp_path / "new" / "out").exists()


@pytest.mark.parametrize(
    "data",
    [
        plain("a", file_count=1 << 40),
        plain("a", size_bytes=(1 << 64) - 1),
        plain("a", file_count=1 << 16),
        plain(files=()),
        plain(pages=tuple([Cid.of_dag_cbor(b"")] * 300)),
        plain(*[f"{number:06}" for number in range(9000)]),
        plain("a" * 5000),
        b"\xa4" + cbor.encode("files") + b"\x9a\xff\xff\xff\xff",
        b"\xbb" + b"\xff" * 8,
        b"\x81" * 100_000,
        b"\x98\xff" + b"\x00" * 254,
        b"\xa1" + cbor.encode("files") + b"\x9a\x00\x0f\xff\xf0" + b"\x00" * 0xFFFF0,
        bytes(BLOCK_BYTES_MAX),
        plain("a") + b"\x00",
        plain("a")[:-1],
    ],
    ids=range(15),
)
def test_a_manifest_that_lies_about_itself_costs_little_and_is_refused(data):
    tracemalloc.start()
    try:
        with pytest.raises(PeerError):
            take(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < MEMORY_BYTES_MAX


def test_links_planted_among_outputs_show_nothing_of_the_host(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"the node's key")
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    (outputs / "honest").write_bytes(b"result")
    (outputs / "file").symlink_to(secret / "key")
    (outputs / "directory").symlink_to(secret)
    (outputs / "chain").symlink_to("file")
    (outputs / "loop").symlink_to("loop")
    with BlockStore(tmp_path / "store") as store:
        read = read_tree(store, [Source(path=outputs)], skip_refused=True)
        assert [file.path for file in read.built.tree.files] == ["honest"]
        assert len(read.skipped) == 4
        assert not store.has(Cid.of_raw(b"the node's key"))


def test_permissions_that_give_power_are_not_carried(tmp_path):
    (tmp_path / "made").mkdir()
    program = tmp_path / "made" / "program"
    program.write_bytes(b"#!")
    program.chmod(0o6777)
    with BlockStore(tmp_path / "store") as store:
        tree = read_tree(store, [Source(path=tmp_path / "made")]).built.tree
        materialise(tree, store.get, tmp_path / "out")
    assert (tmp_path / "out" / "program").stat().st_mode & 0o7777 == 0o700
