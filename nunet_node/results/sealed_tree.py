"""A tree of files as one sealed stream, of which a stranger learns the length alone.

The stream holds the contents of the files in the order of their paths, then an index of
their paths and lengths, then the index's length. Its sealed pieces are the chunks of an
ordinary manifest, so that whoever keeps or moves the tree needs no key and checks it as
any other. Rule: an index is believed only if it accounts for every byte of the stream.
docs/protocol/results.md is normative.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from nunet_node.errors import MisuseError
from nunet_node.results.errors import SealError, TreeTooLargeError
from nunet_node.results.manifest import (
    CHUNK_BYTES,
    FILE_BYTES_MAX,
    TREE_BYTES_MAX,
    BuiltTree,
    FileEntry,
    Tree,
    build,
)
from nunet_node.results.paths import PATH_BYTES_MAX, check_order, check_path
from nunet_node.results.plan import WantedBlock
from nunet_node.results.sealing import (
    PIECE_BYTES,
    TAG_BYTES,
    PieceOpener,
    Seal,
    StreamSealer,
)
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record, decode_record, encode_record

VERSION: Final = 1

SEALED_FILES_MAX: Final = 16_384
"""Most files in a sealed tree: more than a job may leave."""

INDEX_BYTES_MAX: Final = 18 << 20
"""Longest index: `SEALED_FILES_MAX` of the longest paths, and 64 bytes for the rest of
each entry."""

INDEX_ITEMS_MAX: Final = 8 * SEALED_FILES_MAX
"""Most CBOR items of an index: seven for each file, and a few around them."""

_TRAILER_BYTES: Final = 8
_PART_PIECES: Final = FILE_BYTES_MAX // CHUNK_BYTES
"""Pieces in one file of the outer tree; only streams of 16 GiB need a second."""


class SealedFile(Record):
    """One file of a sealed tree; its bytes lie after those of the file before it."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=PATH_BYTES_MAX)]
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=TREE_BYTES_MAX)]
    executable: bool = False


