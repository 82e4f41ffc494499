"""Giving a bulk connection to whoever may read something: `/nunet/bulk/1`.

A peer asks on a libp2p stream, which has proved who it is; the answer names a port, a
ticket for one connection and its key, under which the requests and answers of
`/nunet/blocks/1` go on there. Rule: a ticket is no grant. Each block is served under
the same grant, by the same words, as on a stream, and asked for when it is sent.
"""

from collections.abc import Callable
from typing import Annotated, Final

import msgspec
import trio

from nunet_node.network.bulk.channel import Channel
from nunet_node.network.bulk.dialling import BulkRefused, dial
from nunet_node.network.bulk.door import Door
from nunet_node.network.bulk.tickets import KEY_BYTES, TICKET_BYTES
from nunet_node.network.port import Host
from nunet_node.network.stream import Stream
from nunet_node.protocol.messages import BULK_PROTOCOL
from nunet_node.runtime.exchange.requests import (
    FRAME_BYTES_MAX,
    Block,
    No,
    Want,
    load_block,
)
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record, decode_record, encode_record

IDLE_S: Final = 60
"""How long a peer may leave its bulk connection without a request."""

ASK_S: Final = 10
"""How long a peer may take to say that it wants a ticket, or to give one."""


class TicketWanted(Record, tag_field="kind", tag="ticket-wanted"):
    """Ask for a bulk connection."""


class Ticket(Record, tag_field="kind", tag="ticket"):
    """Come to this port, show this ticket, and seal under this key."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    name: Annotated[
        bytes, msgspec.Meta(min_length=TICKET_BYTES, max_length=TICKET_BYTES)
    ]
    key: Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]


class BulkServer:
    """Hands out tickets to those who may read something, and serves who comes.

    Args:
        store: where blocks are.
        reads_any: tells whether a peer may read anything at all.
        may_read: tells whether a peer may have a block; runs in a thread.
    """

    def __init__(
        self,
        store: BlockStore,
        reads_any: Callable[[str], bool],
        may_read: Callable[[str, Cid], bool],
    ) -> None:
        self._store = store
        self._reads_any = reads_any
        self._may_read = may_read
        self.door = Door(self._answer)

    def serve(self, host: Host) -> None:
        """Let peers ask for tickets."""
        host.serve(BULK_PROTOCOL, self._give)

    async def _give(self, stream: Stream) -> None:
        with trio.move_on_after(ASK_S):
            data = await stream.receive()
            if data is None:
                return
            decode_record(TicketWanted, data, bytes_max=FRAME_BYTES_MAX)
            ticket = None
            if self._reads_any(stream.peer_id):
                ticket = self.door.ticket_for(stream.peer_id)
            if ticket is None:
                await stream.send(encode_record(No()))
                return
            said = Ticket(port=self.door.port, name=ticket.name, key=ticket.key)
            await stream.send(encode_record(said))

    def _answer(self, peer_id: str, channel: Channel) -> None:
        """Answer a peer's requests, in a thread of its own."""
        while (data := channel.receive_frame(within_s=IDLE_S)) is not None:
            want = decode_record(Want, data, bytes_max=FRAME_BYTES_MAX)
            for cid in want.cids:
                found = load_block(self._store, cid, self._allowed(peer_id))
                if found is None:
                    channel.send(encode_record(No()))
                else:
                    channel.send(encode_record(Block(size_bytes=len(found))))
                    channel.send(found)

    def _allowed(self, peer_id: str) -> Callable[[Cid], bool]:
        return lambda cid: self._may_read(peer_id, cid)


async def open_channel(host: Host, peer_id: str) -> Channel:
    """Return a bulk connection to a peer that has granted us something.

    Raises:
        PeerError: it gives none, or it cannot be reached so; streams may still serve.
    """
    ip = host.ip_of(peer_id)
    if ip is None:
        raise BulkRefused(f"no address of {peer_id} to dial")
    said: Ticket | No = No()
    async with await host.open_stream(peer_id, BULK_PROTOCOL) as stream:
        await stream.send(encode_record(TicketWanted()))
        with trio.move_on_after(ASK_S):
            data = await stream.receive()
            said = decode_record(Ticket | No, data or b"", bytes_max=FRAME_BYTES_MAX)
    if isinstance(said, Ticket):
        # Nothing may be waited for after this, lest a cancelled call lose the socket.
        return await trio.to_thread.run_sync(_dial, ip, said)
    raise BulkRefused(f"{peer_id} gives no bulk connection")


def _dial(ip: str, said: Ticket) -> Channel:
    return dial(ip, said.port, name=said.name, key=said.key)
