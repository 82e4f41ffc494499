"""A result, got from wherever it is: this home's store, its provider, its holders.

Rule: leave to read ends with a connection, and what was fetched does not; so after a
break leave is asked for again, as long as that helps.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from nunet_node.client.asking import Questions, check_receipt
from nunet_node.client.errors import ClientError
from nunet_node.client.fetching.at_hand import RECEIPT_FILE, at_hand, write_at_hand
from nunet_node.client.fetching.copies import OnElsewhere, ReadElsewhere
from nunet_node.network.port import NetworkError
from nunet_node.network.stream import StreamBroken
from nunet_node.protocol.effects import ReadGranted
from nunet_node.protocol.order import Order
from nunet_node.runtime.exchange.bulk.gathering import Listener
from nunet_node.runtime.peer import Peer
from nunet_node.runtime.wallet.reading import seal_of
from nunet_node.wire.cid import Cid


async def collect(
    peer: Peer,
    questions: Questions,
    order: Order,
    target: Path,
    listener: Listener,
    on_elsewhere: OnElsewhere,
) -> None:
    """Get an order's result to a target; raises as `JobHandle.fetch`."""
    found = await at_hand(peer, order)
    if found and found.has_receipt and await write_at_hand(peer, found, target):
        on_elsewhere(ReadElsewhere())
        return
    try:
        await _fetch(peer, questions, order, target, listener, on_elsewhere)
    except (ClientError, NetworkError, StreamBroken):
        # Only the receipt is lacking, which a new fetch brings once there is somebody.
        if found is None or not await write_at_hand(peer, found, target):
            raise
        on_elsewhere(ReadElsewhere(has_receipt=found.has_receipt))


async def _fetch(
    peer: Peer,
    questions: Questions,
    order: Order,
    target: Path,
    listener: Listener,
    on_elsewhere: OnElsewhere,
) -> None:
    """Fetch from whoever grants it; after a break, as long as that brings something."""
    come = 0

    def hear(done: int, total: int) -> None:
        nonlocal come
        come = max(come, done)
        listener.on_progress(done, total)

    while True:
        before = come
        granted = await questions.read(on_elsewhere)
        check_receipt(order, granted.receipt)
        more = partial(_copies, questions, order, granted.receipt.result)
        hearing = replace(listener, on_progress=hear, more_peers=more)
        try:
            await _fetch_granted(peer, granted, target, hearing)
        except (NetworkError, StreamBroken):
            if come == before:
                raise
        else:
            return


async def _fetch_granted(
    peer: Peer, granted: ReadGranted, target: Path, listener: Listener
) -> None:
    await peer.transfers.fetch(
        (granted.peer_id,),
        granted.receipt.result,
        target,
        seal=seal_of(granted.receipt, peer.users, peer.holdings),
        beside={RECEIPT_FILE: granted.receipt_data},
        listener=listener,
    )


async def _copies(questions: Questions, order: Order, root: Cid) -> Sequence[str]:
    """Return who else grants this very result to us."""
    if order.spec is None or not order.spec.replicas:
        return ()
    return await questions.copies(root)
