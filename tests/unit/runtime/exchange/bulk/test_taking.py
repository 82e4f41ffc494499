"""What a peer hands over comes by bulk connections, as far as they bring it."""

import pytest

from nunet_node.results.errors import BlockError
from nunet_node.results.plan import WantedBlock
from nunet_node.runtime.exchange.blocks import Taking
from nunet_node.runtime.exchange.bulk.taking import take_by_bulk
from nunet_node.runtime.exchange.requests import Block
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import StoreUnavailableError
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record
from tests.unit.runtime.exchange.bulk.giver import ALL, Giver

SIZE = 256 << 10
DATA = [bytes([number]) * SIZE for number in range(12)]
BLOCKS = [WantedBlock(cid=Cid.of_raw(data), size_bytes=SIZE) for data in DATA]
HAVE = dict(zip((block.cid for block in BLOCKS), DATA, strict=True))


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as store:
        yield store


async def take(giver, store, blocks=BLOCKS):
    """Take from a giver; return the ids of what was stored, as it was told."""
    told = []
    taking = Taking(has=store.has, on_block=told.append)
    await take_by_bulk(giver.channel, "giver", blocks, store, taking)
    assert sorted(told) == sorted(store.cids())
    assert all(store.is_intact(cid) for cid in told)
    return set(told)


async def test_all_comes_and_is_stored(store):
    giver = Giver(ALL, blocks=HAVE)
    assert await take(giver, store) == set(HAVE)
    assert sorted(giver.asked) == sorted(HAVE)


async def test_little_is_not_worth_a_connection(store):
    giver = Giver(ALL, blocks=HAVE)
    assert await take(giver, store, BLOCKS[:7]) == set()
    assert giver.asked == []


async def test_what_came_before_a_cut_is_not_asked_for_again(store):
    giver = Giver(5 * SIZE + 1000, ALL, blocks=HAVE)
    assert await take(giver, store) == set(HAVE)
    assert giver.asked.count(BLOCKS[0].cid) == 1


async def test_a_connection_that_brings_nothing_is_the_last(store):
    giver = Giver(3 * SIZE, 100, ALL, blocks=HAVE)
    assert len(await take(giver, store)) == 2
    assert giver._connections == [ALL]


async def test_without_a_connection_nothing_comes(store):
    assert await take(Giver(blocks=HAVE), store) == set()


async def test_what_the_peer_has_not_is_left(store):
    some = dict(list(HAVE.items())[:5])
    giver = Giver(ALL, ALL, blocks=some)
    assert await take(giver, store) == set(some)
    assert giver._connections == [ALL]


async def test_wrong_bytes_end_it_and_are_not_kept(store):
    giver = Giver(ALL, blocks=dict.fromkeys(HAVE, DATA[0]))
    with pytest.raises(BlockError):
        await take(giver, store)
    assert set(store.cids()) <= {BLOCKS[0].cid}


async def test_another_length_is_found_out_before_it_is_read(store):
    def answer(channel, _cid):
        channel.send(encode_record(Block(size_bytes=SIZE + 1)))

    with pytest.raises(BlockError):
        await take(Giver(answer, blocks=HAVE), store)


async def test_a_disk_that_is_full_ends_it(store, monkeypatch):
    def refuse(**_):
        raise StoreUnavailableError("the disk is full")

    monkeypatch.setattr(store, "batch", refuse)
    with pytest.raises(StoreUnavailableError):
        await take(Giver(ALL, blocks=HAVE), store)
