"""A result is fetched whole, or again, and appears when all of it is there."""

import pytest

from nunet_node.protocol.messages import BLOCKS_PROTOCOL
from nunet_node.results.layout import EXIT_CODE, OUTPUTS, STDERR, STDOUT
from nunet_node.runtime.exchange.fetching import Transfers
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.errors import BlockDamagedError
from tests.runtime_kit import linked_hosts, store_files
from tests.unit.runtime.exchange.test_blocks import serving

MODEL = b"weights" * 1000
FILES = {STDOUT: b"said", STDERR: b"", EXIT_CODE: b"0", f"{OUTPUTS}/model": MODEL}


@pytest.fixture
def stores(tmp_path):
    with (
        BlockStore(tmp_path / "theirs") as theirs,
        BlockStore(tmp_path / "ours") as ours,
    ):
        yield theirs, ours


async def fetch(stores, root, target):
    theirs, ours = stores
    async with linked_hosts() as (provider, user):
        provider.serve(BLOCKS_PROTOCOL, serving(theirs))
        await Transfers(user, ours).fetch(provider.peer_id, root, target)


async def test_a_block_that_a_power_cut_left_empty_is_fetched_again(stores, tmp_path):
    root = store_files(stores[0], tmp_path / "files", FILES).root
    await fetch(stores, root, tmp_path / "one")
    for block in (tmp_path / "ours" / "blocks").rglob("b*"):
        if block.is_file():
            block.write_bytes(bytes(block.stat().st_size))

    await fetch(stores, root, tmp_path / "two")

    assert (tmp_path / "two" / OUTPUTS / "model").read_bytes() == MODEL


async def test_a_disk_that_keeps_nothing_is_not_tried_for_ever(
    stores, tmp_path, monkeypatch
):
    root = store_files(stores[0], tmp_path / "files", FILES).root
    ours = stores[1]

    def damaged(cid):
        raise BlockDamagedError(f"block {cid} is damaged on disk")

    monkeypatch.setattr(ours, "get", damaged)
    with pytest.raises(BlockDamagedError):
        await fetch(stores, root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
