"""Attacks on a hand-over by bulk connections, from either side of it.

What each may cost is bounded: by the blocks on their way, by `channel.STALL_S` for a
silent peer, and by the places named in `bulk.serving` and `network.bulk.door`.
"""

from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from nunet_node.network.bulk.channel import Channel
from nunet_node.network.bulk.dialling import dial
from nunet_node.network.stream import StreamBroken
from nunet_node.protocol.messages import BLOCKS_PROTOCOL, BULK_PROTOCOL
from nunet_node.runtime.exchange.blocks import blocks_under
from nunet_node.runtime.exchange.bulk.meeting import Meeting
from nunet_node.runtime.exchange.bulk.offers import Offers
from nunet_node.runtime.exchange.bulk.serving import BulkServer, Come
from nunet_node.runtime.exchange.handover import deliver
from nunet_node.runtime.exchange.requests import Block, No
from nunet_node.wire.limits import BLOCK_BYTES_MAX
from nunet_node.wire.schema import encode_record
from tests.runtime_kit import linked_hosts, store_files
from tests.unit.runtime.exchange.bulk.giver import ALL, Giver
from tests.unit.runtime.exchange.bulk.test_serving import asked
from tests.unit.runtime.exchange.test_handover import Provider, offer

MODEL = b"".join(bytes([number]) * BLOCK_BYTES_MAX for number in range(6))


@pytest.fixture
def root(stores, tmp_path):
    return store_files(stores[1], tmp_path / "files", {"model": MODEL}).root


@pytest.fixture
def blocks(stores, root):
    return {cid: stores[1].get(cid) for cid in blocks_under(stores[1], root)}


async def handed_over(stores, root, giver):
    """Hand over to a provider that the giver's bulk connections lead to."""
    theirs, ours = stores
    provider = Provider(theirs, giver.channel)
    async with linked_hosts() as (server, user):
        provider.server.serve(server)
        provider.expect(user, root)
        async with await user.open_stream(server.peer_id, BLOCKS_PROTOCOL) as stream:
            await deliver(stream, offer(root), ours, Offers())
    return provider


async def test_wrong_bytes_end_the_hand_over_and_none_are_kept(stores, root, blocks):
    wrong = dict.fromkeys(blocks, bytes(BLOCK_BYTES_MAX - 1) + b"\1")
    with pytest.raises(StreamBroken):
        await handed_over(stores, root, Giver(ALL, blocks=wrong))
    assert set(stores[0].cids()) == {root}


async def test_a_word_that_is_none_ends_the_hand_over(stores, root, blocks):
    def babble(channel, _cid):
        channel.send(b"\xff\xff garbage")

    with pytest.raises(StreamBroken):
        await handed_over(stores, root, Giver(babble, blocks=blocks))
    assert set(stores[0].cids()) == {root}


class Impatient(Channel):
    """A channel that waits a moment where others wait a minute."""

    def receive_frame(self, *, within_s=0.05):
        return super().receive_frame(within_s=within_s)


async def test_a_peer_that_falls_silent_is_asked_on_its_stream(stores, root, blocks):
    def say_nothing(_channel, _cid):
        pass

    giver = Giver(say_nothing, ALL, blocks=blocks, open_channel=Impatient)
    provider = await handed_over(stores, root, giver)
    assert provider.arrived == [("job", 1)]
    assert set(stores[0].cids()) == set(blocks)


async def test_a_sender_that_promises_much_and_ends_holds_nothing_up(
    stores, root, blocks
):
    def promise(channel, cid):
        channel.send(encode_record(Block(size_bytes=len(blocks[cid]))))
        channel.cut()

    provider = await handed_over(stores, root, Giver(promise, blocks=blocks))
    assert provider.arrived == [("job", 1)]


@asynccontextmanager
async def taker_and_giver(store):
    """Yield both hosts, the taker's door, and the giver's offers."""
    offers = Offers()
    async with linked_hosts() as (taker, giver), trio.open_nursery() as nursery:
        server = BulkServer(store, lambda _peer: False, lambda _peer, _cid: False)
        listeners = await server.door.listen(["127.0.0.1"], 0)
        nursery.start_soon(server.door.run, listeners)
        giving = BulkServer(
            store, lambda _peer: False, lambda _peer, _cid: False, offers
        )
        giving.serve(giver)
        yield taker, giver, server.door, offers
        nursery.cancel_scope.cancel()


async def test_a_provider_gets_no_more_than_the_inputs_by_any_connection(stores, root):
    _, ours = stores
    secret = ours.put(b"secret")
    allowed = blocks_under(ours, root)
    async with taker_and_giver(ours) as (taker, giver, door, offers):
        with offers.opened(taker.peer_id, ours, allowed):
            async with Meeting(taker, door).channel(giver.peer_id) as channel:
                assert await asked(channel, secret) == [No()]
                assert await asked(channel, root) != [No()]


async def test_a_peer_without_an_award_cannot_make_us_dial(stores):
    async with taker_and_giver(stores[1]) as (taker, giver, door, offers):
        with (
            offers.opened("somebody else", stores[1], ()),
            door.expecting(giver.peer_id) as visit,
        ):
            ticket = visit.ticket
            come = Come(port=door.port, name=ticket.name, key=ticket.key)
            stream = await taker.open_stream(giver.peer_id, BULK_PROTOCOL)
            await stream.send(encode_record(come))
            assert await stream.receive() == encode_record(No())
            # It is still good: nobody has shown it.
            assert door._tickets.redeem(ticket.name) == ticket


async def test_the_ticket_of_a_visit_lets_in_one_and_no_second(stores, root):
    _, ours = stores
    async with taker_and_giver(ours) as (taker, giver, door, offers):
        with offers.opened(taker.peer_id, ours, {root}):
            async with Meeting(taker, door).channel(giver.peer_id) as channel:
                [visit] = door._visits.values()
                # While any ticket is out the door looks at what it is shown.
                with door.expecting("another"):
                    again = partial(show_again, door, visit.ticket)
                    assert await trio.to_thread.run_sync(again) is None
                assert await asked(channel, root) != [No()]


def show_again(door, ticket):
    channel = dial("127.0.0.1", door.port, name=ticket.name, key=ticket.key)
    try:
        return channel.receive_frame()
    except StreamBroken:
        return None
    finally:
        channel.close()
