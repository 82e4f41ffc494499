"""What a fetcher wants, in which order, and whether a block is what it wanted.

Rule: a block is checked for its length and its hash before a byte of it is used;
who sent it does not matter. The manifest says both beforehand, so that a sender who
lies is found out at its first block, and never makes the reader hold more than one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nunet_node.results.errors import BlockError, ManifestError
from nunet_node.results.manifest import CHUNK_BYTES, FileEntry, Tree
from nunet_node.wire.cid import Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedBlock:
    """A chunk to fetch."""

    cid: Cid
    size_bytes: int


def wanted_blocks(tree: Tree) -> tuple[WantedBlock, ...]:
    """Return every chunk of a tree once, in the order in which files need them.

    Raises:
        ManifestError: one id is given two lengths, so that one of them is a lie.
    """
    sizes: dict[Cid, int] = {}
    for file in tree.files:
        for cid, size_bytes in chunk_sizes(file):
            if sizes.setdefault(cid, size_bytes) != size_bytes:
                raise ManifestError(f"chunk {cid} is given two lengths")
    return tuple(
        WantedBlock(cid=cid, size_bytes=size_bytes) for cid, size_bytes in sizes.items()
    )


def missing_blocks(tree: Tree, has: Callable[[Cid], bool]) -> tuple[WantedBlock, ...]:
    """Return the chunks that are still to be fetched; this is how a fetch resumes."""
    return tuple(wanted for wanted in wanted_blocks(tree) if not has(wanted.cid))


def check_block(wanted: WantedBlock, data: bytes) -> None:
    """Refuse a block that is not the wanted one.

    Raises:
        BlockError: its length or its hash is another.
    """
    if len(data) != wanted.size_bytes:
        raise BlockError(
            f"block {wanted.cid} has {len(data)} bytes, not {wanted.size_bytes}"
        )
    if not wanted.cid.matches(data):
        raise BlockError(f"{len(data)} bytes are not those named {wanted.cid}")


def chunk_sizes(file: FileEntry) -> Iterator[tuple[Cid, int]]:
    """Yield each chunk of a file with its length; only the last may be short."""
    rest_bytes = file.size_bytes
    for cid in file.chunks:
        yield cid, min(rest_bytes, CHUNK_BYTES)
        rest_bytes -= CHUNK_BYTES
