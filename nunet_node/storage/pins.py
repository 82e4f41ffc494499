"""Which blocks are kept, and for whom.

Rule: a block lives as long as a pin names it. Jobs share blocks, so that deleting
one job's tree must not take a block that another still needs; a pin is the list of
the ids that one label keeps, and a block goes when the last list naming it does.
One process at a time keeps the pins of a store. A pin is written without waiting for
the disk: whoever opens the pins knows from a record of its own what must be kept, and
pins anew what `keeps` does not confirm. What a power cut left half-written is told by
the digest in front of it, and counts as no pin.
"""

import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Final

from nunet_node.errors import MisuseError
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockMissingError, StoreUnavailableError
from nunet_node.storage.files import make_directory, why, write_new
from nunet_node.wire.cid import CID_BYTES, Cid, is_cid

LABEL: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
"""What a label may be: a job id with a word about the purpose, safe as a file name."""

_DIGEST_BYTES: Final = 32
_UNFINISHED: Final = ".new"
"""Name of the pin that is being written; no label begins with a dot."""


class Pins:
    """The pins of one store; calls block on the disk and take turns."""

    def __init__(self, root: Path, store: BlockStore) -> None:
        """Read the pins below ``root``, or make the directory.

        Raises:
            StoreUnavailableError: it cannot be made or read.
        """
        self._root = root
        self._store = store
        self._turn = threading.Lock()
        try:
            make_directory(root)
            (root / _UNFINISHED).unlink(missing_ok=True)
            read = {path.name: _read(path) for path in root.iterdir()}
        except OSError as error:
            raise StoreUnavailableError(f"cannot open {root}: {why(error)}") from error
        self._pins = {label: cids for label, cids in read.items() if cids is not None}
        self._holders = Counter(chain.from_iterable(self._pins.values()))

    def labels(self) -> tuple[str, ...]:
        """Return every label, in alphabetical order."""
        with self._turn:
            return tuple(sorted(self._pins))

    def keeps(self, label: str, cid: Cid) -> bool:
        """Tell whether a label names a block."""
        with self._turn:
            return cid.to_bytes() in self._pins.get(label, ())

    def pin(self, label: str, cids: Iterable[Cid]) -> None:
        """Keep blocks under a label; an earlier pin of it is replaced.

        Raises:
            BlockMissingError: a block is not in the store, perhaps because another
                pin was its last one until just now; put it again and pin again.
            StoreUnavailableError: the disk is full, read-only or failing.
        """
        _check_label(label)
        with self._turn:
            wanted = frozenset(map(self._present, cids))
            self._write(label, wanted)
            replaced = self._pins.get(label, frozenset())
            self._pins[label] = wanted
            self._holders.update(wanted)
            self._let_go(replaced)

    def unpin(self, label: str) -> int:
        """Forget a label, and delete the blocks that no other one keeps.

        Returns:
            How many blocks were deleted; 0 when there is no such label.

        Raises:
            StoreUnavailableError: the disk is read-only or failing.
        """
        _check_label(label)
        with self._turn:
            try:
                (self._root / label).unlink(missing_ok=True)
            except OSError as error:
                raise StoreUnavailableError(
                    f"cannot unpin {label}: {why(error)}"
                ) from error
            return self._let_go(self._pins.pop(label, frozenset()))

    def sweep(self) -> int:
        """Delete every block that no pin keeps, and return how many there were.

        Only for the start of a process: it takes blocks that were put and are not
        yet pinned.
        """
        with self._turn:
            held = self._holders
            loose = [c for c in self._store.cids() if c.to_bytes() not in held]
            return sum(self._store.delete(cid) for cid in loose)

    def clear(self, grace_s: int) -> int:
        """Delete every block that no pin keeps and nobody put lately.

        Unlike `sweep` it takes nothing that is on its way: a block that was put
        within ``grace_s`` stays, and pinning one that went meanwhile says so.
        """
        gone = self._store.clear(
            lambda cid: cid.to_bytes() in self._holders,
            before_s=time.time() - grace_s,
            turn=self._turn,
        )
        return gone.blocks

    def _present(self, cid: Cid) -> bytes:
        if not self._store.has(cid):
            raise BlockMissingError(f"no block {cid} to pin")
        return cid.to_bytes()

    def _write(self, label: str, cids: frozenset[bytes]) -> None:
        unfinished = self._root / _UNFINISHED
        try:
            unfinished.unlink(missing_ok=True)
            data = b"".join(sorted(cids))
            write_new(unfinished, _digest(data) + data)
            unfinished.rename(self._root / label)
        except OSError as error:
            raise StoreUnavailableError(f"cannot pin {label}: {why(error)}") from error

    def _let_go(self, cids: frozenset[bytes]) -> int:
        deleted = 0
        for cid in cids:
            self._holders[cid] -= 1
            if not self._holders[cid]:
                del self._holders[cid]
                deleted += self._store.delete(Cid.from_bytes(cid))
        return deleted


def _check_label(label: str) -> None:
    if not LABEL.fullmatch(label):
        raise MisuseError(f"a pin called {label!r}")


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _read(path: Path) -> frozenset[bytes] | None:
    """Return what a pin names, as binary ids; None for one that is not whole."""
    written = path.read_bytes()
    digest, data = written[:_DIGEST_BYTES], written[_DIGEST_BYTES:]
    if digest != _digest(data):
        # The layout before this one had no digest, and was synced.
        data = written
    found = frozenset(
        data[start : start + CID_BYTES] for start in range(0, len(data), CID_BYTES)
    )
    return found if all(map(is_cid, found)) else None
