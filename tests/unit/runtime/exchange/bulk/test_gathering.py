"""A fetch from several peers, of whom some are slow, lost, empty or lying."""

from collections import Counter
from contextlib import AsyncExitStack

import pytest
import trio

from nunet_node.protocol.messages import BLOCKS_PROTOCOL
from nunet_node.results.errors import BlockError
from nunet_node.results.layout import EXIT_CODE, OUTPUTS, STDERR, STDOUT
from nunet_node.runtime.exchange.bulk import gathering
from nunet_node.runtime.exchange.bulk.gathering import Listener
from nunet_node.runtime.exchange.requests import (
    Block,
    BlockRefusedError,
    Want,
    answer,
)
from nunet_node.storage.errors import StoreUnavailableError
from nunet_node.wire.limits import BLOCK_BYTES_MAX
from nunet_node.wire.schema import decode_record, encode_record
from tests.runtime_kit import store_files
from tests.unit.runtime.exchange.bulk.kit import fetching, open_bulk
from tests.unit.runtime.exchange.test_blocks import serving

MODEL = b"".join(bytes([number]) * BLOCK_BYTES_MAX for number in range(12))
FILES = {STDOUT: b"said", STDERR: b"", EXIT_CODE: b"0", f"{OUTPUTS}/model": MODEL}


@pytest.fixture
def root(stores, tmp_path):
    return store_files(stores[0], tmp_path / "files", FILES).root


def lying(store, after=1):
    """Return a handler that answers with wrong bytes from some chunk on."""
    sound = iter(range(after))

    async def handle(stream):
        while (data := await stream.receive()) is not None:
            for cid in decode_record(Want, data, bytes_max=1 << 20).cids:
                block = store.get(cid)
                if len(block) == BLOCK_BYTES_MAX and next(sound, None) is None:
                    block = bytes(len(block) - 1) + b"\1"
                await stream.send(encode_record(Block(size_bytes=len(block))))
                await stream.send_raw(block)

    return handle


def having(store, allowed):
    """Return a handler that has only some of the blocks."""
    return serving(store, allowed)


def is_there(place):
    return (place / OUTPUTS / "model").read_bytes() == MODEL


async def test_two_peers_share_the_work(stores, root, tmp_path):
    theirs, ours = stores
    served = Counter()
    async with fetching(ours, 2) as (peers, transfers):

        def counting(name):
            async def handle(stream):
                while (data := await stream.receive()) is not None:
                    want = decode_record(Want, data, bytes_max=1 << 20)
                    served[name] += len(want.cids)
                    await answer(stream, want, lambda _cid: True, theirs)

            return handle

        for number, peer in enumerate(peers):
            peer.serve(BLOCKS_PROTOCOL, counting(number))
        ids = [peer.peer_id for peer in peers]
        await transfers.fetch(ids, root, tmp_path / "out")
    assert is_there(tmp_path / "out")
    assert min(served[0], served[1]) > 0


async def test_a_peer_that_lies_is_dropped_told_of_and_replaced(stores, root, tmp_path):
    theirs, ours = stores
    dropped = []
    listener = Listener(on_dropped=lambda *each: dropped.append(each))
    async with fetching(ours, 2) as ((liar, honest), transfers):
        liar.serve(BLOCKS_PROTOCOL, lying(theirs))
        honest.serve(BLOCKS_PROTOCOL, serving(theirs))
        ids = (liar.peer_id, honest.peer_id)
        await transfers.fetch(ids, root, tmp_path / "out", listener=listener)
    assert is_there(tmp_path / "out")
    assert [peer for peer, _ in dropped] == [liar.peer_id]
    assert "are not those named" in dropped[0][1]


