"""Manifests: one tree, one id."""

import msgspec
import pytest

from nunet_node.errors import MisuseError, PeerError
from nunet_node.results.errors import ManifestError, PathError, TreeTooLargeError
from nunet_node.results.manifest import (
    CHUNK_BYTES,
    FILE_BYTES_MAX,
    PAGE_FILES_MAX,
    TREE_FILES_MAX,
    FileEntry,
    Manifest,
    Page,
    TreeLimits,
    build,
    chunk_count,
    parse_root,
    parse_tree,
)
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import BLOCK_BYTES_MAX
from nunet_node.wire.schema import encode_record

LIMITS = TreeLimits()
CHUNK = Cid.of_raw(b"chunk")


def entry(path="file", size_bytes=5, chunks=(CHUNK,), **more):
    return FileEntry(path=path, size_bytes=size_bytes, chunks=chunks, **more)


def manifest(*files, file_count=None, size_bytes=None, pages=()):
    return Manifest(
        version=1,
        file_count=len(files) if file_count is None else file_count,
        size_bytes=sum(f.size_bytes for f in files)
        if size_bytes is None
        else size_bytes,
        files=files,
        pages=pages,
    )


def parse(root):
    return parse_tree(parse_root(encode_record(root), LIMITS))


def many(count, path_bytes=6):
    return [entry(f"{number:0{path_bytes}}") for number in range(count)]


def pages_of(built):
    return [data for _, data in built.blocks[:-1]]


def test_the_bytes_of_a_manifest_are_these():
    built = build([entry("b", executable=True), entry("a", 0, ())])
    assert cbor.decode(built.blocks[-1][1], bytes_max=1000) == {
        "version": 1,
        "file_count": 2,
        "size_bytes": 5,
        "files": (
            {"path": "a", "size_bytes": 0},
            {"path": "b", "size_bytes": 5, "executable": True, "chunks": (CHUNK,)},
        ),
    }
    empty = build([])
    assert empty.blocks[0][1] == (
        b"\xa3\x67version\x01\x6afile_count\x00\x6asize_bytes\x00"
    )
    assert str(empty.root) == (
        "bafyreibv5dznraacqbic6hjejr4sngyt6ejgkxtpsjhvy5esh33fnfxl4a"
    )


def test_the_order_in_which_files_are_named_does_not_matter():
    files = [entry("b"), entry("a/c"), entry("a.b")]
    assert build(files) == build(files[::-1])
    assert [file.path for file in build(files).tree.files] == ["a.b", "a/c", "b"]


def test_a_tree_is_read_back_from_its_blocks():
    built = build([entry("a"), entry("b", 0, ())])
    root = parse_root(built.blocks[-1][1], LIMITS)
    assert parse_tree(root) == built.tree
    assert built.blocks[-1][0] == built.root == Cid.of_dag_cbor(built.blocks[-1][1])


@pytest.mark.parametrize(
    ("files", "page_count"),
    [
        (many(PAGE_FILES_MAX), 0),
        (many(PAGE_FILES_MAX + 1), 2),
        (many(4000, path_bytes=250), 2),
        (
            [
                entry("a", FILE_BYTES_MAX, (CHUNK,) * 16384),
                entry("b", 16 << 30, (CHUNK,) * 16384),
            ],
            2,
        ),
    ],
    ids=["full", "many", "long names", "giants"],
)
def test_a_tree_too_large_for_one_block_is_paged(files, page_count):
    built = build(files)
    assert len(built.blocks) == page_count + 1
    assert max(len(data) for _, data in built.blocks) <= BLOCK_BYTES_MAX
    root = parse_root(built.blocks[-1][1], LIMITS)
    assert list(root.pages) == [cid for cid, _ in built.blocks[:-1]]
    assert parse_tree(root, pages_of(built)) == built.tree


@pytest.mark.parametrize(
    "size_bytes", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1]
)
def test_the_number_of_chunks_follows_from_the_length(size_bytes):
    expected = (size_bytes + CHUNK_BYTES - 1) // CHUNK_BYTES
    assert chunk_count(size_bytes) == expected
    tree = build([entry(size_bytes=size_bytes, chunks=(CHUNK,) * expected)]).tree
    assert tree.size_bytes == size_bytes


@pytest.mark.parametrize("chunks", [(), (CHUNK, CHUNK)])
def test_a_number_of_chunks_that_contradicts_the_length_is_refused(chunks):
    with pytest.raises(ManifestError, match="5 bytes"):
        build([entry(chunks=chunks)])
    with pytest.raises(ManifestError, match="5 bytes"):
        parse(manifest(entry(chunks=chunks)))


def test_a_chunk_that_is_no_raw_block_is_refused():
    with pytest.raises(ManifestError, match="not raw"):
        parse(manifest(entry(chunks=(Cid.of_dag_cbor(b""),))))


@pytest.mark.parametrize(
    "path", ["/a", "../a", "a/../b", "a//b", "a\\b", "a\0", "x" * 300]
)
def test_a_path_that_could_lead_outside_is_refused(path):
    with pytest.raises(PathError):
        parse(manifest(entry(path)))
    with pytest.raises(PathError):
        build([entry(path)])


@pytest.mark.parametrize(
    "paths", [("b", "a"), ("a", "a"), ("a", "a/b"), ("a", "a!", "a/b")]
)
def test_files_that_contradict_each_other_are_refused(paths):
    with pytest.raises(ManifestError):
        parse(manifest(*[entry(path) for path in paths]))


