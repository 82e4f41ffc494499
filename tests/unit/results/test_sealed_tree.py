"""A sealed tree gives back its files, and shows its length alone."""

import pytest

from nunet_node.errors import MisuseError, PeerError
from nunet_node.results import sealed_tree as module
from nunet_node.results.errors import (
    ManifestError,
    PathError,
    SealError,
    TreeTooLargeError,
)
from nunet_node.results.manifest import (
    FileEntry,
    TreeLimits,
    build,
    parse_root,
    parse_tree,
)
from nunet_node.results.sealed_tree import (
    SealedFile,
    SealedIndex,
    SealedReader,
    TreeSealer,
)
from nunet_node.results.sealing import PIECE_BYTES, TAG_BYTES, Seal, StreamSealer
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record

SEAL = Seal(key=bytes(range(32)), job="a" * 32, attempt=1)
FILES = {"a": b"first", "b/c": b"", "b/d": bytes(PIECE_BYTES + 3), "z": b"last"}


class Kept(dict):
    """Blocks by their ids."""

    def put(self, data):
        cid = Cid.of_raw(data)
        self[cid] = bytes(data)
        return cid


def sealed(files, kept, seal=SEAL):
    sealer = TreeSealer(seal, kept.put)
    for path, data in files.items():
        sealer.add(path, [data[:2], data[2:]], executable=path == "z")
    made = sealer.finish()
    kept.update(made.outer.blocks)
    return made


def stream(data, kept, seal=SEAL):
    """Seal any stream as if it were a tree's."""
    sealer = StreamSealer(seal, kept.put)
    sealer.write(data)
    sealer.finish()
    return build(module._parts(tuple(sealer.pieces), sealer.sealed_bytes)).tree


def with_index(contents, index, kept, length=None):
    length = len(index) if length is None else length
    return stream(contents + index + length.to_bytes(8, "big"), kept)


def contents(reader):
    return {
        file.path: b"".join(map(bytes, reader.read(reader.place(file))))
        for file in reader.index().files
    }


def test_what_was_sealed_is_read_again():
    kept = Kept()
    made = sealed(FILES, kept)
    assert made.size_bytes == sum(map(len, FILES.values()))
    root = parse_root(kept[made.outer.root], TreeLimits())
    reader = SealedReader(parse_tree(root), SEAL, kept.__getitem__)
    assert contents(reader) == FILES
    assert [file.executable for file in reader.index().files] == [0, 0, 0, 1]


def test_a_tree_without_files_is_a_tree():
    kept = Kept()
    tree = sealed({}, kept).outer.tree
    assert contents(SealedReader(tree, SEAL, kept.__getitem__)) == {}


def test_names_and_contents_do_not_show():
    kept = Kept()
    sealed({"a-telling-name": b"a telling word"}, kept)
    assert b"telling" not in b"".join(kept.values())


def test_the_same_key_and_files_give_the_same_tree():
    assert sealed(FILES, Kept()).outer == sealed(FILES, Kept()).outer


def test_a_part_of_a_file_is_read_from_its_blocks_alone():
    kept = Kept()
    tree = sealed(FILES, kept).outer.tree
    reader = SealedReader(tree, SEAL, kept.__getitem__)
    last = reader.index().files[-1]
    needed = {block.cid for block in reader.blocks(reader.place(last, 1))}
    assert len(needed) == 1 < len(tree.files[0].chunks)
    partly = SealedReader(tree, SEAL, {cid: kept[cid] for cid in needed}.__getitem__)
    partly.index()
    assert b"".join(partly.read(partly.place(last, 1))) == b"ast"
    assert not list(partly.read(partly.place(last, 99)))
    assert partly.blocks(partly.place(last, 99)) == ()


def test_another_key_reads_nothing():
    kept = Kept()
    tree = sealed(FILES, kept).outer.tree
    other = Seal(key=bytes(32), job=SEAL.job, attempt=1)
    with pytest.raises(SealError):
        SealedReader(tree, other, kept.__getitem__).index()


def test_an_ordinary_tree_is_no_sealed_one():
    tree = build([FileEntry(path="a", size_bytes=1, chunks=(Cid.of_raw(b"a"),))]).tree
    for each in (tree, build([]).tree):
        with pytest.raises(SealError, match="not laid out"):
            SealedReader(each, SEAL, {}.__getitem__)


def test_a_stream_too_short_for_an_index_is_refused():
    kept = Kept()
    with pytest.raises(SealError, match="without an index"):
        SealedReader(stream(b"1234567", kept), SEAL, kept.__getitem__)
    with pytest.raises(SealError, match="empty piece"):
        SealedReader(stream(b"", kept), SEAL, kept.__getitem__)


def test_a_piece_of_another_length_is_refused():
    kept = Kept()
    tree = sealed(FILES, kept).outer.tree
    short = {cid: data[:-1] for cid, data in kept.items()}
    with pytest.raises(SealError, match="another length"):
        SealedReader(tree, SEAL, short.__getitem__).index()


def index_of(*files):
    return encode_record(SealedIndex(version=1, files=files))


def named(path, size_bytes=0):
    return SealedFile(path=path, size_bytes=size_bytes)


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (index_of(named("../up")), PathError),
        (index_of(named("/etc/passwd")), PathError),
        (index_of(named("b"), named("a")), ManifestError),
        (index_of(named("a"), named("a")), ManifestError),
        (index_of(named("a"), named("a/b")), ManifestError),
        (index_of(named("a", 5)), SealError),
        (index_of(named("a", 3), named("b", 0)), SealError),
        (index_of(named("a", 1 << 40)), SealError),
        (b"\xff", PeerError),
        (b"", PeerError),
    ],
)
def test_a_hostile_index_is_refused(index, error):
    kept = Kept()
    tree = with_index(b"four", index, kept)
    with pytest.raises(error):
        SealedReader(tree, SEAL, kept.__getitem__).index()


@pytest.mark.parametrize("length", [13, 1 << 20, 1 << 63])
def test_an_index_longer_than_its_stream_is_refused(length):
    kept = Kept()
    tree = with_index(b"four", b"12345678", kept, length=length)
    with pytest.raises(SealError, match="an index of"):
        SealedReader(tree, SEAL, kept.__getitem__).index()


def test_files_out_of_order_and_unplain_paths_are_not_sealed():
    with pytest.raises(ManifestError):
        sealed({"b": b"", "a": b""}, Kept())
    with pytest.raises(PathError):
        sealed({"../up": b""}, Kept())


def test_more_files_than_a_tree_holds_are_not_sealed(monkeypatch):
    monkeypatch.setattr(module, "SEALED_FILES_MAX", 3)
    with pytest.raises(TreeTooLargeError):
        sealed(FILES, Kept())


def test_only_files_of_the_index_have_a_place():
    kept = Kept()
    reader = SealedReader(sealed(FILES, kept).outer.tree, SEAL, kept.__getitem__)
    with pytest.raises(MisuseError):
        reader.place(named("a"))


def test_a_long_stream_has_more_than_one_outer_file(monkeypatch):
    monkeypatch.setattr(module, "_PART_PIECES", 1)
    monkeypatch.setattr(module, "FILE_BYTES_MAX", PIECE_BYTES + TAG_BYTES)
    kept = Kept()
    tree = sealed(FILES, kept).outer.tree
    assert [file.path for file in tree.files] == ["sealed-0000", "sealed-0001"]
    assert contents(SealedReader(tree, SEAL, kept.__getitem__)) == FILES
