"""Who may read something gets a bulk connection; nobody else learns of one."""

import pytest
import trio

from nunet_node.network.bulk.dialling import BulkRefused
from nunet_node.network.port import ProtocolRefused
from nunet_node.protocol.messages import BULK_PROTOCOL
from nunet_node.runtime.exchange.bulk.serving import (
    BulkServer,
    TicketWanted,
    open_channel,
)
from nunet_node.runtime.exchange.requests import Block, No, Want
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import WireError
from nunet_node.wire.schema import decode_record, encode_record
from tests.runtime_kit import linked_hosts
from tests.unit.runtime.exchange.bulk.kit import open_bulk


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as store:
        yield store


async def asked(channel, *cids):
    """Return what a bulk connection answers to a request of some blocks."""

    def ask():
        channel.send(encode_record(Want(cids=cids)))
        answers = []
        for _ in cids:
            said = decode_record(Block | No, channel.receive_frame(), bytes_max=100)
            answers.append(said)
            if isinstance(said, Block):
                channel.receive_into(memoryview(bytearray(said.size_bytes)))
        return answers

    return await trio.to_thread.run_sync(ask)


async def test_a_granted_block_comes_and_any_other_is_the_same_no(store):
    granted, forbidden = store.put(b"granted"), store.put(b"forbidden")
    absent = Cid.of_raw(b"absent")

    def may_read(_peer, cid):
        return cid in (granted, absent)

    async with (
        linked_hosts() as (node, user),
        open_bulk(node, store, may_read=may_read),
    ):
        channel = await open_channel(user, node.peer_id)
        said = await asked(channel, granted, forbidden, absent)
        channel.close()
    assert said == [Block(size_bytes=7), No(), No()]


async def test_who_may_read_nothing_gets_no_ticket(store):
    async with linked_hosts() as (node, user):
        server = BulkServer(store, lambda _peer: False, lambda _peer, _cid: False)
        server.serve(node)
        listeners = await server.door.listen(["127.0.0.1"], 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.door.run, listeners)
            with pytest.raises(BulkRefused, match="gives no bulk"):
                await open_channel(user, node.peer_id)
            nursery.cancel_scope.cancel()


async def test_a_peer_without_a_door_gives_no_ticket(store):
    async with linked_hosts() as (node, user):
        BulkServer(store, lambda _peer: True, lambda _peer, _cid: True).serve(node)
        with pytest.raises(BulkRefused):
            await open_channel(user, node.peer_id)


async def test_a_peer_that_does_not_speak_it_is_asked_in_vain(store):
    async with linked_hosts() as (node, user):
        with pytest.raises(ProtocolRefused):
            await open_channel(user, node.peer_id)


async def test_a_peer_that_is_not_connected_is_not_dialled(store):
    async with linked_hosts() as (node, user):
        await user.disconnect(node.peer_id)
        with pytest.raises(BulkRefused, match="no address"):
            await open_channel(user, node.peer_id)


async def test_words_that_are_no_request_end_the_connection(store):
    async with linked_hosts() as (node, user), open_bulk(node, store):
        channel = await open_channel(user, node.peer_id)

        def talk():
            channel.send(encode_record(TicketWanted()))
            return channel.receive_frame()

        assert await trio.to_thread.run_sync(talk) is None
        channel.close()


async def test_a_ticket_that_is_none_is_refused(store):
    async def nonsense(stream):
        await stream.receive()
        await stream.send(b"nonsense")

    async with linked_hosts() as (node, user):
        node.serve(BULK_PROTOCOL, nonsense)
        with pytest.raises(WireError):
            await open_channel(user, node.peer_id)
