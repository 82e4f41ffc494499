"""A public tree as UnixFS: the form in which IPFS tools name, fetch and show files.

A file's chunks stay as they are: they are its raw leaves, so that only the nodes above
them are made anew. Rule: one tree has one UnixFS root, that of the profile
``unixfs-v1-2025`` (IPIP-499): CIDv1, SHA-256, raw leaves of 1 MiB, balanced nodes of at
most 1024 links; a directory is one node, its links sorted by name.

Sources: the UnixFS and DAG-PB specifications (ipfs/specs, ipld/specs).
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nunet_node.results.errors import TreeTooLargeError
from nunet_node.results.manifest import Tree
from nunet_node.results.plan import chunk_sizes
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import BLOCK_DECODE_BYTES_MAX

LINKS_MAX: Final = 1024
"""Links of one node of a file."""

_DAG_PB: Final = b"\x01\x70\x12\x20"
_DIRECTORY: Final = 1
_FILE: Final = 2
_EMPTY: Final = Cid.of_raw(b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What stands for a file or a directory: its id, and how much lies below it."""

    cid: bytes
    """The binary id: raw for a single chunk, DAG-PB for anything else."""
    file_bytes: int
    """Length of the contents, without the nodes above them."""
    dag_bytes: int
    """Length of all blocks, each counted wherever it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unixfs:
    """A tree's root, and every block that is not a chunk of it, root last."""

    root: Node
    blocks: tuple[tuple[bytes, bytes], ...]
    leaves: tuple[Cid, ...]
    """The chunks, each once, in the order of the files."""

    @property
    def text(self) -> str:
        """The root's id as other tools write it."""
        return cid_text(self.root.cid)


def cid_text(cid: bytes) -> str:
    """Return a binary id in multibase base32, as other tools write it."""
    return "b" + base64.b32encode(cid).decode().lower().rstrip("=")


def of_tree(tree: Tree) -> Unixfs:
    """Return the UnixFS form of a tree; whether a file may be executed is not carried.

    Raises:
        TreeTooLargeError: a directory has more entries than one block holds.
    """
    maker = _Maker()
    top: dict[str, object] = {}
    for file in tree.files:
        *directories, name = file.path.split("/")
        place = top
        for each in directories:
            inner = place.setdefault(each, {})
            assert isinstance(inner, dict)  # noqa: S101 - for the type checker
            place = inner
        place[name] = maker.file(list(chunk_sizes(file)))
    root = maker.directory(top)
    return Unixfs(
        root=root, blocks=tuple(maker.blocks.items()), leaves=tuple(maker.leaves)
    )


class _Maker:
    """Makes nodes, and keeps their blocks."""

    def __init__(self) -> None:
        self.blocks: dict[bytes, bytes] = {}
        self.leaves: dict[Cid, None] = {}

    def file(self, chunks: Sequence[tuple[Cid, int]]) -> Node:
        self.leaves.update(dict.fromkeys(cid for cid, _ in chunks or [(_EMPTY, 0)]))
        if not chunks:
            return Node(cid=_EMPTY.to_bytes(), file_bytes=0, dag_bytes=0)
        nodes = [
            Node(cid=cid.to_bytes(), file_bytes=size, dag_bytes=size)
            for cid, size in chunks
        ]
        while len(nodes) > 1:
            nodes = [
                self._above(nodes[start : start + LINKS_MAX])
                for start in range(0, len(nodes), LINKS_MAX)
            ]
        return nodes[0]

    def directory(self, entries: dict[str, object]) -> Node:
        # The block of a directory comes after those of what it holds.
        links: list[tuple[str, Node]] = []
        for name in sorted(entries, key=str.encode):
            entry = entries[name]
            if isinstance(entry, dict):
                entry = self.directory(entry)
            assert isinstance(entry, Node)  # noqa: S101 - for the type checker
            links.append((name, entry))
        return self._node(links, _number(1, _DIRECTORY), 0)

    def _above(self, parts: Sequence[Node]) -> Node:
        size = sum(part.file_bytes for part in parts)
        data = _number(1, _FILE) + _number(3, size)
        data += b"".join(_number(4, part.file_bytes) for part in parts)
        return self._node([("", part) for part in parts], data, size)

    def _node(
        self, links: Iterable[tuple[str, Node]], data: bytes, file_bytes: int
    ) -> Node:
        links = list(links)
        # DAG-PB puts the links before the data, against the order of their numbers.
        block = b"".join(_bytes(2, _link(name, node)) for name, node in links)
        block += _bytes(1, data)
        if len(block) > BLOCK_DECODE_BYTES_MAX:
            raise TreeTooLargeError(f"a directory of {len(links)} entries")
        cid = _DAG_PB + hashlib.sha256(block).digest()
        self.blocks[cid] = block
        below = sum(node.dag_bytes for _, node in links)
        return Node(cid=cid, file_bytes=file_bytes, dag_bytes=len(block) + below)


def _link(name: str, node: Node) -> bytes:
    return _bytes(1, node.cid) + _bytes(2, name.encode()) + _number(3, node.dag_bytes)


def _number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def _bytes(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """Return an unsigned LEB128 number, as protobuf and multiformats write it."""
    out = bytearray()
    while value >> 7:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
