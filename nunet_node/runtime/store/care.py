"""Counting, checking and clearing the blocks of a home.

Rule: clearing takes what nothing that is recorded needs, and nothing that is younger
than a command may take to record what it needs it for; a damaged block is set aside,
never served and never silently gone.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Final

from nunet_node.protocol.order import Order
from nunet_node.runtime.exchange.blocks import blocks_under
from nunet_node.runtime.home import Home
from nunet_node.runtime.ledger import read_orders
from nunet_node.runtime.store.ahead import read_ahead
from nunet_node.storage.blocks import BlockStore, StoreUsage
from nunet_node.storage.errors import BlockDamagedError, BlockMissingError
from nunet_node.wire.cid import Cid

GRACE_S: Final = 3600
"""Age below which a block stays: a submit that reads gigabytes of inputs records its
order within that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of reading every block again."""

    blocks: int = 0
    """Those that are whole."""
    size_bytes: int = 0
    damaged: tuple[Cid, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A tree that the home knows of: whose job's, which, and how much is here."""

    job: str
    what: str
    """``inputs`` or ``result``."""
    root: Cid
    here: StoreUsage


def held(home: Home, store: BlockStore) -> tuple[Held, ...]:
    """Return the trees of this home's own jobs of which something is here."""
    found = []
    for order in read_orders(home).values():
        for what, root in _trees(order):
            blocks = blocks_under(store, root)
            if blocks:
                found.append(
                    Held(
                        job=order.job, what=what, root=root, here=_usage(store, blocks)
                    )
                )
    return tuple(found)


def check(store: BlockStore) -> Checked:
    """Read every block and hash it; what is damaged is set aside.

    Raises:
        StoreUnavailableError: the disk fails.
    """
    checked = partial(_check_one, store)
    found = tuple(read_ahead(checked, attrgetter("size_bytes"), store.cids()))
    return Checked(
        blocks=sum(each.blocks for each in found),
        size_bytes=sum(each.size_bytes for each in found),
        damaged=tuple(cid for each in found for cid in each.damaged),
    )


def clear(home: Home, store: BlockStore, *, grace_s: int = GRACE_S) -> StoreUsage:
    """Delete the blocks that none of this home's jobs under way needs.

    Results that were fetched are files by then; fetching one again brings its blocks
    back.

    Args:
        home: whose jobs.
        store: its users' store, not that of its node.
        grace_s: how old a block must be.

    Returns:
        What was deleted.
    """
    needed: set[Cid] = set()
    for order in read_orders(home).values():
        if not order.ended:
            for _, root in _trees(order):
                needed |= blocks_under(store, root)
    before_s = time.time() - grace_s
    return store.clear(needed.__contains__, before_s=before_s)


def _check_one(store: BlockStore, cid: Cid) -> Checked:
    try:
        data = store.get(cid)
    except BlockDamagedError:
        return Checked(damaged=(cid,))
    except BlockMissingError:
        # Another process cleared it between its name and its bytes.
        return Checked()
    return Checked(blocks=1, size_bytes=len(data))


def _trees(order: Order) -> Iterable[tuple[str, Cid]]:
    if order.spec is not None and order.spec.inputs is not None:
        yield "inputs", order.spec.inputs
    if order.result is not None:
        yield "result", order.result


def _usage(store: BlockStore, blocks: Iterable[Cid]) -> StoreUsage:
    sizes = [store.size_bytes(cid) for cid in blocks if store.has(cid)]
    return StoreUsage(blocks=len(sizes), size_bytes=sum(sizes))