@pytest.mark.parametrize("said", [{"file_count": 2}, {"size_bytes": 6}])
def test_a_manifest_that_says_more_than_it_holds_is_refused(said):
    with pytest.raises(ManifestError, match="counts"):
        parse(manifest(entry(), **said))


@pytest.mark.parametrize("said", [{"file_count": 0}, {"size_bytes": 4}])
def test_a_manifest_that_says_less_than_it_holds_is_refused(said):
    with pytest.raises(TreeTooLargeError):
        parse(manifest(entry(), **said))


def test_a_tree_larger_than_the_reader_has_room_for_is_refused_at_its_root():
    data = encode_record(manifest(entry(), entry("z")))
    with pytest.raises(TreeTooLargeError, match="2 files; 1 are allowed"):
        parse_root(data, TreeLimits(files_max=1))
    with pytest.raises(TreeTooLargeError, match="10 bytes; 9 are allowed"):
        parse_root(data, TreeLimits(bytes_max=9))
    parse_root(data, TreeLimits(files_max=2, bytes_max=10))


def test_a_tree_with_too_many_files_is_not_built():
    with pytest.raises(TreeTooLargeError):
        build([entry()] * (TREE_FILES_MAX + 1))
    with pytest.raises(TreeTooLargeError):
        build([entry(size_bytes=FILE_BYTES_MAX + 1, chunks=(CHUNK,) * 16385)])


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"file_count": -1},
        {"size_bytes": 1 << 41},
        {"files": None},
        {"files": ({"path": "file", "size_bytes": 5, "chunks": (b"x",)},)},
        {"files": ({"path": "file", "size_bytes": -1},)},
        {"files": ({"path": "", "size_bytes": 0},)},
        {"files": ({"path": b"file", "size_bytes": 0},)},
        {"files": ({"path": "file", "size_bytes": 0, "executable": False},)},
        {"files": ({"path": "file", "size_bytes": 0, "mode": 0o4755},)},
        {"pages": ()},
        {"comment": "hidden"},
    ],
    ids=str,
)
def test_a_manifest_of_another_shape_is_refused(change):
    plain = cbor.decode(encode_record(manifest(entry())), bytes_max=1000)
    with pytest.raises(PeerError):
        parse_root(cbor.encode({**plain, **change}), LIMITS)


def test_bytes_that_are_too_long_for_a_block_are_refused():
    with pytest.raises(PeerError):
        parse_root(bytes(BLOCK_BYTES_MAX + 1), LIMITS)


class TestPaged:
    """A tree in pages whose root, or pages, a liar made."""

    built = build(many(PAGE_FILES_MAX + 1))
    root = parse_root(built.blocks[-1][1], LIMITS)

    def reroot(self, *pages, **changes):
        blocks = [encode_record(Page(version=1, files=tuple(page))) for page in pages]
        root = msgspec.structs.replace(
            self.root, pages=tuple(Cid.of_dag_cbor(data) for data in blocks), **changes
        )
        return parse_tree(parse_root(encode_record(root), LIMITS), blocks)

    def test_a_page_of_another_tree_is_refused(self):
        pages = pages_of(self.built)
        with pytest.raises(ManifestError, match="not the one"):
            parse_tree(self.root, pages[::-1])
        with pytest.raises(ManifestError, match="not the one"):
            parse_tree(self.root, [pages[0], pages[1] + b"\0"])

    def test_the_wrong_number_of_pages_is_misuse(self):
        with pytest.raises(MisuseError):
            parse_tree(self.root, pages_of(self.built)[:1])

    def test_files_and_pages_together_are_refused(self):
        both = manifest(entry(), pages=self.root.pages)
        with pytest.raises(ManifestError, match="one way"):
            parse_root(encode_record(both), LIMITS)

    def test_a_page_that_is_no_cbor_is_refused(self):
        odd = msgspec.structs.replace(self.root, pages=(CHUNK, CHUNK))
        with pytest.raises(ManifestError, match="DAG-CBOR"):
            parse_root(encode_record(odd), LIMITS)

    @pytest.mark.parametrize("cut", [0, 1, 4000, PAGE_FILES_MAX - 1])
    def test_pages_cut_in_another_place_are_refused(self, cut):
        files = self.built.tree.files
        with pytest.raises(PeerError):
            self.reroot(files[:cut], files[cut:])

    def test_pages_where_one_block_would_do_are_refused(self):
        with pytest.raises(ManifestError, match="only way"):
            self.reroot([entry("a")], [entry("b")], file_count=2, size_bytes=10)
        with pytest.raises(ManifestError, match="one way"):
            self.reroot([entry("a")], file_count=1, size_bytes=5)

    def test_pages_with_more_files_than_the_root_says_are_refused(self):
        with pytest.raises(ManifestError, match="more files"):
            self.reroot([entry("a")], [entry("b"), entry("c")], file_count=2)

    def test_a_path_on_two_pages_is_refused(self):
        with pytest.raises(ManifestError, match="twice"):
            self.reroot([entry("a")], [entry("a")], file_count=2, size_bytes=10)

    def test_a_directory_on_another_page_than_its_file_is_refused(self):
        with pytest.raises(ManifestError, match="both"):
            self.reroot([entry("a")], [entry("a/b")], file_count=2, size_bytes=10)
