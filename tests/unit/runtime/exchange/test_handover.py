"""Inputs are taken from whom they are expected, and only that owner's count."""

from types import SimpleNamespace

import pytest
import trio
import trio.testing

from nunet_node.errors import PeerError
from nunet_node.network.port import ProtocolRefused
from nunet_node.network.stream import StreamBroken
from nunet_node.protocol.inputs import InputsArrived, InputsNotKept
from nunet_node.runtime.exchange import handover as handover_module
from nunet_node.runtime.exchange.blocks import Taking, blocks_under, take_tree
from nunet_node.runtime.exchange.bulk.offers import Offers
from nunet_node.runtime.exchange.grants import Expected, ExpectedCopy, Grants
from nunet_node.runtime.exchange.handover import BlockServer, Keepers, Offer, deliver
from nunet_node.runtime.exchange.requests import (
    BlockProtocolError,
    BlockRefusedError,
    No,
    Want,
)
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import StoreUnavailableError
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import decode_record, encode_record
from tests.runtime_kit import linked_hosts, store_files

PROTOCOL = "/nunet/blocks/1"
FILES = {"script.py": b"print(1)\n", "data/table.csv": b"1,2,3\n" * 400_000}


def offer(root, job="job"):
    return Offer(job=job, attempt=1, root=root)


class Provider:
    """A block server with the two jobs of two owners."""

    def __init__(self, store, open_channel=None, public=frozenset()):
        self.store = store
        self.jobs = {
            "job": SimpleNamespace(owner="alice", staged=False),
            "other": SimpleNamespace(owner="bob", staged=False),
        }
        self.arrived = []
        self.grants = Grants(lambda root: blocks_under(store, root), public)
        self.server = BlockServer(
            store, self.grants, self.jobs.get, self.tell, open_channel=open_channel
        )
        self.told = []

    async def tell(self, event):
        await trio.lowlevel.checkpoint()
        self.told.append(event)
        if isinstance(event, InputsArrived):
            self.arrived.append((event.job, event.attempt))
            self.jobs[event.job].staged = True

    def expect(self, host, root, job="job", bytes_max=1 << 30):
        self.grants.expect(
            host.peer_id, job, 1, Expected(root=root, bytes_max=bytes_max)
        )


@pytest.fixture
def built(stores, tmp_path):
    return store_files(stores[1], tmp_path / "files", FILES)


async def hand_over(hosts, store, root, job="job"):
    server, client = hosts
    async with await client.open_stream(server.peer_id, PROTOCOL) as stream:
        await deliver(stream, offer(root, job), store, Offers())


async def test_inputs_are_staged_and_the_node_knows_before_the_peer_does(stores, built):
    theirs, ours = stores
    provider = Provider(theirs)
    async with linked_hosts() as hosts:
        provider.server.serve(hosts[0])
        provider.expect(hosts[1], built.root)
        await hand_over(hosts, ours, built.root)
        assert provider.arrived == [("job", 1)]
        assert set(theirs.cids()) == blocks_under(ours, built.root)
        assert provider.server.has_all("job", built.root)


async def test_what_is_not_expected_is_refused_and_not_stored(stores, built):
    theirs, ours = stores
    provider = Provider(theirs)
    async with linked_hosts(3) as (server, client, stranger):
        provider.server.serve(server)
        provider.expect(client, built.root)
        with pytest.raises(BlockRefusedError):
            await hand_over((server, stranger), ours, built.root)
        with pytest.raises(BlockRefusedError):
            await hand_over((server, client), ours, Cid.of_dag_cbor(b"another root"))
        with pytest.raises(BlockRefusedError):
            await hand_over((server, client), ours, built.root, "other")
    assert provider.arrived == []
    assert list(theirs.cids()) == []


async def test_knowing_an_id_does_not_buy_its_bytes(stores, built, tmp_path):
    """Bob names Alice's inputs as his own, and has not a byte of them."""
    theirs, ours = stores
    provider = Provider(theirs)
    async with linked_hosts(3) as (server, alice, bob):
        provider.server.serve(server)
        provider.expect(alice, built.root)
        await hand_over((server, alice), ours, built.root)
        assert not provider.server.has_all("other", built.root)
        provider.expect(bob, built.root, "other")
        with BlockStore(tmp_path / "bobs") as empty:
            with pytest.raises(BlockRefusedError):
                await take_from_provider(server, bob, empty, built.root)
            with pytest.raises((StreamBroken, BlockProtocolError)):
                await hand_over((server, bob), empty, built.root, "other")
    assert provider.arrived == [("job", 1)]


