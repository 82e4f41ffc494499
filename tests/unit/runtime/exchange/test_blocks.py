"""Blocks travel by name, checked, and no is all that a stranger hears."""

import pytest
import trio

from nunet_node.network.stream import StreamBroken
from nunet_node.results.errors import BlockError, TreeTooLargeError
from nunet_node.results.manifest import CHUNK_BYTES, TreeLimits
from nunet_node.runtime.exchange import blocks as blocks_module
from nunet_node.runtime.exchange import requests as requests_module
from nunet_node.runtime.exchange.blocks import Taking, blocks_under, take_tree, tree_of
from nunet_node.runtime.exchange.requests import (
    Block,
    BlockProtocolError,
    BlockRefusedError,
    No,
    Want,
    answer,
)
from nunet_node.storage.errors import BlockDamagedError
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import decode_record, encode_record
from tests.runtime_kit import linked_hosts, store_files

PROTOCOL = "/nunet/blocks/1"
FILES = {
    "empty": b"",
    "small": b"x" * 1000,
    "dir/large": bytes(range(256)) * 12_000,
    "dir/same": b"x" * 1000,
}


@pytest.fixture
def built(stores, tmp_path):
    return store_files(stores[0], tmp_path / "files", FILES)


def serving(store, allowed=lambda _cid: True):
    """Return a handler that answers every request."""

    async def handle(stream):
        while (data := await stream.receive()) is not None:
            want = decode_record(Want | No, data, bytes_max=1 << 20)
            await answer(stream, want, allowed, store)

    return handle


def saying(*said):
    """Return a handler that answers the first request with these frames or bytes."""

    async def handle(stream):
        await stream.receive()
        for each in said:
            if isinstance(each, bytes):
                await stream.send_raw(each)
            else:
                await stream.send(encode_record(each))

    return handle


async def take(handler, root, store, taking):
    async with linked_hosts() as (server, client):
        server.serve(PROTOCOL, handler)
        async with await client.open_stream(server.peer_id, PROTOCOL) as stream:
            return await take_tree(stream, root, store, taking)


async def test_a_tree_arrives_whole(stores, built):
    theirs, ours = stores
    tree = await take(serving(theirs), built.root, ours, Taking(has=ours.has))
    assert tree == built.tree == tree_of(ours, built.root)
    assert set(ours.cids()) == set(theirs.cids()) == blocks_under(ours, built.root)


async def test_progress_counts_every_byte_once(stores, built):
    theirs, ours = stores
    seen = []
    taking = Taking(has=ours.has, on_bytes=lambda *each: seen.append(each))
    await take(serving(theirs), built.root, ours, taking)
    total = sum(map(len, FILES.values()))
    assert seen[0][0] < total
    assert seen[-1] == (total, total)


async def test_only_what_is_lacking_is_asked_for(stores, built):
    theirs, ours = stores
    await take(serving(theirs), built.root, ours, Taking(has=ours.has))
    gone = next(f for f in built.tree.files if f.path == "dir/large").chunks[1]
    ours.delete(gone)
    came = []
    taking = Taking(has=ours.has, on_block=came.append)
    await take(serving(theirs), built.root, ours, taking)
    assert came == [gone]


async def test_a_transfer_that_broke_goes_on_where_it_was(stores, built, monkeypatch):
    theirs, ours = stores
    monkeypatch.setattr(blocks_module, "GROUP_BYTES", 1)
    allowance = iter(range(3))

    async def cut(stream):
        while (data := await stream.receive()) is not None:
            want = decode_record(Want, data, bytes_max=1 << 20)
            for cid in want.cids:
                if next(allowance, None) is None:
                    await stream.reset()
                    return
                await answer(stream, Want(cids=(cid,)), lambda _cid: True, theirs)

    with pytest.raises(StreamBroken):
        await take(cut, built.root, ours, Taking(has=ours.has))
    assert 0 < len(list(ours.cids())) < len(list(theirs.cids()))
    came = []
    taking = Taking(has=ours.has, on_block=came.append)
    await take(serving(theirs), built.root, ours, taking)
    assert 0 < len(came) < len(list(theirs.cids()))
    assert tree_of(ours, built.root) == built.tree


