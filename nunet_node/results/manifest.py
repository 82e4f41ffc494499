"""Manifests: a tree of files as one content id.

Rule: one tree has one manifest. Files are sorted by the bytes of their paths, cut
into chunks of one size, and carry nothing but a name, a length, one permission and
their chunks, so that equal trees have equal ids and nothing about the machine that
made them leaks. Empty directories, times, owners and links are not carried.
Normative text: docs/protocol/results.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from nunet_node.errors import MisuseError
from nunet_node.results.errors import ManifestError, TreeTooLargeError
from nunet_node.results.paths import PATH_BYTES_MAX, check_order, check_path
from nunet_node.wire.cid import DAG_CBOR, RAW, Cid
from nunet_node.wire.limits import BLOCK_BYTES_MAX
from nunet_node.wire.schema import Record, decode_record, encode_record

VERSION: Final = 1
"""The only version of the format."""

CHUNK_BYTES: Final = BLOCK_BYTES_MAX
"""Length of every chunk of a file but its last: one block."""

FILE_BYTES_MAX: Final = 16 << 30
"""Largest file: the ids of its 16 384 chunks fill two thirds of one page."""

TREE_FILES_MAX: Final = 65_536
"""Most files in a tree: their entries are all in memory at once, some 50 MiB."""

TREE_BYTES_MAX: Final = 1 << 40
"""Most bytes in a tree; a reader with less room says so in its `TreeLimits`."""

PAGE_FILES_MAX: Final = 8192
"""Most files on one page: with the chunks that fit beside them, fewer items than
`PAGE_ITEMS_MAX`."""

PAGE_ITEMS_MAX: Final = 131_072
"""Most CBOR items of a page that is read: nine for each file and two for each
chunk that fit on the fullest page are less."""

PAGES_MAX: Final = 256
"""Most pages of one tree: two neighbours fill more than one page, so that the
fullest tree, with the longest paths, takes some 220."""

_PAGE_BYTES: Final = BLOCK_BYTES_MAX - 256
"""What the entries of a page may take; the rest is for the map around them."""

Chunks = Annotated[
    tuple[Cid, ...], msgspec.Meta(max_length=FILE_BYTES_MAX // CHUNK_BYTES)
]


class FileEntry(Record):
    """One file: ``path`` from the root of the tree, and its chunks in order."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=PATH_BYTES_MAX)]
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=FILE_BYTES_MAX)]
    executable: bool = False
    chunks: Chunks = ()


Files = Annotated[tuple[FileEntry, ...], msgspec.Meta(max_length=PAGE_FILES_MAX)]


class Page(Record):
    """Part of the files of a tree that is too large for one block."""

    version: Literal[1]
    files: Files