class SealedIndex(Record):
    """All files of a sealed tree, in the order of their paths."""

    version: Literal[1]
    files: Annotated[
        tuple[SealedFile, ...], msgspec.Meta(max_length=SEALED_FILES_MAX)
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTree:
    """A tree that was sealed: its outer manifest, and the length of its files."""

    outer: BuiltTree
    size_bytes: int


class TreeSealer:
    """Seals files, which must come in the order of the bytes of their paths.

    Args:
        seal: the key, never used for another tree.
        put: stores a sealed piece before it returns.
    """

    def __init__(self, seal: Seal, put: Callable[[memoryview], Cid]) -> None:
        self._stream = StreamSealer(seal, put)
        self._files: list[SealedFile] = []

    def add(
        self, path: str, data: Iterable[bytes], *, executable: bool = False
    ) -> None:
        """Seal one file.

        Raises:
            PathError: the path is not plain and relative.
        """
        check_path(path)
        size_bytes = 0
        for part in data:
            self._stream.write(part)
            size_bytes += len(part)
        file = SealedFile(path=path, size_bytes=size_bytes, executable=executable)
        self._files.append(file)

    def finish(self) -> SealedTree:
        """Seal the index and return the tree; its manifest is still to be stored.

        Raises:
            ManifestError: files came out of order, or one lies below another.
            TreeTooLargeError: they are more than a sealed tree holds.
        """
        check_order(file.path for file in self._files)
        size_bytes = sum(file.size_bytes for file in self._files)
        if len(self._files) > SEALED_FILES_MAX:
            raise TreeTooLargeError(f"{len(self._files)} files in one sealed tree")
        index = encode_record(SealedIndex(version=VERSION, files=tuple(self._files)))
        self._stream.write(index)
        self._stream.write(len(index).to_bytes(_TRAILER_BYTES, "big"))
        self._stream.finish()
        parts = _parts(tuple(self._stream.pieces), self._stream.sealed_bytes)
        return SealedTree(outer=build(parts), size_bytes=size_bytes)


class SealedReader:
    """Reads a sealed tree.

    Args:
        tree: the outer tree.
        seal: its key.
        get: returns a piece's bytes, checked against its id.

    Raises:
        SealError: this is no sealed tree.
    """

    def __init__(
        self, tree: Tree, seal: Seal, get: Callable[[Cid], bytes | memoryview]
    ) -> None:
        self._pieces = tuple(cid for file in tree.files for cid in file.chunks)
        if not self._pieces or tree.files != _parts(self._pieces, tree.size_bytes):
            raise SealError("the tree is not laid out as a sealed one")
        self._sealed_bytes = tree.size_bytes
        self._stream_bytes = tree.size_bytes - TAG_BYTES * len(self._pieces)
        if self._piece_bytes(len(self._pieces) - 1) <= TAG_BYTES:
            raise SealError("a sealed tree with an empty piece")
        if self._stream_bytes < _TRAILER_BYTES:
            raise SealError("a sealed tree without an index")
        self._opener = PieceOpener(seal)
        self._get = get
        self._open: tuple[int, memoryview] | None = None
        self._starts: dict[str, int] = {}

    @property
    def trailer(self) -> range:
        """Where in the stream the length of the index stands."""
        return range(self._stream_bytes - _TRAILER_BYTES, self._stream_bytes)

    def index_place(self) -> range:
        """Return where in the stream the index stands; reads the trailer.

        Raises:
            SealError: the trailer does not open, or is no length.
        """
        length = int.from_bytes(self._bytes(self.trailer), "big")
        if length > min(INDEX_BYTES_MAX, self.trailer.start):
            raise SealError(f"an index of {length} bytes")
        return range(self.trailer.start - length, self.trailer.start)

    def index(self) -> SealedIndex:
        """Read and check the index.

        Raises:
            PeerError: it does not open, is none, names what no tree may, or does
                not account for every byte.
        """
        place = self.index_place()
        index = decode_record(
            SealedIndex,
            self._bytes(place),
            bytes_max=INDEX_BYTES_MAX,
            items_max=INDEX_ITEMS_MAX,
        )
        start = 0
        for file in index.files:
            check_path(file.path)
            self._starts[file.path] = start
            start += file.size_bytes
        check_order(file.path for file in index.files)
        if start != place.start:
            raise SealError("the index does not account for every byte")
        return index

    def place(self, file: SealedFile, start: int = 0) -> range:
        """Return where a file of the index stands in the stream, from an offset on."""
        if file.path not in self._starts:
            raise MisuseError("no file of the index that was read")
        first = self._starts[file.path]
        return range(first + min(start, file.size_bytes), first + file.size_bytes)

    def blocks(self, place: range) -> tuple[WantedBlock, ...]:
        """Return the blocks that hold a part of the stream."""
        if not place:
            return ()
        numbers = range(place.start // PIECE_BYTES, (place.stop - 1) // PIECE_BYTES + 1)
        return tuple(
            WantedBlock(cid=self._pieces[number], size_bytes=self._piece_bytes(number))
            for number in numbers
        )

    def read(self, place: range) -> Iterator[memoryview]:
        """Yield a part of the stream; each part is good until the next is asked for.

        Raises:
            SealError: a piece does not open.
        """
        start = place.start
        while start < place.stop:
            number, skip = divmod(start, PIECE_BYTES)
            part = self._piece(number)[skip : skip + place.stop - start]
            yield part
            start += len(part)

    def _bytes(self, place: range) -> bytes:
        return b"".join(self.read(place))

    def _piece(self, number: int) -> memoryview:
        if self._open is None or self._open[0] != number:
            self._open = None
            data = self._get(self._pieces[number])
            if len(data) != self._piece_bytes(number):
                raise SealError("a piece of another length")
            last = number == len(self._pieces) - 1
            self._open = (number, self._opener.open(number, data, last=last))
        return self._open[1]

    def _piece_bytes(self, number: int) -> int:
        return min(CHUNK_BYTES, self._sealed_bytes - number * CHUNK_BYTES)


def _parts(pieces: tuple[Cid, ...], sealed_bytes: int) -> tuple[FileEntry, ...]:
    """Return the outer tree's files: the pieces in order, as few files as can be."""
    return tuple(
        FileEntry(
            path=f"sealed-{start // _PART_PIECES:04}",
            size_bytes=min(FILE_BYTES_MAX, sealed_bytes - start * CHUNK_BYTES),
            chunks=pieces[start : start + _PART_PIECES],
        )
        for start in range(0, len(pieces), _PART_PIECES)
    )
