"""Which blocks stay when a job's tree goes."""

import pytest

from nunet_node.errors import MisuseError
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockMissingError
from nunet_node.storage.pins import Pins
from nunet_node.wire.cid import Cid


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def pins(tmp_path, store):
    return Pins(tmp_path / "pins", store)


@pytest.fixture
def cids(store):
    return [store.put(b"%d" % number) for number in range(4)]


def kept(store):
    return set(store.cids())


def test_a_block_goes_with_its_last_pin(store, pins, cids):
    pins.pin("job-1", cids[:3])
    pins.pin("job-2", cids[2:])
    assert pins.unpin("job-1") == 2
    assert kept(store) == set(cids[2:])
    assert pins.unpin("job-2") == 2
    assert kept(store) == set()


def test_pins_outlive_the_process(tmp_path, store, pins, cids):
    pins.pin("job-1", cids[:2])
    pins.pin("job-2", cids[1:])
    again = Pins(tmp_path / "pins", store)
    assert again.labels() == ("job-1", "job-2")
    assert again.unpin("job-2") == 2
    assert kept(store) == set(cids[:2])


def test_a_pin_that_is_replaced_lets_go_of_what_it_no_longer_names(store, pins, cids):
    pins.pin("job-1", cids)
    pins.pin("job-1", cids[:1])
    assert kept(store) == set(cids[:1])


def test_a_block_named_twice_is_counted_once(store, pins, cids):
    pins.pin("job-1", [cids[0], cids[0]])
    assert pins.unpin("job-1") == 1


def test_a_block_that_is_not_here_cannot_be_pinned(store, pins, cids):
    with pytest.raises(BlockMissingError):
        pins.pin("job-1", [cids[0], Cid.of_raw(b"absent")])
    assert pins.labels() == ()


def test_an_unknown_label_lets_go_of_nothing(store, pins, cids):
    assert pins.unpin("job-1") == 0
    assert kept(store) == set(cids)


def test_sweeping_deletes_what_no_pin_keeps(store, pins, cids):
    pins.pin("job-1", cids[:1])
    assert pins.sweep() == 3
    assert kept(store) == set(cids[:1])


@pytest.mark.parametrize("label", ["", ".new", "..", "a/b", "a b", "x" * 129])
def test_a_label_that_is_no_file_name_is_misuse(pins, label):
    with pytest.raises(MisuseError):
        pins.pin(label, [])
    with pytest.raises(MisuseError):
        pins.unpin(label)


@pytest.mark.parametrize("left", [b"x", bytes(36), bytes(4096)])
def test_a_pin_that_a_power_cut_left_without_its_bytes_counts_as_none(
    tmp_path, store, pins, cids, left
):
    pins.pin("job-1", cids)
    (tmp_path / "pins" / "job-1").write_bytes(left)
    assert Pins(tmp_path / "pins", store).labels() == ()
    assert kept(store) == set(cids)


@pytest.mark.parametrize("length", [32, 36, 68, 100, 108])
def test_a_pin_that_was_cut_short_names_nothing(tmp_path, store, pins, cids, length):
    pins.pin("job-1", cids)
    path = tmp_path / "pins" / "job-1"
    path.write_bytes(path.read_bytes()[:length])
    again = Pins(tmp_path / "pins", store)
    assert not any(again.keeps("job-1", cid) for cid in cids)


def test_a_pin_of_the_layout_before_this_one_still_keeps(tmp_path, store, pins, cids):
    pins.pin("job-1", [])
    written = b"".join(cid.to_bytes() for cid in cids)
    (tmp_path / "pins" / "job-1").write_bytes(written)
    again = Pins(tmp_path / "pins", store)
    assert all(again.keeps("job-1", cid) for cid in cids)


def test_a_pin_that_a_crash_cut_short_counts_as_none(tmp_path, store, pins, cids):
    (tmp_path / "pins" / ".new").write_bytes(b"half")
    assert Pins(tmp_path / "pins", store).labels() == ()
