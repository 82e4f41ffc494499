"""The block store: what it promises, and what it does on a disk that fails."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nunet_node.errors import MisuseError
from nunet_node.storage import blocks as blocks_module
from nunet_node.storage import files
from nunet_node.storage.batch import PENDING_BLOCKS_MAX, UNSURE_S
from nunet_node.storage.blocks import QUARANTINE_FILES_MAX, BlockStore, StoreUsage
from nunet_node.storage.errors import (
    BlockDamagedError,
    BlockMissingError,
    StoreUnavailableError,
    TreeRefusedError,
)
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import BLOCK_DECODE_BYTES_MAX

WRITER = """
import os, sys
from pathlib import Path
from nunet_node.storage.blocks import BlockStore
store = BlockStore(Path(sys.argv[1]))
for number in range(10**6):
    with store.batch() as batch:
        for part in range(5):
            batch.put(b"%d.%d" % (number, part) * 1000)
    os.write(1, b"%d\\n" % number)
"""


@pytest.fixture
def store(tmp_path):
    with BlockStore(tmp_path / "store") as opened:
        yield opened


def file_of(tmp_path, cid):
    (path,) = (tmp_path / "store" / "blocks").glob(f"*/{cid}")
    return path


def test_a_block_is_read_back_after_a_restart(tmp_path):
    with BlockStore(tmp_path / "store") as store:
        cid = store.put(b"data")
        assert cid == Cid.of_raw(b"data")
    with BlockStore(tmp_path / "store") as store:
        assert (store.get(cid), store.size_bytes(cid), store.has(cid)) == (
            b"data",
            4,
            True,
        )


def test_an_empty_block_is_a_block(store):
    assert store.get(store.put(b"")) == b""


def test_a_block_put_twice_is_stored_once(store):
    first = store.put(b"data")
    assert store.put(b"data", first) == first
    assert store.stat() == StoreUsage(blocks=1, size_bytes=4)
    assert list(store.cids()) == [first]


def test_the_codec_is_part_of_the_name(store):
    store.put(b"\xa0", Cid.of_dag_cbor(b"\xa0"))
    assert not store.has(Cid.of_raw(b"\xa0"))


def test_bytes_under_another_name_are_refused(store):
    with pytest.raises(BlockDamagedError):
        store.put(b"data", Cid.of_raw(b"other"))
    assert store.stat().blocks == 0


def test_a_block_beyond_the_limit_is_misuse(store):
    with pytest.raises(MisuseError):
        store.put(bytes(BLOCK_DECODE_BYTES_MAX + 1))


def test_a_missing_block_is_missing_everywhere(store):
    cid = Cid.of_raw(b"absent")
    assert not store.has(cid)
    assert not store.delete(cid)
    with pytest.raises(BlockMissingError):
        store.get(cid)
    with pytest.raises(BlockMissingError):
        store.size_bytes(cid)


def test_a_deleted_block_is_gone(store):
    cid = store.put(b"data")
    assert store.delete(cid)
    assert not store.has(cid)


def test_blocks_of_a_batch_appear_together(store):
    with store.batch() as batch:
        cids = [batch.put(b"%d" % number) for number in range(10)]
        assert not any(map(store.has, cids))
    assert [store.get(cid) for cid in cids] == [b"%d" % number for number in range(10)]


def test_a_batch_that_fails_leaves_nothing(tmp_path, store):
    def fail_half_way():
        with store.batch() as batch:
            batch.put(b"one")
            batch.put(b"two", Cid.of_raw(b"three"))

    with pytest.raises(BlockDamagedError):
        fail_half_way()
    assert store.stat().blocks == 0
    assert not list((tmp_path / "store/scratch").glob("*/*"))


def test_a_long_batch_is_committed_on_the_way(store):
    with store.batch() as batch:
        for number in range(PENDING_BLOCKS_MAX):
            batch.put(b"%d" % number)
        assert store.stat().blocks == PENDING_BLOCKS_MAX


@pytest.mark.parametrize("size_bytes", [0, 1, 9, 10, 11, 25])
def test_a_file_is_cut_into_equal_chunks_and_a_rest(tmp_path, store, size_bytes):
    data = random.Random(size_bytes).randbytes(size_bytes)
    (tmp_path / "file").write_bytes(data)
    stored = store.add_file(tmp_path / "file", chunk_bytes=10)
    assert stored.size_bytes == size_bytes
    pieces = [store.get(cid) for cid in stored.chunks]
    assert b"".join(pieces) == data
    assert all(len(piece) == 10 for piece in pieces[:-1])


def test_an_open_file_is_added_from_where_it_stands(tmp_path, store):
    (tmp_path / "file").write_bytes(b"skipped, kept")
    with (tmp_path / "file").open("rb", buffering=0) as file:
        file.seek(9)
        stored = store.add_file(file.fileno())
    assert [store.get(cid) for cid in stored.chunks] == [b"kept"]


def test_a_file_beyond_its_limit_is_refused_and_leaves_nothing(tmp_path, store):
    (tmp_path / "file").write_bytes(bytes(11))
    with pytest.raises(TreeRefusedError), store.batch() as batch:
        batch.add_file(tmp_path / "file", bytes_max=10)
    assert store.stat().blocks == 0


@pytest.mark.parametrize("place", [0, 500, 999])
def test_a_flipped_bit_is_never_served(tmp_path, store, place):
    cid = store.put(bytes(1000))
    path = file_of(tmp_path, cid)
    damaged = bytearray(1000)
    damaged[place] ^= 16
    path.write_bytes(damaged)
    with pytest.raises(BlockDamagedError, match="set aside"):
        store.get(cid)
    assert not store.has(cid)
    assert (tmp_path / "store/quarantine" / str(cid)).read_bytes() == damaged


@pytest.mark.parametrize("length", [0, 999, 1001, BLOCK_DECODE_BYTES_MAX + 10])
def test_a_block_of_another_length_is_never_served(tmp_path, store, length):
    cid = store.put(bytes(1000))
    os.truncate(file_of(tmp_path, cid), length)
    with pytest.raises(BlockDamagedError):
        store.get(cid)


def test_a_block_that_was_set_aside_can_be_put_again(tmp_path, store):
    cid = store.put(b"data")
    file_of(tmp_path, cid).write_bytes(b"ruin")
    with pytest.raises(BlockDamagedError):
        store.get(cid)
    store.put(b"data")
    assert store.get(cid) == b"data"


def test_a_block_cut_short_is_mended_by_putting_it_again(tmp_path, store):
    cid = store.put(b"data")
    os.truncate(file_of(tmp_path, cid), 2)
    store.put(b"data")
    assert store.get(cid) == b"data"


def test_quarantine_does_not_fill_the_disk(tmp_path, store):
    for number in range(QUARANTINE_FILES_MAX + 3):
        cid = store.put(b"%d" % number)
        file_of(tmp_path, cid).write_bytes(b"ruin")
        with pytest.raises(BlockDamagedError):
            store.get(cid)
    kept = list((tmp_path / "store/quarantine").iterdir())
    assert len(kept) == QUARANTINE_FILES_MAX


def test_a_block_that_became_a_link_is_not_followed(tmp_path, store):
    cid = store.put(b"data")
    path = file_of(tmp_path, cid)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailableError):
        store.get(cid)


def test_everything_is_for_its_owner_alone(tmp_path, store):
    store.put(b"data")
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "store").rglob("*")}
    assert modes == {0}


def test_threads_may_put_and_get_the_same_blocks(store):
    def work():
        for number in range(30):
            assert store.get(store.put(b"%d" % number)) == b"%d" % number

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.stat().blocks == 30


def test_opening_spares_what_a_living_process_is_writing(tmp_path, store):
    with store.batch() as batch:
        cid = batch.put(b"data")
        with BlockStore(tmp_path / "store") as other:
            assert other.stat().blocks == 0
    assert store.get(cid) == b"data"


@pytest.mark.parametrize("acknowledged", [1, 4, 11])
def test_a_killed_writer_loses_nothing_and_leaves_nothing(tmp_path, acknowledged):
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "store")], stdout=subprocess.PIPE
    ) as writer:
        for _ in range(acknowledged):
            assert writer.stdout.readline()
        writer.kill()
    with BlockStore(tmp_path / "store") as store:
        for number in range(acknowledged):
            for part in range(5):
                data = b"%d.%d" % (number, part) * 1000
                assert store.get(Cid.of_raw(data)) == data
        for cid in store.cids():
            store.get(cid)
        (scratch,) = (tmp_path / "store/scratch").iterdir()
        assert not list(scratch.iterdir())


def test_bytes_are_synced_before_their_names_and_names_before_the_end(
    tmp_path, store, monkeypatch
):
    steps = []
    sync, rename = os.fsync, Path.rename

    def record_sync(file):
        steps.append(("sync", Path(f"/proc/self/fd/{file}").readlink()))
        sync(file)

    def record_rename(path, target):
        steps.append(("rename", path, target))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "rename", record_rename)
    with store.batch() as batch:
        cids = [batch.put(b"one"), batch.put(b"two")]
    renames = [step for step in steps if step[0] == "rename"]
    finals = [file_of(tmp_path, cid) for cid in cids]
    assert [target for _, _, target in renames] == finals
    first, last = steps.index(renames[0]), steps.index(renames[-1])
    assert {path for _, path in steps[:first]} == {path for _, path, _ in renames}
    assert {path for _, path in steps[last + 1 :]} == {
        *(final.parent for final in finals),
        tmp_path / "store" / "blocks",
    }


@pytest.fixture
def syncs(monkeypatch):
    """Count every sync, of a file or of all, and let each happen."""
    made = {"one": 0, "all": 0}

    def counted(name, sync):
        def call(file):
            made[name] += 1
            return sync(file)

        return call

    monkeypatch.setattr(os, "fsync", counted("one", os.fsync))
    monkeypatch.setattr(files, "_SYNCFS", counted("all", files._SYNCFS))
    return made


@pytest.mark.skipif(files._SYNCFS is None, reason="this system has no syncfs")
def test_a_thousand_small_blocks_cost_no_thousand_syncs(store, syncs):
    with store.batch() as batch:
        cids = [batch.put(number.to_bytes(4, "big")) for number in range(1000)]

    assert sum(syncs.values()) <= 2
    assert all(map(store.is_intact, cids))


def test_without_a_sync_of_all_each_is_synced(store, syncs, monkeypatch):
    monkeypatch.setattr(files, "_SYNCFS", None)
    with store.batch() as batch:
        cids = [batch.put(number.to_bytes(4, "big")) for number in range(100)]

    assert syncs["one"] >= len(cids)
    assert all(map(store.is_intact, cids))


@pytest.mark.skipif(files._SYNCFS is None, reason="this system has no syncfs")
def test_a_sync_of_all_that_fails_leaves_no_block_behind(store, monkeypatch):
    monkeypatch.setattr(files, "_SYNCFS", lambda _file: -1)
    with pytest.raises(StoreUnavailableError), store.batch() as batch:
        for number in range(100):
            batch.put(number.to_bytes(4, "big"))

    assert list(store.cids()) == []


def test_what_can_be_fetched_again_waits_for_no_disk(tmp_path, store, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with store.batch(durable=False) as batch:
        cid = batch.put(b"copy")
    assert synced == []
    assert store.get(cid) == b"copy"


def test_what_was_put_without_waiting_is_synced_for_whoever_vouches_for_it(
    tmp_path, store, monkeypatch
):
    with store.batch(durable=False) as batch:
        cid = batch.put(b"copy")
    synced, sync = [], os.fsync

    def record(file):
        synced.append(Path(f"/proc/self/fd/{file}").readlink())
        sync(file)

    monkeypatch.setattr(os, "fsync", record)
    store.put(b"copy")
    path = file_of(tmp_path, cid)
    assert synced == [path, path.parent]

    long_ago = path.stat().st_mtime - 2 * UNSURE_S
    os.utime(path, (long_ago, long_ago))
    synced.clear()
    store.put(b"copy")
    assert path not in synced


def test_what_this_process_has_synced_is_not_synced_again(tmp_path, store, monkeypatch):
    cid = store.put(b"again")
    synced, sync = [], os.fsync

    def record(file):
        synced.append(Path(f"/proc/self/fd/{file}").readlink())
        sync(file)

    monkeypatch.setattr(os, "fsync", record)
    store.put(b"again")
    assert synced == []

    # Somebody else cleared it and put it back, without waiting for the disk.
    path = file_of(tmp_path, cid)
    path.rename(path.with_name("held"))
    path.write_bytes(b"again")
    store.put(b"again")
    assert synced == [path, path.parent]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import StoreUnavailableError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = BlockStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
try:
    with store.batch() as batch:
        batch.put(b"small")
        batch.put(bytes(100000))
except StoreUnavailableError as error:
    print(error)
assert store.stat().blocks == 0
store.put(b"next")
"""


