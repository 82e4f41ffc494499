"""Blocks count once they were checked, and whoever waits for them hears of the end."""

import threading

import pytest

from nunet_node.results.errors import BlockError
from nunet_node.results.plan import WantedBlock
from nunet_node.runtime.exchange.bulk import haul as haul_module
from nunet_node.runtime.exchange.bulk.haul import Haul, HaulEndedError, Keeping
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import StoreUnavailableError
from nunet_node.wire.cid import Cid

DATA = [bytes([number]) * 100 for number in range(40)]
BLOCKS = [WantedBlock(cid=Cid.of_raw(data), size_bytes=100) for data in DATA]


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as store:
        yield store


def haul_of(store, count, on_bytes=lambda _done, _total: None, held_max=16):
    keeping = Keeping(held_max=held_max)
    haul = Haul(store, BLOCKS[:count], 100 * count, on_bytes, keeping)
    haul.join("a")
    return haul


def test_what_came_is_stored_and_handed_out(store):
    haul = haul_of(store, 3)
    for block, data in zip(haul.take("a", wait=True), DATA, strict=False):
        haul.keep(block, data)
    assert haul.done
    haul.store()
    assert [haul.get(block.cid) for block in BLOCKS[:3]] == DATA[:3]
    assert [store.get(block.cid) for block in BLOCKS[:3]] == DATA[:3]


def test_another_block_than_the_wanted_one_is_refused(store):
    haul = haul_of(store, 1)
    with pytest.raises(BlockError):
        haul.keep(BLOCKS[0], DATA[1])
    assert not haul.done
    assert haul.lacking_bytes == 100


def test_bytes_are_counted_as_they_come(store):
    seen = []
    haul = haul_of(store, 2, lambda *each: seen.append(each))
    haul.keep(BLOCKS[0], DATA[0])
    haul.keep(BLOCKS[0], DATA[0])
    haul.keep(BLOCKS[1], DATA[1])
    assert seen == [(0, 200), (100, 200), (200, 200)]


def test_the_writer_waits_for_its_block_and_hurries_it(store, monkeypatch):
    monkeypatch.setattr(haul_module, "PORTION_BLOCKS", 1)
    haul = haul_of(store, 3)
    got = []
    writer = threading.Thread(target=lambda: got.append(haul.get(BLOCKS[2].cid)))
    writer.start()
    asked = []
    while BLOCKS[2] not in asked:
        asked += haul.take("a", wait=True)
    haul.keep(BLOCKS[2], DATA[2])
    writer.join()
    assert got == [DATA[2]]


def test_whoever_waits_hears_that_the_rest_will_not_come(store):
    haul = haul_of(store, 1)
    heard = []

    def wait():
        try:
            haul.get(BLOCKS[0].cid)
        except HaulEndedError as error:
            heard.append(str(error))

    waiting = [
        threading.Thread(target=wait),
        threading.Thread(target=haul.store),
    ]
    for each in waiting:
        each.start()
    haul.end("nobody is left")
    haul.end("said too late")
    for each in waiting:
        each.join()
    assert heard == ["nobody is left"]
    assert haul.take("a", wait=True) == ()


def test_what_found_no_room_in_memory_is_read_from_the_store(store, monkeypatch):
    monkeypatch.setattr(haul_module, "PORTION_BLOCKS", 1)
    haul = haul_of(store, 4, held_max=1)
    wanted = [BLOCKS[3], *BLOCKS[:3]]
    got = []

    def write():
        got.extend(haul.get(block.cid) for block in wanted)

    def bring():
        # It waits for the last, so that those before it do not wait for it.
        for block, data in zip(BLOCKS[:4], DATA, strict=False):
            haul.keep(block, data)

    writer, bringing = (threading.Thread(target=each) for each in (write, bring))
    writer.start()
    asked = []
    while BLOCKS[3] not in asked:
        asked += haul.take("a", wait=True)
    bringing.start()
    haul.store()
    for each in (writer, bringing):
        each.join()
    assert got == [DATA[3], *DATA[:3]]


def test_a_source_waits_while_the_writer_is_behind(store):
    haul = haul_of(store, 20, held_max=2)
    kept, ahead, got = [], [], []

    def bring():
        for block, data in zip(BLOCKS[:20], DATA, strict=False):
            haul.keep(block, data)
            kept.append(block)

    threads = [threading.Thread(target=each) for each in (bring, haul.store)]
    for each in threads:
        each.start()
    for number, block in enumerate(BLOCKS[:20]):
        ahead.append(len(kept) - number)
        got.append(haul.get(block.cid))
    for each in threads:
        each.join()
    assert got == DATA[:20]
    assert max(ahead) <= 2


def test_a_source_waits_while_the_disk_is_behind(store, monkeypatch):
    monkeypatch.setattr(haul_module, "UNSTORED_BLOCKS_MAX", 2)
    haul = haul_of(store, 8)

    def bring():
        for block, data in zip(BLOCKS[:8], DATA, strict=False):
            haul.keep(block, data)

    bringing = threading.Thread(target=bring)
    bringing.start()
    haul.store()
    bringing.join()
    assert all(store.has(block.cid) for block in BLOCKS[:8])


def test_a_source_without_the_rest_is_let_go(store):
    haul = haul_of(store, 2)
    for block in haul.take("a", wait=True):
        haul.refused("a", block)
    assert haul.take("a", wait=True) == ()
    assert not haul.done


def test_a_disk_that_cannot_be_written_is_told_of(store, monkeypatch):
    haul = haul_of(store, 1)
    haul.keep(BLOCKS[0], DATA[0])

    def full(**_):
        raise StoreUnavailableError("the disk is full")

    monkeypatch.setattr(store, "batch", full)
    with pytest.raises(StoreUnavailableError):
        haul.store()
