"""Checking finds what is damaged, and clearing takes only what nobody needs."""

import os

import pytest

from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.specification import Engine, JobId, JobSpec
from nunet_node.protocol.facts import OrderPlaced
from nunet_node.runtime.home import open_home
from nunet_node.runtime.ledger import Ledger
from nunet_node.runtime.store.care import check, clear, held
from nunet_node.storage.blocks import BlockStore
from tests.runtime_kit import store_files

JOB = JobId("j" * 32)


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


@pytest.fixture
def store(home):
    with BlockStore(home.blocks) as made:
        yield made


def place(home, inputs):
    fact = OrderPlaced(
        job=JOB,
        owner=SigningKey(bytes(32)).did,
        spec=JobSpec(name="n", engine=Engine.WASM, command=("m",), inputs=inputs),
        salt=bytes(16),
        at_s=1,
    )
    ledger = Ledger.open(home, provides=False)
    ledger.append([fact])
    ledger.close()


def file_of(store, cid):
    (path,) = [p for p in store._blocks.rglob("*") if p.name == str(cid)]
    return path


def test_whole_blocks_are_counted(store):
    store.put(b"one")
    store.put(b"three")
    found = check(store)
    assert (found.blocks, found.size_bytes, found.damaged) == (2, 8, ())


def test_a_damaged_block_is_named_and_set_aside(store):
    cid = store.put(b"one")
    file_of(store, cid).write_bytes(b"two")
    assert check(store).damaged == (cid,)
    assert not store.has(cid)
    assert check(store).damaged == ()


def test_clearing_keeps_what_a_job_under_way_needs(home, store, tmp_path):
    needed = store_files(store, tmp_path / "a", {"x": b"needed"}).root
    loose = store_files(store, tmp_path / "b", {"x": b"loose"}).root
    place(home, needed)
    gone = clear(home, store, grace_s=-1)
    assert gone.blocks == 2
    assert store.has(needed)
    assert not store.has(loose)
    assert [(each.what, each.root) for each in held(home, store)] == [
        ("inputs", needed)
    ]


def test_clearing_keeps_what_is_young_and_what_was_just_put_again(home, store):
    old, again = store.put(b"old"), store.put(b"again")
    for cid in (old, again):
        os.utime(file_of(store, cid), (0, 0))
    store.put(b"again")
    young = store.put(b"young")
    assert clear(home, store).blocks == 1
    assert [store.has(cid) for cid in (old, again, young)] == [False, True, True]