def test_a_disk_that_fills_up_stores_nothing_of_the_batch(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "store")],
        capture_output=True,
        check=True,
        text=True,
    )
    assert "cannot store a block" in child.stdout
    with BlockStore(tmp_path / "store") as store:
        assert store.get(Cid.of_raw(b"next")) == b"next"


def test_a_store_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(StoreUnavailableError, match="cannot open"):
        BlockStore(tmp_path / "store")


def test_a_block_for_a_peer_is_hashed_again_once_its_file_has_changed(tmp_path, store):
    cid = store.put(b"data")
    assert store.get_for_peer(cid) == b"data"
    assert store.get_for_peer(cid) == b"data"
    [path] = (tmp_path / "store" / "blocks").rglob(str(cid))
    path.write_bytes(b"dato")
    with pytest.raises(BlockDamagedError):
        store.get_for_peer(cid)
    with pytest.raises(BlockMissingError):
        store.get_for_peer(cid)


def test_a_block_is_hashed_for_a_peer_again_after_a_while(store, monkeypatch):
    cid = store.put(b"data")
    hashed = []
    matches = Cid.matches

    def counted(cid, data):
        hashed.append(cid)
        return matches(cid, data)

    monkeypatch.setattr(Cid, "matches", counted)
    store.get_for_peer(cid)
    store.get_for_peer(cid)
    assert hashed == [cid]
    monkeypatch.setattr(blocks_module, "HASHED_S", 0)
    other = store.put(b"other")
    store.get_for_peer(other)
    store.get_for_peer(other)
    assert hashed == [cid, other, other]


def test_what_was_hashed_for_peers_is_forgotten_at_last(store, monkeypatch):
    monkeypatch.setattr(blocks_module, "HASHED_MAX", 2)
    cids = [store.put(bytes([number])) for number in range(5)]
    for cid in cids:
        store.get_for_peer(cid)
    assert [store.get_for_peer(cid) for cid in cids] == [
        b"\0",
        b"\1",
        b"\2",
        b"\3",
        b"\4",
    ]
