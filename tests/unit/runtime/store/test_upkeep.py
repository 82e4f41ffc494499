"""A node clears what nothing keeps, and finds damage before somebody needs the block."""

import os

import pytest
import trio

from nunet_node.runtime.exchange.blocks import blocks_under
from nunet_node.runtime.store.upkeep import GRACE_S, DiskCare
from nunet_node.runtime.work.custody import Custody
from nunet_node.storage.blocks import BlockStore
from tests.runtime_kit import store_files


@pytest.fixture
def custody(tmp_path):
    made = Custody.open(tmp_path / "kept")
    yield made
    made.store.close()


@pytest.fixture
def own(tmp_path):
    with BlockStore(tmp_path / "own") as store:
        yield store


def path_of(store, cid):
    return store._path(cid)


def age(store, cid, seconds):
    path = path_of(store, cid)
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_what_nothing_keeps_goes_when_it_is_old(custody, own, tmp_path):
    kept = store_files(custody.store, tmp_path / "files", {"a": b"kept"}).root
    custody.keep_result("j" * 32, 1, blocks_under(custody.store, kept))
    young, old = custody.store.put(b"young"), custody.store.put(b"old")
    mine = own.put(b"mine")
    for cid in custody.store.cids():
        if cid != young:
            age(custody.store, cid, GRACE_S + 1)
    age(own, mine, GRACE_S + 1)

    assert DiskCare(custody, own).clear() == 1
    assert not custody.store.has(old)
    assert custody.store.has(young)
    assert custody.store.has(kept)
    assert own.has(mine)


def test_a_damaged_block_is_set_aside_and_the_rest_is_read(custody, own, caplog):
    sizes = {custody.store.put(bytes([n]) * n): n for n in range(1, 9)}
    mine = own.put(b"mine")
    worst = next(iter(sizes))
    path_of(custody.store, worst).write_bytes(b"rot")

    read = sorted(DiskCare(custody, own).blocks())

    assert read == sorted([0, *(n for c, n in sizes.items() if c != worst), 4])
    assert not custody.store.has(worst)
    assert own.has(mine)
    assert str(worst) in caplog.text


def test_a_block_that_goes_meanwhile_is_passed_over(custody, own):
    cids = [custody.store.put(bytes([n])) for n in range(8)]
    steps = DiskCare(custody, own).blocks()
    next(steps)
    for cid in cids:
        custody.store.delete(cid)

    assert list(steps) == []


async def test_scrubbing_takes_as_long_as_was_agreed(custody, own, autojump_clock):
    for n in range(4):
        own.put(bytes([n]) * (1 << 20))
    begun_s = trio.current_time()
    await DiskCare(custody, own, bytes_per_s=1 << 20).scrub()

    assert trio.current_time() - begun_s == pytest.approx(4)
