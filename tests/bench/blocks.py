"""``python -m tests.bench.blocks``: what a store of a hundred thousand blocks costs.

The yardstick of the scans is listing the same names and asking for the length of each
file, which no scan of plain files can go below; that of reading is the digest of the
same bytes in memory, and that of bytes that lie in the processor's cache already. Blocks
are read one after the other, and as whatever reads many in order reads them: two at the
same time. Each round measures the scans once, and the reads several times in turns.
"""

import hashlib
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from nunet_node.runtime.store.ahead import read_ahead
from nunet_node.runtime.work.custody import Custody
from nunet_node.storage.blocks import BlockStore
from tests.bench.figures import Figures, table

ROUNDS: Final = 5
BLOCKS: Final = 100_000
BLOCK_BYTES: Final = 128
PIN_BLOCKS: Final = 100
"""Blocks of one pinned tree; a thousand trees in all."""
READ_BLOCKS: Final = 128
READ_BYTES: Final = 1 << 20

WALK: Final = "list the names and lengths"
STAT: Final = "stat"
CLEAR: Final = "gc, with nothing to delete"
START: Final = "start: read the pins, sweep"
READ_TURNS: Final = 5
DIGEST: Final = "sha256 in memory, 128 MiB"
CACHED: Final = "sha256 in the cache, 128 MiB"
READ: Final = "verified read, 128 MiB"
AHEAD: Final = "verified read ahead, 128 MiB"


def _fill(root: Path) -> None:
    with BlockStore(root) as store:
        with store.batch(durable=False) as batch:
            cids = [
                batch.put(number.to_bytes(8, "big") * (BLOCK_BYTES // 8))
                for number in range(BLOCKS)
            ]
        custody = Custody(store, root / "pins")
        for number in range(BLOCKS // PIN_BLOCKS):
            start = number * PIN_BLOCKS
            kept = frozenset(cids[start : start + PIN_BLOCKS])
            custody.keep_result(f"{number:032}", 1, kept)


def _walk(root: Path) -> None:
    for shard in os.scandir(root / "blocks"):
        for entry in os.scandir(shard.path):
            entry.stat()


def _start(root: Path) -> None:
    custody = Custody.open(root)
    custody._pins.sweep()
    custody.store.close()


def _each(act: Callable[[Any], object], items: Iterable[Any]) -> None:
    for item in items:
        act(item)


def _timed(act: Callable[[], object]) -> list[float]:
    begun = time.perf_counter()
    act()
    return [time.perf_counter() - begun]


def _round(root: Path, big: Path, figures: Figures) -> None:
    custody = Custody.open(root)
    figures.add(WALK, _timed(lambda: _walk(root)))
    figures.add(STAT, _timed(custody.store.stat))
    figures.add(CLEAR, _timed(lambda: custody.clear(grace_s=3600)))
    custody.store.close()
    figures.add(START, _timed(lambda: _start(root)))
    with BlockStore(big) as store:
        cids = list(store.cids())
        held = [store.peek(cid) for cid in cids]
        acts = {
            DIGEST: lambda: _each(hashlib.sha256, held),
            CACHED: lambda: _each(hashlib.sha256, held[:1] * len(held)),
            READ: lambda: _each(store.get, cids),
            AHEAD: lambda: deque(read_ahead(store.get, len, cids), 0),
        }
        turns: dict[str, list[float]] = {name: [] for name in acts}
        for _ in range(READ_TURNS):
            for name, act in acts.items():
                turns[name] += _timed(act)
        for name, taken in turns.items():
            figures.add(name, taken)


def main() -> int:
    """Measure, and print two tables."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="nunet-store-") as directory:
        root, big = Path(directory) / "many", Path(directory) / "big"
        _fill(root)
        with BlockStore(big) as store, store.batch(durable=False) as batch:
            for number in range(READ_BLOCKS):
                batch.put(number.to_bytes(4, "big") * (READ_BYTES // 4))
        for _ in range(ROUNDS):
            _round(root, big, figures)
    scans = [figures.row(name, (WALK,)) for name in (WALK, STAT, CLEAR, START)]
    yardsticks = (DIGEST, CACHED)
    reads = [figures.row(name, yardsticks) for name in (*yardsticks, READ, AHEAD)]
    rates = [
        f"- {read}: {1 / (figures.ratio(read, name) or 1):.0%} of the rate of {name}"
        for read in (READ, AHEAD)
        for name in yardsticks
    ]
    said = (
        f"{BLOCKS} blocks in one store, {BLOCKS // PIN_BLOCKS} pinned trees:\n",
        table([*_HEAD, f"/ {WALK}"], scans),
        "",
        table([*_HEAD, "/ in memory", "/ in the cache"], reads),
        "",
        *rates,
    )
    sys.stdout.write("\n".join(said) + "\n")
    return 0


_HEAD: Final = ("what", "median ms", "least", "most")

if __name__ == "__main__":
    sys.exit(main())