async def test_the_owner_s_inputs_are_no_copy_that_a_custodian_brought(
    stores, built, tmp_path
):
    """It names them as the public result of a job that it ran, and has no byte."""
    theirs, ours = stores
    holder, kept = Provider(theirs), []

    async def keep(job, copy):
        await trio.lowlevel.checkpoint()
        kept.append((job, copy))

    keepers = Keepers(copy=keep)
    asks = BlockServer(theirs, holder.grants, holder.jobs.get, holder.tell, keepers)
    async with linked_hosts(3) as (server, alice, custodian):
        asks.serve(server)
        holder.expect(alice, built.root)
        await hand_over((server, alice), ours, built.root)
        copy = ExpectedCopy(root=built.root, bytes_max=1 << 30, owner="alice")
        holder.grants.expect_copy(custodian.peer_id, "other", copy)
        asked = Offer(job="other", attempt=1, root=built.root, copy=True)
        with BlockStore(tmp_path / "empty") as empty:
            stream = await custodian.open_stream(server.peer_id, PROTOCOL)
            async with stream:
                with pytest.raises((StreamBroken, BlockProtocolError)):
                    await deliver(stream, asked, empty, Offers())
    assert kept == []


async def take_from_provider(server, client, store, root):
    async with await client.open_stream(server.peer_id, PROTOCOL) as stream:
        await take_tree(stream, root, store, Taking(has=store.has))


async def test_an_owner_hands_equal_blocks_over_once(stores, built):
    theirs, ours = stores
    provider = Provider(theirs)
    provider.jobs["second"] = SimpleNamespace(owner="alice", staged=False)
    async with linked_hosts() as hosts:
        provider.server.serve(hosts[0])
        provider.expect(hosts[1], built.root)
        provider.expect(hosts[1], built.root, "second")
        await hand_over(hosts, ours, built.root)
        for cid in list(ours.cids()):
            if cid != built.root:
                ours.delete(cid)
        await hand_over(hosts, ours, built.root, "second")
    assert provider.arrived == [("job", 1), ("second", 1)]


async def test_inputs_that_find_no_place_are_told_to_the_node(
    stores, built, monkeypatch
):
    theirs, ours = stores
    provider = Provider(theirs)

    def refuse(*_, **__):
        raise StoreUnavailableError("the disk is full")

    monkeypatch.setattr(theirs, "batch", refuse)
    async with linked_hosts() as hosts:
        provider.expect(hosts[1], built.root)
        provider.server.serve(hosts[0])
        with pytest.raises(PeerError):
            await hand_over(hosts, ours, built.root)
    told = InputsNotKept(job="job", attempt=1, reason="the disk is full")
    assert provider.told == [told]


async def test_a_job_that_is_staged_says_so_again(stores, built):
    theirs, ours = stores
    provider = Provider(theirs)
    provider.jobs["job"].staged = True
    async with linked_hosts() as hosts:
        provider.server.serve(hosts[0])
        provider.expect(hosts[1], built.root)
        await hand_over(hosts, ours, built.root)
    assert provider.arrived == []
    assert list(theirs.cids()) == []


async def test_inputs_over_what_was_agreed_are_refused(stores, built):
    theirs, ours = stores
    provider = Provider(theirs)
    async with linked_hosts() as hosts:
        provider.server.serve(hosts[0])
        provider.expect(hosts[1], built.root, bytes_max=built.tree.size_bytes - 1)
        with pytest.raises(StreamBroken):
            await hand_over(hosts, ours, built.root)
    assert provider.arrived == []
    assert set(theirs.cids()) <= {built.root}


async def test_a_provider_that_asks_for_more_than_the_inputs_gets_a_no(
    stores, tmp_path
):
    theirs, ours = stores
    built = store_files(ours, tmp_path / "inputs", {"in": b"input"})
    secret = store_files(ours, tmp_path / "secret", {"key": b"secret"})

    async def greedy(stream):
        await stream.receive()
        with pytest.raises(BlockRefusedError):
            await take_tree(stream, secret.root, theirs, Taking(has=theirs.has))
        await stream.send(encode_record(No()))

    async with linked_hosts() as hosts:
        hosts[0].serve(PROTOCOL, greedy)
        with pytest.raises(BlockRefusedError):
            await hand_over(hosts, ours, built.root)
    assert list(theirs.cids()) == []


async def test_a_granted_tree_is_served_until_the_peer_is_forgotten(stores, tmp_path):
    theirs, ours = stores
    built = store_files(theirs, tmp_path / "result", {"stdout": b"done\n"})
    provider = Provider(theirs)
    async with linked_hosts() as (server, client):
        provider.server.serve(server)
        with pytest.raises(BlockRefusedError):
            await take_from_provider(server, client, ours, built.root)
        provider.grants.allow_read(client.peer_id, built.root)
        await take_from_provider(server, client, ours, built.root)
        provider.grants.forget(client.peer_id)
        ours.delete(built.root)
        with pytest.raises(BlockRefusedError):
            await take_from_provider(server, client, ours, built.root)