async def test_nothing_appears_when_the_only_peer_lies(stores, root, tmp_path):
    theirs, ours = stores
    async with fetching(ours, 1) as ([liar], transfers):
        liar.serve(BLOCKS_PROTOCOL, lying(theirs))
        with pytest.raises(BlockError):
            await transfers.fetch((liar.peer_id,), root, tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


async def test_a_peer_that_lies_about_the_manifest_is_passed_over(
    stores, root, tmp_path
):
    theirs, ours = stores
    dropped = []
    listener = Listener(on_dropped=lambda *each: dropped.append(each))

    async def nonsense(stream):
        await stream.receive()
        await stream.send(encode_record(Block(size_bytes=3)))
        await stream.send_raw(b"bad")

    async with fetching(ours, 2) as ((liar, honest), transfers):
        liar.serve(BLOCKS_PROTOCOL, nonsense)
        honest.serve(BLOCKS_PROTOCOL, serving(theirs))
        ids = (liar.peer_id, honest.peer_id)
        await transfers.fetch(ids, root, tmp_path / "out", listener=listener)
    assert is_there(tmp_path / "out")
    assert [peer for peer, _ in dropped] == [liar.peer_id]


async def test_peers_that_have_half_each_make_a_whole(stores, root, tmp_path):
    theirs, ours = stores
    async with fetching(ours, 2) as ((one, other), transfers):
        one.serve(BLOCKS_PROTOCOL, having(theirs, lambda cid: cid.digest[0] % 2))
        other.serve(
            BLOCKS_PROTOCOL,
            having(theirs, lambda cid: cid == root or not cid.digest[0] % 2),
        )
        ids = (other.peer_id, one.peer_id)
        await transfers.fetch(ids, root, tmp_path / "out")
    assert is_there(tmp_path / "out")


async def test_what_nobody_has_ends_the_fetch(stores, root, tmp_path):
    theirs, ours = stores
    async with fetching(ours, 2) as (peers, transfers):
        for peer in peers:
            peer.serve(BLOCKS_PROTOCOL, having(theirs, lambda cid: cid == root))
        with pytest.raises(BlockRefusedError):
            ids = [peer.peer_id for peer in peers]
            await transfers.fetch(ids, root, tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


async def test_a_peer_that_falls_silent_does_not_hold_up_the_end(
    stores, root, tmp_path
):
    theirs, ours = stores
    async with fetching(ours, 2) as ((silent, honest), transfers):

        async def stop_at_chunks(stream):
            while (data := await stream.receive()) is not None:
                want = decode_record(Want, data, bytes_max=1 << 20)
                if want.cids != (root,):
                    await trio.sleep_forever()
                await answer(stream, want, lambda _cid: True, theirs)

        silent.serve(BLOCKS_PROTOCOL, stop_at_chunks)
        honest.serve(BLOCKS_PROTOCOL, serving(theirs))
        ids = (silent.peer_id, honest.peer_id)
        await transfers.fetch(ids, root, tmp_path / "out")
    assert is_there(tmp_path / "out")


async def test_a_stream_that_breaks_again_and_again_is_given_up(
    stores, root, tmp_path, monkeypatch
):
    theirs, ours = stores
    monkeypatch.setattr(gathering, "BREAKS_MAX", 2)
    opened = []

    async def breaking(stream):
        opened.append(stream)
        while (data := await stream.receive()) is not None:
            want = decode_record(Want, data, bytes_max=1 << 20)
            if want.cids != (root,):
                await stream.reset()
                return
            await answer(stream, want, lambda _cid: True, theirs)

    async with fetching(ours, 1) as ([peer], transfers):
        peer.serve(BLOCKS_PROTOCOL, breaking)
        with pytest.raises(Exception, match="reset"):
            await transfers.fetch((peer.peer_id,), root, tmp_path / "out")
    assert len(opened) == 1 + 3


async def test_a_fetch_that_is_cancelled_leaves_nothing_behind(stores, root, tmp_path):
    theirs, ours = stores
    asked = trio.Event()

    async def stuck(stream):
        while (data := await stream.receive()) is not None:
            want = decode_record(Want, data, bytes_max=1 << 20)
            if want.cids != (root,):
                asked.set()
                await trio.sleep_forever()
            await answer(stream, want, lambda _cid: True, theirs)

    async with fetching(ours, 1) as ([peer], transfers), trio.open_nursery() as nursery:
        peer.serve(BLOCKS_PROTOCOL, stuck)
        nursery.start_soon(transfers.fetch, (peer.peer_id,), root, tmp_path / "out")
        await asked.wait()
        nursery.cancel_scope.cancel()
    assert list(tmp_path.glob("*out*")) == []


async def test_a_large_result_comes_by_a_bulk_connection(stores, root, tmp_path):
    theirs, ours = stores
    served = []

    def may_read(peer_id, cid):
        served.append((peer_id, cid))
        return True

    async with (
        fetching(ours, 1) as ([peer], transfers),
        open_bulk(peer, theirs, may_read=may_read),
    ):
        await transfers.fetch((peer.peer_id,), root, tmp_path / "out")
    assert is_there(tmp_path / "out")
    assert len({cid for _, cid in served}) >= len(MODEL) // BLOCK_BYTES_MAX


async def test_bulk_connections_and_streams_share_the_work(stores, root, tmp_path):
    theirs, ours = stores
    async with fetching(ours, 2) as ((fast, slow), transfers):
        slow.serve(BLOCKS_PROTOCOL, serving(theirs))
        async with open_bulk(fast, theirs):
            ids = (fast.peer_id, slow.peer_id)
            await transfers.fetch(ids, root, tmp_path / "out")
    assert is_there(tmp_path / "out")


async def test_a_bulk_connection_that_is_cut_is_opened_again(stores, root, tmp_path):
    theirs, ours = stores
    cuts = iter(range(3))
    doors = []

    def may_read(peer_id, cid):
        if cid != root and next(cuts, None) is not None:
            doors[0].forget(peer_id)
        return True

    async with (
        fetching(ours, 1) as ([peer], transfers),
        open_bulk(peer, theirs, may_read=may_read) as door,
    ):
        doors.append(door)
        await transfers.fetch((peer.peer_id,), root, tmp_path / "out")
    assert is_there(tmp_path / "out")
    assert next(cuts, None) is None


async def test_without_a_grant_a_bulk_connection_brings_nothing(stores, root, tmp_path):
    theirs, ours = stores
    async with AsyncExitStack() as stack:
        [peer], transfers = await stack.enter_async_context(fetching(ours, 1))
        await stack.enter_async_context(
            open_bulk(peer, theirs, may_read=lambda _peer, _cid: False)
        )
        with pytest.raises(BlockRefusedError):
            await transfers.fetch((peer.peer_id,), root, tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


async def test_a_peer_that_is_found_on_the_way_replaces_one_that_lies(
    stores, root, tmp_path
):
    theirs, ours = stores
    async with fetching(ours, 2) as ((liar, honest), transfers):

        async def more():
            return (liar.peer_id, honest.peer_id)

        liar.serve(BLOCKS_PROTOCOL, lying(theirs))
        honest.serve(BLOCKS_PROTOCOL, serving(theirs))
        listener = Listener(more_peers=more)
        await transfers.fetch(
            (liar.peer_id,), root, tmp_path / "out", listener=listener
        )
    assert is_there(tmp_path / "out")


async def test_a_full_disk_here_is_told_as_such_and_not_as_a_peer_s_fault(
    stores, root, tmp_path, monkeypatch
):
    theirs, ours = stores
    real, batches = ours.batch, []

    def batch(**more):
        batches.append(more)
        if len(batches) > 2:
            raise StoreUnavailableError("the disk is full")
        return real(**more)

    async with fetching(ours, 1) as ((peer,), transfers):
        peer.serve(BLOCKS_PROTOCOL, having(theirs, lambda _cid: True))
        monkeypatch.setattr(ours, "batch", batch)
        with pytest.raises(StoreUnavailableError, match="the disk is full"):
            await transfers.fetch([peer.peer_id], root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
