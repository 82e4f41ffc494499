"""A small result comes with its manifest, or else as any other does."""

from itertools import chain

import pytest
import trio

from nunet_node.protocol.messages import BLOCKS_PROTOCOL
from nunet_node.results.errors import BlockError
from nunet_node.results.layout import EXIT_CODE, OUTPUTS, STDERR, STDOUT
from nunet_node.runtime.exchange.bulk import small
from nunet_node.runtime.exchange.bulk.gathering import Listener
from nunet_node.runtime.exchange.requests import Block, Want, answer
from nunet_node.wire.schema import decode_record, encode_record
from tests.runtime_kit import store_files
from tests.unit.runtime.exchange.bulk.kit import fetching
from tests.unit.runtime.exchange.test_blocks import serving

MODEL = b"weights" * 1000
FILES = {STDOUT: b"said", STDERR: b"", EXIT_CODE: b"0", f"{OUTPUTS}/model": MODEL}


@pytest.fixture
def root(stores, tmp_path):
    return store_files(stores[0], tmp_path / "files", FILES).root


def counting(store, asked):
    """Return a handler that notes what is asked for on each stream."""

    async def handle(stream):
        asked.append([])
        mine = asked[-1]
        while (data := await stream.receive()) is not None:
            want = decode_record(Want, data, bytes_max=1 << 20)
            mine.extend(want.cids)
            await answer(stream, want, lambda _cid: True, store)

    return handle


def is_there(place):
    return (place / OUTPUTS / "model").read_bytes() == MODEL


async def test_a_small_result_comes_on_one_stream(stores, root, tmp_path):
    theirs, ours = stores
    asked = []
    heard = []
    listener = Listener(on_progress=lambda *each: heard.append(each))
    async with fetching(ours, 1) as ([peer], transfers):
        peer.serve(BLOCKS_PROTOCOL, counting(theirs, asked))
        ids = (peer.peer_id,)
        await transfers.fetch(ids, root, tmp_path / "out", listener=listener)
    assert is_there(tmp_path / "out")
    [on_one] = asked
    assert on_one[0] == root
    assert all(ours.has(cid) for cid in on_one)
    assert heard[-1] == (sum(map(len, FILES.values())),) * 2


async def test_nothing_is_asked_for_that_is_here(stores, root, tmp_path):
    theirs, ours = stores
    asked = []
    async with fetching(ours, 1) as ([peer], transfers):
        peer.serve(BLOCKS_PROTOCOL, counting(theirs, asked))
        for name in ("one", "two"):
            await transfers.fetch((peer.peer_id,), root, tmp_path / name)
    assert is_there(tmp_path / "two")
    ids = list(chain.from_iterable(asked))
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("limit", ["SMALL_BYTES_MAX", "SMALL_BLOCKS_MAX"])
async def test_what_is_not_small_is_gathered(
    stores, root, tmp_path, monkeypatch, limit
):
    theirs, ours = stores
    monkeypatch.setattr(small, limit, 1)
    asked = []
    async with fetching(ours, 1) as ([peer], transfers):
        peer.serve(BLOCKS_PROTOCOL, counting(theirs, asked))
        await transfers.fetch((peer.peer_id,), root, tmp_path / "out")
    assert is_there(tmp_path / "out")
    assert asked[0] == [root]
    assert len(asked) == 2


def lying(store, root):
    """Return a handler that sends a manifest, and nothing else that is true."""

    async def handle(stream):
        while (data := await stream.receive()) is not None:
            for cid in decode_record(Want, data, bytes_max=1 << 20).cids:
                block = store.get(cid)
                if cid != root:
                    block = bytes(len(block))
                await stream.send(encode_record(Block(size_bytes=len(block))))
                await stream.send_raw(block)

    return handle


async def test_who_lies_about_a_small_result_is_told_of_and_replaced(
    stores, root, tmp_path
):
    theirs, ours = stores
    dropped = []
    listener = Listener(on_dropped=lambda *each: dropped.append(each))
    async with fetching(ours, 2) as ((liar, honest), transfers):
        liar.serve(BLOCKS_PROTOCOL, lying(theirs, root))
        honest.serve(BLOCKS_PROTOCOL, serving(theirs))
        ids = (liar.peer_id, honest.peer_id)
        await transfers.fetch(ids, root, tmp_path / "out", listener=listener)
    assert is_there(tmp_path / "out")
    assert [peer for peer, _ in dropped] == [liar.peer_id]


async def test_nothing_appears_when_the_only_peer_lies_about_a_small_result(
    stores, root, tmp_path
):
    theirs, ours = stores
    async with fetching(ours, 1) as ([liar], transfers):
        liar.serve(BLOCKS_PROTOCOL, lying(theirs, root))
        with pytest.raises(BlockError):
            await transfers.fetch((liar.peer_id,), root, tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


async def test_who_falls_silent_keeps_the_others_waiting_only_so_long(
    stores, root, tmp_path, monkeypatch
):
    theirs, ours = stores
    monkeypatch.setattr(small, "SMALL_WAIT_S", 0)

    async def stop_at_chunks(stream):
        while (data := await stream.receive()) is not None:
            want = decode_record(Want, data, bytes_max=1 << 20)
            if want.cids != (root,):
                await trio.sleep_forever()
            await answer(stream, want, lambda _cid: True, theirs)

    async with fetching(ours, 2) as ((silent, honest), transfers):
        silent.serve(BLOCKS_PROTOCOL, stop_at_chunks)
        honest.serve(BLOCKS_PROTOCOL, serving(theirs))
        ids = (silent.peer_id, honest.peer_id)
        await transfers.fetch(ids, root, tmp_path / "out")
    assert is_there(tmp_path / "out")
