"""Trees travel through archives, and nothing half-written appears."""

import pytest

from nunet_node.results import car
from nunet_node.results.errors import BlockError, ManifestError
from nunet_node.runtime.exchange.blocks import blocks_under
from nunet_node.runtime.store.archive import (
    export_tree,
    export_unixfs,
    import_archive,
)
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockMissingError, TargetRefusedError
from nunet_node.wire.cid import Cid
from tests.runtime_kit import store_files

FILES = {"subdir/hello.txt": b"hello world\n", "subdir/empty": b""}


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as made:
        yield made


@pytest.fixture
def root(store, tmp_path):
    return store_files(store, tmp_path / "files", FILES).root


def test_an_exported_tree_is_imported_elsewhere(store, root, tmp_path):
    written = export_tree(store, root, tmp_path / "tree.car")
    assert written.root == str(root)
    with BlockStore(tmp_path / "other") as other:
        read = import_archive(other, tmp_path / "tree.car")
        assert read == written
        assert blocks_under(other, root) == blocks_under(store, root) != frozenset()


def test_a_public_tree_is_exported_as_unixfs(store, root, tmp_path):
    written = export_unixfs(store, root, tmp_path / "public.car")
    with (tmp_path / "public.car").open("rb") as file:
        found = dict(car.read(file.read))
    assert written.root.startswith("bafybei")
    # The root, one directory in it, and two files of one block each.
    assert len(found) == written.blocks == 4
    assert b"hello world\n" in found.values()


def test_an_archive_of_unixfs_is_not_read(store, root, tmp_path):
    export_unixfs(store, root, tmp_path / "public.car")
    with pytest.raises(ManifestError, match="holds UnixFS"):
        import_archive(store, tmp_path / "public.car")


def test_a_tree_that_is_not_here_leaves_no_file(store, root, tmp_path):
    store.delete(Cid.of_raw(b"hello world\n"))
    for export in (export_tree, export_unixfs):
        with pytest.raises(BlockMissingError):
            export(store, root, tmp_path / "half.car")
    with pytest.raises(BlockMissingError):
        export_tree(store, Cid.of_dag_cbor(b"unknown"), tmp_path / "half.car")
    assert not [p for p in tmp_path.iterdir() if "half" in p.name]


def test_what_is_there_is_not_written_over(store, root, tmp_path):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(TargetRefusedError):
        export_tree(store, root, tmp_path / "there")
    with pytest.raises(TargetRefusedError):
        export_tree(store, root, tmp_path / "no" / "where")
    assert (tmp_path / "there").read_text() == "mine"


def test_a_wrong_archive_is_refused(store, root, tmp_path):
    export_tree(store, root, tmp_path / "tree.car")
    data = bytearray((tmp_path / "tree.car").read_bytes())
    data[-1] ^= 1
    (tmp_path / "tree.car").write_bytes(data)
    with BlockStore(tmp_path / "other") as other, pytest.raises(BlockError):
        import_archive(other, tmp_path / "tree.car")
    with pytest.raises(TargetRefusedError, match="cannot read"):
        import_archive(store, tmp_path / "missing")


@pytest.mark.parametrize("end", ["cut off", "bent"])
def test_what_came_before_an_archive_broke_off_is_kept(store, root, tmp_path, end):
    export_tree(store, root, tmp_path / "tree.car")
    data = bytearray((tmp_path / "tree.car").read_bytes())
    data[-1] ^= 1
    (tmp_path / "tree.car").write_bytes(data[:-1] if end == "cut off" else data)
    with BlockStore(tmp_path / "other") as other:
        with pytest.raises((BlockError, ManifestError)):
            import_archive(other, tmp_path / "tree.car")
        assert set(other.cids()) < blocks_under(store, root)
        assert other.has(root)
