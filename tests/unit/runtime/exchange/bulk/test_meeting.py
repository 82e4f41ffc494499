"""A provider and a peer that hands something over meet by whatever way there is."""

import socket
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from nunet_node.errors import PeerError
from nunet_node.network.bulk.dialling import BulkRefused
from nunet_node.network.bulk.door import CHANNELS_PER_PEER_MAX
from nunet_node.protocol.messages import BULK_PROTOCOL
from nunet_node.runtime.exchange.bulk import meeting as meeting_module
from nunet_node.runtime.exchange.bulk.meeting import Meeting
from nunet_node.runtime.exchange.bulk.offers import Offers
from nunet_node.runtime.exchange.bulk.serving import BulkServer, Come, Coming
from nunet_node.runtime.exchange.requests import Block, No
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record
from tests.runtime_kit import linked_hosts
from tests.unit.runtime.exchange.bulk.test_serving import asked


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as store:
        yield store


@pytest.fixture
def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@asynccontextmanager
async def bulk(host, store, *, door, offers=None):
    """Serve bulk connections at a host, which grants nothing."""
    server = BulkServer(
        store, lambda _peer: False, lambda _peer, _cid: False, offers or Offers()
    )
    server.serve(host)
    async with trio.open_nursery() as nursery:
        if door:
            listeners = await server.door.listen(["127.0.0.1"], 0)
            nursery.start_soon(server.door.run, listeners)
        yield server.door
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def met(store, *, taker_door=True, giver_door=False):
    """Yield two hosts, the taker's meeting and door, and what the giver offers."""
    offers = Offers()
    async with AsyncExitStack() as stack:
        taker, giver = await stack.enter_async_context(linked_hosts())
        door = await stack.enter_async_context(bulk(taker, store, door=taker_door))
        await stack.enter_async_context(
            bulk(giver, store, door=giver_door, offers=offers)
        )
        yield taker, giver, Meeting(taker, door), offers


@pytest.mark.parametrize(("taker_door", "giver_door"), [(True, False), (False, True)])
async def test_either_side_s_door_is_enough(store, taker_door, giver_door):
    offered, other = store.put(b"offered"), store.put(b"other")
    doors = {"taker_door": taker_door, "giver_door": giver_door}
    async with met(store, **doors) as (taker, giver, meeting, offers):
        with offers.opened(taker.peer_id, store, {offered}):
            async with meeting.channel(giver.peer_id) as channel:
                said = await asked(channel, offered, other, Cid.of_raw(b"absent"))
    assert said == [Block(size_bytes=7), No(), No()]


async def test_without_any_door_there_is_no_meeting(store):
    async with met(store, taker_door=False) as (taker, giver, meeting, offers):
        with offers.opened(taker.peer_id, store, ()), pytest.raises(BulkRefused):
            async with meeting.channel(giver.peer_id):
                pass


async def test_nobody_comes_who_hands_nothing_over(store):
    async with met(store, giver_door=True) as (_, giver, meeting, offers):
        with offers.opened("somebody else", store, ()), pytest.raises(BulkRefused):
            async with meeting.channel(giver.peer_id):
                pass


async def test_where_our_door_is_not_reached_theirs_is(store, unused_port):
    """As behind a router that lets nobody in: the port that is named leads nowhere."""
    offered = store.put(b"offered")
    async with met(store, giver_door=True) as (taker, giver, meeting, offers):
        meeting._door.port = unused_port
        with offers.opened(taker.peer_id, store, {offered}):
            async with meeting.channel(giver.peer_id) as channel:
                assert await asked(channel, offered) == [Block(size_bytes=7)]


async def test_a_peer_that_says_it_came_and_did_not_is_not_waited_for(
    store, monkeypatch
):
    monkeypatch.setattr(meeting_module, "COME_S", 0.05)

    async def pretend(stream):
        await stream.receive()
        await stream.send(encode_record(Coming()))

    async with met(store) as (taker, giver, meeting, offers):
        giver.serve(BULK_PROTOCOL, pretend)
        with offers.opened(taker.peer_id, store, ()), pytest.raises(PeerError):
            async with meeting.channel(giver.peer_id):
                pass


async def test_the_connection_ends_with_what_is_handed_over(store):
    offered = store.put(b"offered")
    async with met(store) as (taker, giver, meeting, offers), AsyncExitStack() as stack:
        with offers.opened(taker.peer_id, store, {offered}):
            channel = await stack.enter_async_context(meeting.channel(giver.peer_id))
            assert await asked(channel, offered) == [Block(size_bytes=7)]
        assert await trio.to_thread.run_sync(channel.receive_frame) is None


async def test_a_peer_goes_to_one_place_only_so_many_times(store):
    async with met(store) as (taker, giver, meeting, offers):
        with offers.opened(taker.peer_id, store, ()):
            async with AsyncExitStack() as stack:
                for _ in range(CHANNELS_PER_PEER_MAX):
                    await stack.enter_async_context(meeting.channel(giver.peer_id))
                stream = await taker.open_stream(giver.peer_id, BULK_PROTOCOL)
                await stream.send(encode_record(COME))
                assert await stream.receive() == encode_record(No())


COME = Come(port=1, name=bytes(16), key=bytes(32))
