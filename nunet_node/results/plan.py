"""What a fetcher wants, of whom, in which order, and whether a block is that.

Rule: a block is checked for its length and its hash before a byte of it is used;
who sent it does not matter. The manifest says both beforehand, so that a sender who
lies is found out at its first block, and never makes the reader hold more than one.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from nunet_node.results.errors import BlockError, ManifestError
from nunet_node.results.manifest import CHUNK_BYTES, FileEntry, Tree
from nunet_node.wire.cid import Cid

HANDS_MAX: Final = 2
"""Sources that one block is asked of at the same time: the second one is there in case
the first is slow, and a third would only waste what the others send."""


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


def check_block(wanted: WantedBlock, data: bytes | memoryview) -> None:
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


class Shares:
    """Divides wanted blocks among the sources that a fetch has.

    Invariant: a block that is lacking waits, or is in some source's hands. Where
    nothing waits any more, a source with empty hands takes what another one still
    owes, so that the slowest does not hold up the end.
    """

    def __init__(self, wanted: Iterable[WantedBlock]) -> None:
        self._waiting = OrderedDict((block.cid, block) for block in wanted)
        self._hands: dict[str, dict[Cid, WantedBlock]] = {}
        self._refused: dict[str, set[Cid]] = {}

    @property
    def done(self) -> bool:
        """Whether every block has arrived."""
        return not self._waiting and not any(self._hands.values())

    def join(self, source: str) -> None:
        """Count on a source."""
        self._hands.setdefault(source, {})
        self._refused.setdefault(source, set())

    def leave(self, source: str) -> None:
        """Count on a source no longer; what it owes is wanted of others, and first."""
        for block in reversed(self._hands.pop(source, {}).values()):
            self._give_back(block)

    def take(self, source: str, blocks_max: int) -> tuple[WantedBlock, ...]:
        """Return what to ask of a source next; nothing if there is nothing for it."""
        refused, hands = self._refused[source], self._hands[source]
        taken: list[WantedBlock] = []
        for cid, block in self._waiting.items():
            if len(taken) >= blocks_max:
                break
            if cid not in refused:
                taken.append(block)
        if not taken and not hands:
            taken = self._owed_by_others(refused)
        for block in taken:
            self._waiting.pop(block.cid, None)
            hands[block.cid] = block
        return tuple(taken)

    def arrived(self, cid: Cid) -> bool:
        """Take note of a block that is here, and tell whether it was lacking."""
        lacking = self._waiting.pop(cid, None) is not None
        for hands in self._hands.values():
            lacking = hands.pop(cid, None) is not None or lacking
        return lacking

    def refused(self, source: str, cid: Cid) -> None:
        """Take note that a source has no such block."""
        self._refused[source].add(cid)
        block = self._hands[source].pop(cid, None)
        if block is not None:
            self._give_back(block)

    def spent(self, source: str) -> bool:
        """Tell whether nothing that is lacking can come from a source."""
        refused = self._refused[source]
        places = (self._waiting, *self._hands.values())
        return all(cid in refused for place in places for cid in place)

    def urge(self, cid: Cid) -> None:
        """Let a block come before all others that wait."""
        if cid in self._waiting:
            self._waiting.move_to_end(cid, last=False)

    def _owed_by_others(self, refused: set[Cid]) -> list[WantedBlock]:
        for hands in self._hands.values():
            for cid, block in reversed(hands.items()):
                holders = sum(cid in each for each in self._hands.values())
                if holders < HANDS_MAX and cid not in refused:
                    return [block]
        return []

    def _give_back(self, block: WantedBlock) -> None:
        if not any(block.cid in hands for hands in self._hands.values()):
            self._waiting[block.cid] = block
            self.urge(block.cid)