async def test_more_blocks_than_fit_one_request_arrive(stores, tmp_path, monkeypatch):
    monkeypatch.setattr(requests_module, "WANT_CIDS_MAX", 8)
    theirs, ours = stores
    files = {f"f{n:03}": b"%d" % n for n in range(100)}
    built = store_files(theirs, tmp_path / "many", files)
    tree = await take(serving(theirs), built.root, ours, Taking(has=ours.has))
    assert tree == built.tree


async def test_absent_and_forbidden_get_the_same_answer(stores, built):
    theirs, ours = stores
    nowhere = Cid.of_dag_cbor(b"nowhere")
    for root, allowed in ((built.root, False), (nowhere, True), (nowhere, False)):
        with pytest.raises(BlockRefusedError):
            await take(
                serving(theirs, lambda _cid, allowed=allowed: allowed),
                root,
                ours,
                Taking(has=ours.has),
            )
    assert list(ours.cids()) == []


async def test_the_disk_is_not_asked_before_the_grant_is(stores, built, tmp_path):
    theirs, ours = stores
    asked = []

    class Watched:
        def get(self, cid):
            asked.append(cid)
            return theirs.get(cid)

    with pytest.raises(BlockRefusedError):
        await take(
            serving(Watched(), lambda _cid: False),
            built.root,
            ours,
            Taking(has=ours.has),
        )
    assert asked == []


async def test_other_bytes_than_those_named_are_not_kept(stores, built):
    _, ours = stores
    with pytest.raises(BlockDamagedError):
        await take(
            saying(Block(size_bytes=3), b"lie"),
            built.root,
            ours,
            Taking(has=ours.has),
        )
    assert list(ours.cids()) == []


async def test_a_chunk_of_another_length_is_refused(stores, built):
    theirs, ours = stores

    async def lie(stream):
        first = decode_record(Want, await stream.receive(), bytes_max=1 << 20)
        await answer(stream, first, lambda _cid: True, theirs)
        await stream.receive()
        await stream.send(encode_record(Block(size_bytes=5)))
        await stream.send_raw(b"short")

    with pytest.raises(BlockError):
        await take(lie, built.root, ours, Taking(has=ours.has))
    assert set(ours.cids()) == {built.root}


async def test_a_tree_over_the_limit_is_refused_before_its_chunks(stores, built):
    theirs, ours = stores
    limits = TreeLimits(bytes_max=built.tree.size_bytes - 1)
    with pytest.raises(TreeTooLargeError):
        await take(
            serving(theirs), built.root, ours, Taking(has=ours.has, limits=limits)
        )
    assert set(ours.cids()) <= {built.root}


@pytest.mark.parametrize(
    "said", [(), (Block(size_bytes=100), b"only some")], ids=["nothing", "half a block"]
)
async def test_a_peer_that_leaves_early_is_an_error(stores, built, said):
    _, ours = stores
    with pytest.raises(BlockProtocolError):
        await take(saying(*said), built.root, ours, Taking(has=ours.has))


async def test_a_full_disk_ends_the_transfer_with_its_reason(stores, built):
    theirs, ours = stores

    class Full:
        def get(self, cid):
            return ours.get(cid)

        def batch(self, **_):
            raise BlockDamagedError("the disk is full")

    with pytest.raises(BlockDamagedError, match="disk is full"):
        await take(serving(theirs), built.root, Full(), Taking(has=ours.has))


async def test_a_manifest_that_is_damaged_here_is_fetched_again(
    stores, built, tmp_path
):
    theirs, ours = stores
    taking = Taking(has=ours.has, durable=False)
    await take(serving(theirs), built.root, ours, taking)
    (kept,) = (tmp_path / "ours").rglob(f"blocks/*/{built.root}")
    kept.write_bytes(b"")

    tree = await take(serving(theirs), built.root, ours, taking)

    assert tree == built.tree
    assert ours.get(built.root) == theirs.get(built.root)


async def test_the_transfer_can_be_cancelled(stores, built):
    _, ours = stores

    async def silent(stream):
        await trio.sleep_forever()

    with trio.move_on_after(0.05) as scope:
        await take(silent, built.root, ours, Taking(has=ours.has))
    assert scope.cancelled_caught


def test_a_tree_with_a_missing_page_has_no_blocks(stores, built):
    theirs, _ = stores
    assert blocks_under(theirs, Cid.of_dag_cbor(b"x")) == frozenset()
    theirs.delete(built.root)
    assert blocks_under(theirs, built.root) == frozenset()
    assert CHUNK_BYTES == 1 << 20
