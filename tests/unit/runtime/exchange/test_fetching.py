"""A result is fetched whole, or again, and appears when all of it is there."""

import pytest

from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.specification import JobId
from nunet_node.protocol.messages import BLOCKS_PROTOCOL
from nunet_node.results.errors import SealError
from nunet_node.results.layout import EXIT_CODE, OUTPUTS, STDERR, STDOUT
from nunet_node.results.sealing import Seal, unwrap_key
from nunet_node.runtime.exchange.fetching import Transfers
from nunet_node.runtime.work.packing import Leaving, pack_sealed
from tests.runtime_kit import linked_hosts, store_files
from tests.unit.runtime.exchange.test_blocks import serving

OWNER = SigningKey(bytes(32))
JOB = JobId("j" * 32)
MODEL = b"weights" * 1000
FILES = {STDOUT: b"said", STDERR: b"", EXIT_CODE: b"0", f"{OUTPUTS}/model": MODEL}


async def fetch(stores, root, target, seal=None):
    theirs, ours = stores
    async with linked_hosts() as (provider, user):
        provider.serve(BLOCKS_PROTOCOL, serving(theirs))
        transfers = Transfers(user, ours)
        await transfers.fetch((provider.peer_id,), root, target, seal=seal)


async def test_a_block_that_a_power_cut_left_empty_is_fetched_again(stores, tmp_path):
    root = store_files(stores[0], tmp_path / "files", FILES).root
    await fetch(stores, root, tmp_path / "one")
    for block in (tmp_path / "ours" / "blocks").rglob("b*"):
        if block.is_file():
            block.write_bytes(bytes(block.stat().st_size))

    await fetch(stores, root, tmp_path / "two")

    assert (tmp_path / "two" / OUTPUTS / "model").read_bytes() == MODEL


def sealed(store, directory):
    """Store `FILES` as a sealed result; return what packing them gave, and the seal."""
    for name, data in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    leaving = [Leaving(path=name, source=directory / name) for name in FILES]
    packed = pack_sealed(store, leaving, job=JOB, attempt=1, owner=OWNER.did)
    key = unwrap_key(
        packed.sealed_key,
        reader=OWNER.did,
        reader_secret=OWNER.key_agreement_secret(),
        job=JOB,
        root=packed.root,
    )
    return packed, Seal(key=key, job=JOB, attempt=1)


async def test_a_sealed_result_is_opened_as_it_is_written(stores, tmp_path):
    packed, seal = sealed(stores[0], tmp_path / "files")
    assert packed.size_bytes == sum(map(len, FILES.values()))
    await fetch(stores, packed.root, tmp_path / "out", seal)
    for name, data in FILES.items():
        assert (tmp_path / "out" / name).read_bytes() == data


async def test_a_sealed_block_that_was_damaged_here_is_fetched_again(stores, tmp_path):
    packed, seal = sealed(stores[0], tmp_path / "files")
    await fetch(stores, packed.root, tmp_path / "one", seal)
    for block in (tmp_path / "ours" / "blocks").rglob("bafk*"):
        block.write_bytes(bytes(block.stat().st_size))
    await fetch(stores, packed.root, tmp_path / "two", seal)
    assert (tmp_path / "two" / OUTPUTS / "model").read_bytes() == MODEL


async def test_a_result_under_another_key_writes_nothing(stores, tmp_path):
    packed, _ = sealed(stores[0], tmp_path / "files")
    with pytest.raises(SealError):
        other = Seal(key=bytes(32), job=JOB, attempt=1)
        await fetch(stores, packed.root, tmp_path / "out", other)
    assert not (tmp_path / "out").exists()


async def test_a_disk_that_keeps_nothing_does_not_stop_a_fetch(
    stores, tmp_path, monkeypatch
):
    root = store_files(stores[0], tmp_path / "files", FILES).root
    await fetch(stores, root, tmp_path / "one")
    ours = stores[1]
    read = ours._read_marked
    monkeypatch.setattr(ours, "_read_marked", lambda cid: (b"damaged", read(cid)[1]))
    await fetch(stores, root, tmp_path / "two")
    assert (tmp_path / "two" / OUTPUTS / "model").read_bytes() == MODEL
