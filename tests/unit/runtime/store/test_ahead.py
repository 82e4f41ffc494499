"""Reading ahead gives what reading one by one gives, and holds only so much."""

import threading

import pytest

from nunet_node.runtime.store import ahead as module
from nunet_node.runtime.store.ahead import (
    AHEAD_BLOCKS_MAX,
    GROUP_BLOCKS_MAX,
    READERS_MAX,
    SMALL_BYTES,
    expecting,
    read_ahead,
)
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockDamagedError, BlockMissingError
from nunet_node.wire.cid import Cid

COUNT = 40
LARGE = [bytes((number,)) * SMALL_BYTES for number in range(COUNT)]
MIXED = [data[: 9 if number % 7 < 3 else None] for number, data in enumerate(LARGE)]
NAMES = [Cid.of_raw(number.to_bytes(2)) for number in range(COUNT)]


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as made:
        yield made


def put(store, blocks):
    with store.batch(durable=False) as batch:
        return [batch.put(data) for data in blocks]


def readers():
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("read-ahead")]


@pytest.mark.parametrize("blocks", [LARGE, MIXED, LARGE[:1], []])
def test_blocks_come_in_the_order_in_which_they_were_asked_for(store, blocks):
    order = put(store, blocks)[::-1]
    assert list(read_ahead(store.get, len, order)) == blocks[::-1]
    assert readers() == []


def test_an_error_comes_where_its_block_stood(store):
    order = put(store, LARGE)
    lacking = 2 * GROUP_BLOCKS_MAX + 2
    store.delete(order[lacking])
    coming = read_ahead(store.get, len, order)
    before = [next(coming) for _ in range(lacking)]
    assert before == LARGE[:lacking]
    with pytest.raises(BlockMissingError):
        next(coming)
    assert readers() == []


def test_only_so_many_blocks_are_read_beside_those_handed_out():
    begun = []

    def read(cid):
        begun.append(cid)
        return NAMES.index(cid)

    for number in read_ahead(read, lambda _: SMALL_BYTES, NAMES):
        assert len(begun) <= number + GROUP_BLOCKS_MAX + AHEAD_BLOCKS_MAX
    assert sorted(begun) == sorted(NAMES)


def test_two_blocks_are_read_at_the_same_time():
    meeting = threading.Barrier(READERS_MAX, timeout=60)
    met = []

    def read(cid):
        # The first tells how long blocks are, and is read by whoever asks.
        if cid != NAMES[0]:
            meeting.wait()
            met.append(threading.current_thread().name)
        return b""

    count = 1 + READERS_MAX * GROUP_BLOCKS_MAX
    assert len(list(read_ahead(read, lambda _: SMALL_BYTES, NAMES[:count]))) == count
    assert len(set(met)) == READERS_MAX


def test_small_blocks_are_read_by_whoever_asks():
    threads = set()

    def read(_cid):
        threads.add(threading.current_thread())
        return b"small"

    assert len(list(read_ahead(read, len, NAMES))) == COUNT
    assert threads == {threading.current_thread()}


def test_who_stops_early_leaves_no_thread_behind(store):
    coming = read_ahead(store.get, len, put(store, LARGE))
    for _ in range(3):
        next(coming)
    assert readers()
    coming.close()
    assert readers() == []


def test_blocks_asked_for_beside_the_order_are_read_at_once(store):
    order = put(store, MIXED)
    with expecting(store.get, order) as get:
        # As a sealed tree is read: its index stands at its end.
        assert get(order[-1]) == MIXED[-1]
        assert [get(cid) for cid in order] == MIXED
        assert get(order[0]) == MIXED[0]
    assert readers() == []


def test_equal_blocks_in_one_order_are_each_given(store):
    order = put(store, LARGE[:2]) * 3
    with expecting(store.get, order) as get:
        assert [get(cid) for cid in order] == LARGE[:2] * 3


def test_what_is_damaged_is_found_where_it_is_expected(store):
    order = put(store, LARGE)
    store._path(order[20]).write_bytes(LARGE[20][:-1] + b"x")
    with expecting(store.get, order) as get:
        assert [get(cid) for cid in order[:20]] == LARGE[:20]
        with pytest.raises(BlockDamagedError):
            get(order[20])
        assert get(order[21]) == LARGE[21]


def test_the_limits_fit_each_other():
    assert module.AHEAD_BLOCKS_MAX >= READERS_MAX * GROUP_BLOCKS_MAX
