"""A result of which every block is in this home's own store already.

Rule: it is opened by what its provider signed and nothing else, each block is checked
as if it had just come, and whatever is not right here is left to the network.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.identity.statement import Statement
from nunet_node.jobs.statements import Notice, Receipt, open_receipt
from nunet_node.protocol.order import Order
from nunet_node.results.errors import BlockError, SealError
from nunet_node.results.sealing import Seal
from nunet_node.runtime.exchange.bulk.writing import write_stored
from nunet_node.runtime.peer import Peer
from nunet_node.runtime.wallet.reading import seal_of
from nunet_node.storage.errors import BlockDamagedError, BlockMissingError
from nunet_node.storage.materialise import check_target
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import FRAME_BYTES_MAX

RECEIPT_FILE: Final = "receipt.cbor"
"""Where the provider's signed receipt lies in a fetched result."""

_log = logging.getLogger("nunet_node.client.at_hand")


@dataclass(frozen=True, slots=True, kw_only=True)
class AtHand:
    """What is needed to write a result that is here, as far as that is known."""

    root: Cid
    seal: Seal | None
    beside: Mapping[str, bytes]
    """The provider's receipt, if an earlier fetch still lies where it was put."""

    @property
    def has_receipt(self) -> bool:
        """Whether the provider's receipt is here, too."""
        return RECEIPT_FILE in self.beside


async def at_hand(peer: Peer, order: Order) -> AtHand | None:
    """Return what opens an order's result, without asking anybody; None if nothing."""
    signed = await trio.to_thread.run_sync(_fetched_receipt, order)
    told: Receipt | Notice | None = signed.payload if signed else order.notice
    if told is None or told.result is None:
        return None
    try:
        seal = seal_of(told, peer.users, peer.holdings)
    except SealError:
        return None
    beside = {RECEIPT_FILE: signed.data} if signed else {}
    return AtHand(root=told.result, seal=seal, beside=beside)


async def write_at_hand(peer: Peer, found: AtHand, target: Path) -> bool:
    """Write a result from this home's store; tell whether all of it was there.

    Raises:
        PeerError: the target is taken or cannot be written.
    """
    store = peer.transfers.store

    def write() -> None:
        check_target(target)
        write_stored(store, found.root, found.seal, target, found.beside)

    try:
        await trio.to_thread.run_sync(write)
    except (BlockMissingError, BlockDamagedError, BlockError, SealError) as error:
        _log.info("not all of the result is here: %s", error)
        return False
    return True


def _fetched_receipt(order: Order) -> Statement[Receipt] | None:
    """Return the receipt that an earlier fetch put beside the result. Blocks."""
    if not order.fetched_to or order.award is None:
        return None
    try:
        with Path(order.fetched_to, RECEIPT_FILE).open("rb") as file:
            data = file.read(FRAME_BYTES_MAX + 1)
        signed = open_receipt(data)
    except (OSError, PeerError):
        # It was moved, or is another file by now.
        return None
    said = signed.payload
    about = (signed.issuer, said.job, said.result)
    known = (order.award.provider, order.job, order.result or said.result)
    return signed if about == known else None
