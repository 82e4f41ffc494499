"""Public blocks are for anybody, and no other block exists."""

import itertools

import pytest
import trio

from nunet_node.results.unixfs import of_tree
from nunet_node.runtime.exchange.public import bitswap
from nunet_node.runtime.exchange.public.bitswap import PROTOCOL, BitswapServer
from nunet_node.runtime.exchange.public.messages import read_varint
from nunet_node.runtime.exchange.public.shelf import Shelf
from nunet_node.runtime.exchange.public.trees import REST
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.cid import Cid
from tests.runtime_kit import linked_hosts, store_files
from tests.unit.runtime.exchange.public.test_messages import CID, entry, wantlist

FILES = {"stdout": b"", "outputs/model": b"weights" * 400_000}
HAVE, TELL = b"\x20\x01", b"\x28\x01"


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as store:
        yield store


@pytest.fixture
def built(store, tmp_path):
    return store_files(store, tmp_path / "files", FILES)


async def said(shelf, *messages):
    """Return all that is said to some messages."""
    heard = bytearray()
    async with linked_hosts() as (node, stranger):
        BitswapServer(node, shelf).serve()

        async def hear(stream):
            while data := await stream.receive_some():
                heard.extend(data)

        stranger.serve(PROTOCOL, hear)
        async with await stranger.open_stream(node.peer_id, PROTOCOL) as stream:
            for message in messages:
                await stream.send_raw(message)
            await stream.finish()
            assert await stream.receive_some() == b""
        await trio.testing.wait_all_tasks_blocked(0.05)
    return bytes(heard)


def message(*entries):
    body = wantlist(*entries)
    size = len(body)
    head = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return head + body


async def test_a_public_block_is_sent_to_a_stranger(store, built):
    made = of_tree(built.tree)
    shelf = Shelf(store, lambda: [built.root])
    heard = await said(shelf, message(entry(made.root.cid)))
    assert dict(made.blocks)[made.root.cid] in heard
    chunk = made.leaves[0]
    heard = await said(shelf, message(entry(chunk.to_bytes())))
    assert store.get(chunk) in heard


async def test_a_private_block_and_an_absent_one_get_one_answer(store, built):
    private = store.put(b"private").to_bytes()
    shelf = Shelf(store, list)
    for rest in (b"", TELL, HAVE, HAVE + TELL):
        heard = [
            await said(shelf, message(entry(cid, rest)))
            for cid in (private, built.root.to_bytes(), CID)
        ]
        assert len({len(each) for each in heard}) == 1
        assert bool(heard[0]) == (TELL in rest)
        assert b"private" not in b"".join(heard)


async def test_presence_is_told_without_the_block(store, built):
    made = of_tree(built.tree)
    shelf = Shelf(store, lambda: [built.root])
    heard = await said(shelf, message(entry(made.root.cid, HAVE)))
    assert heard.endswith(b"\x22\x28\x0a\x24" + made.root.cid + b"\x10\x00")


async def test_a_result_that_is_kept_no_longer_is_public_no_longer(store, built):
    roots = [built.root]
    shelf = Shelf(store, lambda: roots, clock=lambda: 0.0)
    made = of_tree(built.tree)
    assert shelf.has(made.root.cid)
    roots.clear()
    assert not shelf.has(made.root.cid)
    assert shelf.get(made.root.cid) is None


async def test_many_wants_do_not_make_a_node_look_through_what_it_keeps_for_each(store):
    looks, elapsed_s = [], itertools.count()
    shelf = Shelf(store, lambda: looks.append(1) or (), clock=lambda: next(elapsed_s))
    wanted = [shelf.has(bytes([number])) for number in range(REST)]
    assert (any(wanted), len(looks)) == (False, 1)
    shelf.has(b"later")
    shelf.has(b"later still")
    assert len(looks) == 2


async def test_a_block_that_the_disk_lost_is_absent(store, built):
    shelf = Shelf(store, lambda: [built.root])
    chunk = of_tree(built.tree).leaves[0]
    store.delete(chunk)
    assert shelf.get(chunk.to_bytes()) is None
    assert shelf.get(Cid.of_raw(b"").to_bytes()) == b""


async def test_words_that_are_no_wants_end_the_stream(store):
    with pytest.raises(Exception, match="reset"):
        await said(Shelf(store, list), b"\x05\x0a\xff\xff\xff\xff")


async def test_a_message_that_is_too_long_ends_the_stream(store, monkeypatch):
    monkeypatch.setattr(bitswap, "MESSAGE_BYTES_MAX", 10)
    with pytest.raises(Exception, match="reset"):
        await said(Shelf(store, list), message(entry()))


async def test_one_peer_has_only_so_many_streams(store, monkeypatch):
    monkeypatch.setattr(bitswap, "STREAMS_PER_PEER_MAX", 1)
    async with linked_hosts() as (node, stranger):
        BitswapServer(node, Shelf(store, list)).serve()
        async with await stranger.open_stream(node.peer_id, PROTOCOL) as stream:
            await stream.send_raw(message(entry()))
            await trio.testing.wait_all_tasks_blocked()
            second = await stranger.open_stream(node.peer_id, PROTOCOL)
            with pytest.raises(Exception, match="reset"):
                await second.receive_some()


async def test_more_blocks_than_fit_one_message_come_in_several(
    store, built, monkeypatch
):
    monkeypatch.setattr(bitswap, "REPLY_BYTES", 1)
    made = of_tree(built.tree)
    wanted = [cid for cid, _ in made.blocks]
    heard = await said(Shelf(store, lambda: [built.root]), message(*map(entry, wanted)))
    count = at = 0
    while at < len(heard):
        size, at = read_varint(heard, at)
        at += size
        count += 1
    assert count == len(wanted)
