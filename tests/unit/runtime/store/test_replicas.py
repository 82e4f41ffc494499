"""Copies between two stores: handed over, audited, repaired and let go."""

from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import trio

from nunet_node.protocol.replicas.events import (
    DeliverReplica,
    DropReplica,
    DropResult,
    ExpectReplica,
    ReplicaArrived,
    ReplicaDelivered,
    ReplicaNotDelivered,
    SampleTaken,
    TakeSample,
)
from nunet_node.runtime.exchange.blocks import blocks_under
from nunet_node.runtime.exchange.grants import Grants
from nunet_node.runtime.exchange.handover import BlockServer, Keepers
from nunet_node.runtime.store.replicas import Replicas
from nunet_node.runtime.work.custody import Custody
from nunet_node.storage.errors import StoreUnavailableError
from tests.runtime_kit import linked_hosts, store_files

FILES = {"a": b"some", "big": bytes(range(256)) * 16_384}
JOB = "j" * 32


class Side:
    """One node's part in copies."""

    def __init__(self, host, custody, tasks):
        self.host, self.custody = host, custody
        self.grants = Grants(lambda root: blocks_under(custody.store, root))
        self.heard, self.answers = trio.open_memory_channel(16)
        self.replicas = Replicas(
            host, custody, self.grants, self.heard.send, self.heard.send, tasks
        )
        server = BlockServer(
            custody.store,
            self.grants,
            {}.get,
            self.heard.send,
            Keepers(copy=self.replicas.keep),
        )
        server.serve(host)

    def do(self, order):
        self.replicas.acts[type(order)](order)

    async def answer(self):
        with trio.fail_after(30):
            return await self.answers.receive()


@pytest.fixture
def custodies(tmp_path):
    both = [Custody.open(tmp_path / name) for name in ("ours", "theirs")]
    yield both
    for each in both:
        each.store.close()


@pytest.fixture
def root(custodies, tmp_path):
    return store_files(custodies[0].store, tmp_path / "files", FILES).root


@asynccontextmanager
async def sides(custodies):
    async with linked_hosts() as hosts, trio.open_nursery() as tasks:
        yield [Side(*pair, tasks) for pair in zip(hosts, custodies, strict=True)]
        tasks.cancel_scope.cancel()


def expect(ours, theirs, root, *, owner="alice", bytes_max=1 << 30):
    theirs.do(
        ExpectReplica(
            job=JOB,
            owner=owner,
            peer_id=ours.host.peer_id,
            root=root,
            bytes_max=bytes_max,
        )
    )


async def hand_over(ours, theirs, root):
    about = {"job": JOB, "holder": "holder"}
    ours.do(DeliverReplica(**about, peer_id=theirs.host.peer_id, root=root))
    return await ours.answer()


async def audit(ours, theirs, root):
    about = {"job": JOB, "holder": "holder"}
    ours.do(TakeSample(**about, peer_id=theirs.host.peer_id, root=root))
    return await ours.answer()


async def test_a_copy_is_pinned_and_the_node_knows_before_the_giver_does(
    custodies, root
):
    async with sides(custodies) as (ours, theirs):
        expect(ours, theirs, root)
        assert await hand_over(ours, theirs, root) == ReplicaDelivered(
            job=JOB, holder="holder"
        )
        assert theirs.answers.receive_nowait() == ReplicaArrived(
            job=JOB, owner="alice", root=root
        )
    assert custodies[1].clear(grace_s=-1) == 0
    assert set(custodies[1].store.cids()) == blocks_under(custodies[0].store, root)


async def test_a_copy_that_is_not_expected_is_not_taken(custodies, root):
    async with sides(custodies) as (ours, theirs):
        said = await hand_over(ours, theirs, root)
    assert isinstance(said, ReplicaNotDelivered)
    assert list(custodies[1].store.cids()) == []


async def test_a_copy_larger_than_was_said_is_not_taken(custodies, root):
    async with sides(custodies) as (ours, theirs):
        expect(ours, theirs, root, bytes_max=1000)
        said = await hand_over(ours, theirs, root)
    assert isinstance(said, ReplicaNotDelivered)


