"""A bulk connection to a peer that hands something over, whichever side can dial.

It is asked to come to our door; where we have none, or it finds no way there, we go to
its door as any fetcher would. Either may be behind a router that lets nobody in. Rule:
whether a way leads anywhere is found out within seconds, and streams serve if none
does.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.network.bulk.channel import Channel
from nunet_node.network.bulk.door import Door, Visit
from nunet_node.network.port import Host
from nunet_node.protocol.messages import BULK_PROTOCOL
from nunet_node.runtime.exchange.bulk.serving import Come, Coming, open_channel
from nunet_node.runtime.exchange.requests import FRAME_BYTES_MAX, No
from nunet_node.wire.schema import decode_record, encode_record

COME_S: Final = 12
"""How long a peer may take to come: less than a ticket is good for, and enough for a
dial that its router drops to be given up."""

_log = logging.getLogger("nunet_node.runtime.exchange.bulk")


class Meeting:
    """Where bulk connections to peers that hand something over come about.

    Args:
        host: where the peers are connected.
        door: ours, open or not.
    """

    def __init__(self, host: Host, door: Door) -> None:
        self._host = host
        self._door = door

    @asynccontextmanager
    async def channel(self, peer_id: str) -> AsyncIterator[Channel]:
        """Yield a bulk connection to a peer; it is closed afterwards.

        Raises:
            PeerError: there is no way in either direction.
        """
        with self._door.expecting(peer_id) as visit:
            came = await self._visited(peer_id, visit) if visit is not None else None
            if came is not None:
                yield came
                return
        channel = await open_channel(self._host, peer_id)
        try:
            yield channel
        finally:
            channel.close()

    async def _visited(self, peer_id: str, visit: Visit) -> Channel | None:
        """Ask a peer to come; return its connection, or None if it does not."""
        said = Come(port=self._door.port, name=visit.ticket.name, key=visit.ticket.key)
        try:
            with trio.move_on_after(COME_S):
                async with await self._host.open_stream(
                    peer_id, BULK_PROTOCOL
                ) as stream:
                    await stream.send(encode_record(said))
                    data = await stream.receive() or b""
                answer: Coming | No = decode_record(
                    Coming | No, data, bytes_max=FRAME_BYTES_MAX
                )
                if isinstance(answer, Coming):
                    return await visit.channel()
        except PeerError as error:
            _log.info("%s does not come: %s", peer_id, error)
        return None
