"""Asking a peer whether it has something for everybody.

Rule: the answer is the block itself, checked; a peer that says so and sends another has
nothing.
"""

from contextlib import aclosing

from nunet_node.network.port import Host
from nunet_node.protocol.messages import BLOCKS_PROTOCOL
from nunet_node.runtime.exchange.requests import BlockRefusedError, request
from nunet_node.wire.cid import Cid


async def gives(host: Host, peer_id: str, cid: Cid) -> bool:
    """Tell whether a connected peer gives us a block.

    Raises:
        PeerError: it does not answer, or breaks the rules of the protocol.
    """
    stream = await host.open_stream(peer_id, BLOCKS_PROTOCOL)
    async with stream, aclosing(request(stream, (cid,))) as blocks:
        try:
            _, data = await anext(blocks)
        except BlockRefusedError:
            return False
    return cid.matches(data)