class Manifest(Record):
    """The root of a tree: its files, or the ids of the pages that list them.

    ``file_count`` and ``size_bytes`` are those of the whole tree, so that a reader
    refuses what it has no room for before it fetches a page.
    """

    version: Literal[1]
    file_count: Annotated[int, msgspec.Meta(ge=0, le=TREE_FILES_MAX)]
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=TREE_BYTES_MAX)]
    files: Files = ()
    pages: Annotated[tuple[Cid, ...], msgspec.Meta(max_length=PAGES_MAX)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLimits:
    """What a reader has room for."""

    files_max: int = TREE_FILES_MAX
    bytes_max: int = TREE_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Checked files, in order. `build` and `parse_tree` make it, and nothing else."""

    files: tuple[FileEntry, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltTree:
    """A tree with the blocks of its manifest, the root last."""

    root: Cid
    tree: Tree
    blocks: tuple[tuple[Cid, bytes], ...]


def build(files: Iterable[FileEntry]) -> BuiltTree:
    """Return the manifest of files in any order; equal files give equal ids.

    Raises:
        PathError: a path is not plain and relative.
        ManifestError: two files have one path, or one lies below another.
        TreeTooLargeError: more files or bytes than a tree holds.
    """
    ordered = tuple(sorted(files, key=lambda file: file.path.encode(errors="replace")))
    tree = _checked(ordered, TreeLimits())
    pages = list(_paginate(ordered))
    blocks: list[tuple[Cid, bytes]] = []
    if len(pages) > 1:
        blocks = [_block(Page(version=VERSION, files=page)) for page in pages]
    root = Manifest(
        version=VERSION,
        file_count=len(tree.files),
        size_bytes=tree.size_bytes,
        files=() if blocks else ordered,
        pages=tuple(cid for cid, _ in blocks),
    )
    blocks.append(_block(root))
    return BuiltTree(root=blocks[-1][0], tree=tree, blocks=tuple(blocks))


def parse_root(data: bytes, limits: TreeLimits) -> Manifest:
    """Read the root block of a tree; `parse_tree` checks the rest.

    Raises:
        WireError: the bytes are no manifest.
        TreeTooLargeError: the tree is larger than ``limits``.
        ManifestError: it has files and pages both, or a page that is none.
    """
    root = decode_record(
        Manifest, data, bytes_max=BLOCK_BYTES_MAX, items_max=PAGE_ITEMS_MAX
    )
    _check_room(root.file_count, root.size_bytes, limits)
    if root.pages and (root.files or len(root.pages) == 1):
        raise ManifestError("a manifest lists its files in one way only")
    if any(page.codec != DAG_CBOR for page in root.pages):
        raise ManifestError("a page of the manifest is not DAG-CBOR")
    return root


def parse_tree(root: Manifest, pages: Sequence[bytes] = ()) -> Tree:
    """Read the whole tree, given the blocks of ``root.pages`` in their order.

    Raises:
        WireError: a page is not one.
        PathError: a path is not plain and relative.
        ManifestError: a page is not the one named, or the files contradict each
            other or what the root says of them.
    """
    if len(pages) != len(root.pages):
        raise MisuseError(f"{len(pages)} pages for {len(root.pages)}")
    files = list(root.files)
    for cid, data in zip(root.pages, pages, strict=True):
        if not cid.matches(data):
            raise ManifestError("a page is not the one that the manifest names")
        page = decode_record(
            Page, data, bytes_max=BLOCK_BYTES_MAX, items_max=PAGE_ITEMS_MAX
        )
        if len(files) + len(page.files) > root.file_count:
            raise ManifestError("the pages hold more files than the manifest says")
        files += page.files
    limits = TreeLimits(files_max=root.file_count, bytes_max=root.size_bytes)
    tree = _checked(tuple(files), limits)
    if (len(tree.files), tree.size_bytes) != (root.file_count, root.size_bytes):
        raise ManifestError("the files are not those that the manifest counts")
    # What comes from elsewhere has the one form that `build` gives it, or else one
    # tree had several ids.
    if root.pages and build(tree.files).blocks[-1][1] != encode_record(root):
        raise ManifestError("the files are not paged in the only way")
    return tree


def chunk_count(size_bytes: int) -> int:
    """Return how many chunks a file of that length has."""
    return -(-size_bytes // CHUNK_BYTES)


def _checked(files: tuple[FileEntry, ...], limits: TreeLimits) -> Tree:
    size_bytes = sum(file.size_bytes for file in files)
    _check_room(len(files), size_bytes, limits)
    for file in files:
        check_path(file.path)
        if file.size_bytes > FILE_BYTES_MAX:
            raise TreeTooLargeError(f"{file.path!a} has {file.size_bytes} bytes")
        if len(file.chunks) != chunk_count(file.size_bytes):
            raise ManifestError(
                f"{file.path!a} has {file.size_bytes} bytes, but {len(file.chunks)} "
                "chunks"
            )
        if any(chunk.codec != RAW for chunk in file.chunks):
            raise ManifestError(f"{file.path!a} has a chunk that is not raw bytes")
    check_order(file.path for file in files)
    return Tree(files=files, size_bytes=size_bytes)


def _check_room(file_count: int, size_bytes: int, limits: TreeLimits) -> None:
    if file_count > limits.files_max:
        raise TreeTooLargeError(
            f"a tree of {file_count} files; {limits.files_max} are allowed"
        )
    if size_bytes > limits.bytes_max:
        raise TreeTooLargeError(
            f"a tree of {size_bytes} bytes; {limits.bytes_max} are allowed"
        )


def _paginate(files: tuple[FileEntry, ...]) -> Iterator[tuple[FileEntry, ...]]:
    page: list[FileEntry] = []
    page_bytes = 0
    for file in files:
        entry_bytes = len(encode_record(file))
        if page_bytes + entry_bytes > _PAGE_BYTES or len(page) == PAGE_FILES_MAX:
            yield tuple(page)
            page, page_bytes = [], 0
        page.append(file)
        page_bytes += entry_bytes
    yield tuple(page)


def _block(record: Record) -> tuple[Cid, bytes]:
    data = encode_record(record)
    return Cid.of_dag_cbor(data), data