async def test_a_disk_that_fails_is_told_and_nothing_counts_as_kept(
    custodies, root, monkeypatch
):
    def full(*_):
        raise StoreUnavailableError("the disk is full")

    monkeypatch.setattr(custodies[1]._pins, "_write", full)
    async with sides(custodies) as (ours, theirs):
        expect(ours, theirs, root)
        said = await hand_over(ours, theirs, root)
        assert isinstance(said, ReplicaNotDelivered)
        with pytest.raises(trio.WouldBlock):
            theirs.answers.receive_nowait()


async def test_another_owner_has_to_hand_the_same_blocks_over_again(custodies, root):
    """Mallory names Alice's root as the result of her own job, and has no byte."""
    store = custodies[0].store
    async with sides(custodies) as (ours, theirs):
        expect(ours, theirs, root)
        await hand_over(ours, theirs, root)
        await theirs.answer()
        expect(ours, theirs, root, owner="mallory")
        for cid in list(store.cids()):
            if cid != root:
                store.delete(cid)
        said = await hand_over(ours, theirs, root)
    assert isinstance(said, ReplicaNotDelivered)


@asynccontextmanager
async def kept(custodies, root):
    async with sides(custodies) as (ours, theirs):
        expect(ours, theirs, root)
        await hand_over(ours, theirs, root)
        await theirs.answer()
        yield ours, theirs


async def test_a_whole_copy_passes_its_audit(custodies, root):
    async with kept(custodies, root) as (ours, theirs):
        theirs.grants.allow_read(ours.host.peer_id, root)
        assert await audit(ours, theirs, root) == SampleTaken(job=JOB, holder="holder")


async def test_a_copy_of_which_a_block_is_lost_or_damaged_fails_its_audit(
    custodies, root
):
    store = custodies[1].store
    async with kept(custodies, root) as (ours, theirs):
        theirs.grants.allow_read(ours.host.peer_id, root)
        (path,) = store._blocks.glob(f"*/{root}")
        path.write_bytes(bytes(path.stat().st_size))
        said = await audit(ours, theirs, root)
        assert "has no block" in said.fault
        assert not said.silent


async def test_a_holder_that_serves_nobody_fails_its_audit(custodies, root):
    async with kept(custodies, root) as (ours, theirs):
        said = await audit(ours, theirs, root)
    assert "has no block" in said.fault


async def test_a_holder_that_is_gone_is_silent(custodies, root):
    async with kept(custodies, root) as (ours, _theirs):
        ours.do(
            TakeSample(
                job=JOB, holder="holder", peer_id=f"{ours.host.peer_id}x", root=root
            )
        )
        said = await ours.answer()
    assert said.silent
    assert said.fault


async def test_an_audit_brings_back_what_the_custodian_itself_has_lost(custodies, root):
    ours_store = custodies[0].store
    whole = blocks_under(ours_store, root)
    async with kept(custodies, root) as (ours, theirs):
        theirs.grants.allow_read(ours.host.peer_id, root)
        for cid in whole:
            ours_store.delete(cid)
        assert not (await audit(ours, theirs, root)).fault
    assert blocks_under(ours_store, root) == whole
    assert all(map(ours_store.is_intact, whole))


async def test_what_is_let_go_is_deleted(custodies, root):
    store = custodies[1].store
    async with kept(custodies, root) as (_ours, theirs):
        theirs.do(DropReplica(job=JOB, owner="mallory"))
        theirs.do(DropResult(job=JOB))
        await trio.testing.wait_all_tasks_blocked()
        assert store.has(root)
        theirs.do(DropReplica(job=JOB, owner="alice"))
        with trio.fail_after(30):
            while store.has(root):
                await trio.testing.wait_all_tasks_blocked()
    assert list(store.cids()) == []


async def test_a_copy_outlives_a_restart_of_its_holder(custodies, root, tmp_path):
    async with kept(custodies, root):
        pass
    again = Custody(custodies[1].store, tmp_path / "theirs/pins")
    agreed = SimpleNamespace(root=root)
    assert again.begin({}, {("alice", JOB): agreed}) == 0
    assert again.store.has(root)
    assert again.begin({}, {}) == 0
    assert not again.store.has(root)
