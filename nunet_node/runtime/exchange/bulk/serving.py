"""Serving blocks on bulk connections, whichever side dials: `/nunet/bulk/1`.

A peer asks on a libp2p stream, which has proved who it is; the answer names a port, a
ticket for one connection and its key, under which the requests and answers of
`/nunet/blocks/1` go on there. To whom we hand something over, the port and the ticket
may be its own, and we go there to be asked. Rule: a ticket is no grant. Each block is
served under the same grant, by the same words, as on a stream, and asked for when it
is sent.
"""

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final

import msgspec
import trio

from nunet_node.errors import PeerError
from nunet_node.network.bulk.channel import Channel
from nunet_node.network.bulk.dialling import BulkRefused, dial
from nunet_node.network.bulk.door import CHANNELS_PER_PEER_MAX, Door, in_thread
from nunet_node.network.bulk.tickets import KEY_BYTES, TICKET_BYTES
from nunet_node.network.port import Host
from nunet_node.network.stream import Stream
from nunet_node.protocol.messages import BULK_PROTOCOL
from nunet_node.runtime.exchange.bulk.offers import Offers
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


VISITS_MAX: Final = 8
"""Connections on which we are asked for what we hand over: a thread and some megabytes
each. Whoever finds all taken asks on its stream."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
TicketName = Annotated[
    bytes, msgspec.Meta(min_length=TICKET_BYTES, max_length=TICKET_BYTES)
]
TicketKey = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]


_log = logging.getLogger("nunet_node.runtime.exchange.bulk")


class TicketWanted(Record, tag_field="kind", tag="ticket-wanted"):
    """Ask for a bulk connection."""


class Ticket(Record, tag_field="kind", tag="ticket"):
    """Come to this port, show this ticket, and seal under this key."""

    port: Port
    name: TicketName
    key: TicketKey


class Come(Record, tag_field="kind", tag="come"):
    """Come to this port with this ticket, and be asked for what you hand over."""

    port: Port
    name: TicketName
    key: TicketKey


class Coming(Record, tag_field="kind", tag="coming"):
    """We are there, and have shown the ticket."""


class BulkServer:
    """Hands out tickets to those who may read something, and serves who comes.

    Args:
        store: where blocks are.
        reads_any: tells whether a peer may read anything at all.
        may_read: tells whether a peer may have a block; runs in a thread.
        offers: what we hand over just now.
    """

    def __init__(
        self,
        store: BlockStore,
        reads_any: Callable[[str], bool],
        may_read: Callable[[str, Cid], bool],
        offers: Offers | None = None,
    ) -> None:
        self._store = store
        self._reads_any = reads_any
        self._may_read = may_read
        self._offers = offers or Offers()
        self._going: Counter[str] = Counter()
        self._threads = trio.CapacityLimiter(VISITS_MAX)
        self.door = Door(self._answer)

    def serve(self, host: Host) -> None:
        """Let peers ask for tickets, or give us theirs."""
        host.serve(BULK_PROTOCOL, partial(self._converse, host))

    async def _converse(self, host: Host, stream: Stream) -> None:
        data: bytes | None = None
        with trio.move_on_after(ASK_S):
            data = await stream.receive()
        if data is None:
            return
        said: TicketWanted | Come = decode_record(
            TicketWanted | Come, data, bytes_max=FRAME_BYTES_MAX
        )
        if isinstance(said, Come):
            await self._visit(stream, host.ip_of(stream.peer_id), said)
        else:
            await self._give(stream)

    async def _give(self, stream: Stream) -> None:
        peer_id, ticket = stream.peer_id, None
        if self._reads_any(peer_id) or self._offers.any_to(peer_id):
            ticket = self.door.ticket_for(peer_id)
        said: Ticket | No = No()
        if ticket is not None:
            said = Ticket(port=self.door.port, name=ticket.name, key=ticket.key)
        with trio.move_on_after(ASK_S):
            await stream.send(encode_record(said))

    async def _visit(self, stream: Stream, ip: str | None, said: Come) -> None:
        """Go to a peer that takes something from us, if there is a place."""
        peer_id, going = stream.peer_id, self._going
        room = going.total() < VISITS_MAX and going[peer_id] < CHANNELS_PER_PEER_MAX
        if ip is None or not room or not self._offers.any_to(peer_id):
            await stream.send(encode_record(No()))
            return
        going[peer_id] += 1
        try:
            await self._be_asked(stream, ip, said)
        finally:
            going[peer_id] -= 1
            if not going[peer_id]:
                del going[peer_id]

    async def _be_asked(self, stream: Stream, ip: str, said: Come) -> None:
        peer_id = stream.peer_id
        try:
            channel = await trio.to_thread.run_sync(_dial, ip, said)
        except PeerError as error:
            _log.info("%s asks by streams: %s", peer_id, error)
            await stream.send(encode_record(No()))
            return
        try:
            with self._offers.cutting(peer_id, channel):
                await stream.send(encode_record(Coming()))
                answer = partial(self._answer, peer_id, channel)
                await in_thread(channel, answer, self._threads)
        finally:
            channel.close()

    def _answer(self, peer_id: str, channel: Channel) -> None:
        """Answer a peer's requests, in a thread of its own."""
        while (data := channel.receive_frame(within_s=IDLE_S)) is not None:
            want = decode_record(Want, data, bytes_max=FRAME_BYTES_MAX)
            for cid in want.cids:
                found = self._load(peer_id, cid)
                if found is None:
                    channel.send(encode_record(No()))
                else:
                    said = encode_record(Block(size_bytes=len(found)))
                    channel.send(said, found)

    def _load(self, peer_id: str, cid: Cid) -> bytes | None:
        offered = self._offers.load(peer_id, cid)
        if offered is not None:
            return offered
        allowed = partial(self._may_read, peer_id)
        return load_block(self._store, cid, allowed)


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


def _dial(ip: str, said: Ticket | Come) -> Channel:
    return dial(ip, said.port, name=said.name, key=said.key)