async def test_a_stream_beyond_those_served_at_once_waits_for_its_turn(
    stores, built, monkeypatch
):
    monkeypatch.setattr(handover_module, "STREAMS_PER_PEER_MAX", 2)
    theirs, _ = stores
    provider = Provider(theirs)
    async with linked_hosts() as (server, client):
        provider.server.serve(server)
        kept = [await client.open_stream(server.peer_id, PROTOCOL) for _ in range(2)]
        third = await client.open_stream(server.peer_id, PROTOCOL)
        await third.send(encode_record(Want(cids=(built.root,))))
        await kept[0].finish()
        with trio.fail_after(10):
            assert decode_record(No, await third.receive(), bytes_max=64) == No()


async def test_streams_of_one_peer_are_counted(stores, built, monkeypatch):
    monkeypatch.setattr(handover_module, "STREAMS_PER_PEER_MAX", 2)
    monkeypatch.setattr(handover_module, "STREAMS_WAITING_MAX", 0)
    theirs, _ = stores
    provider = Provider(theirs)
    async with linked_hosts(3) as (server, client, other):
        provider.server.serve(server)
        kept = [await client.open_stream(server.peer_id, PROTOCOL) for _ in range(2)]
        third = await client.open_stream(server.peer_id, PROTOCOL)
        with pytest.raises(StreamBroken):
            await third.receive()
        theirs_too = await other.open_stream(server.peer_id, PROTOCOL)
        await theirs_too.finish()
        assert await theirs_too.receive() is None
        for stream in kept:
            await stream.finish()
            assert await stream.receive() is None


async def test_a_silent_stream_is_ended(stores, autojump_clock):
    provider = Provider(stores[0])
    async with linked_hosts() as (server, client):
        provider.server.serve(server)
        stream = await client.open_stream(server.peer_id, PROTOCOL)
        with trio.fail_after(handover_module.IDLE_S + 5):
            assert await stream.receive() is None


async def test_garbage_ends_the_stream_and_nothing_else(stores, built):
    theirs, ours = stores
    provider = Provider(theirs)
    async with linked_hosts() as hosts:
        provider.server.serve(hosts[0])
        stream = await hosts[1].open_stream(hosts[0].peer_id, PROTOCOL)
        await stream.send(b"\xff\xff garbage")
        with pytest.raises(StreamBroken):
            await stream.receive()
        provider.expect(hosts[1], built.root)
        await hand_over(hosts, ours, built.root)


async def test_a_peer_that_serves_no_blocks_says_so():
    async with linked_hosts() as (server, client):
        with pytest.raises(ProtocolRefused):
            await client.open_stream(server.peer_id, PROTOCOL)


async def test_a_stranger_has_what_is_public_and_hears_one_no_to_all_else(
    stores, tmp_path
):
    theirs, ours = stores
    public = store_files(theirs, tmp_path / "public", {"stdout": b"for all"})
    private = store_files(theirs, tmp_path / "private", {"stdout": b"for one"})
    provider = Provider(theirs, public=blocks_under(theirs, public.root))
    async with linked_hosts() as (server, stranger):
        provider.server.serve(server)
        await take_from_provider(server, stranger, ours, public.root)
        heard = [
            await said_of(server, stranger, cid)
            for cid in (private.root, Cid.of_dag_cbor(b"nowhere"))
        ]
    assert set(ours.cids()) == blocks_under(theirs, public.root)
    assert heard == [encode_record(No())] * 2


async def said_of(server, client, cid):
    """Return what a server answers to a want of one block."""
    async with await client.open_stream(server.peer_id, PROTOCOL) as stream:
        await stream.send(encode_record(Want(cids=(cid,))))
        return await stream.receive()


async def test_strangers_do_not_keep_those_waiting_who_were_granted_something(
    stores, tmp_path
):
    theirs, _ = stores
    built = store_files(theirs, tmp_path / "public", {"stdout": b"for all"})
    provider = Provider(theirs, public=blocks_under(theirs, built.root))
    full = provider.server._strangers
    async with linked_hosts(3) as (server, owner, stranger):
        provider.server.serve(server)
        provider.grants.allow_read(owner.peer_id, built.root)
        for number in range(int(full.total_tokens)):
            full.acquire_on_behalf_of_nowait(number)
        assert await said_of(server, owner, built.root) != encode_record(No())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(said_of, server, stranger, built.root)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert full.statistics().tasks_waiting == 1
            full.release_on_behalf_of(0)
