"""What was fetched once needs nobody any more, and is believed no more than before."""

import shutil
from contextlib import asynccontextmanager

import pytest
import trio

from nunet_node.client import (
    JobFile,
    ProviderUnreachableError,
    ReadElsewhere,
    open_client,
)
from nunet_node.client.fetching.at_hand import RECEIPT_FILE
from nunet_node.network.memory import MemoryNetwork
from nunet_node.quantities import ResourceVector
from nunet_node.runtime.home import open_home
from nunet_node.runtime.peer import open_peer
from nunet_node.runtime.settings import PeerSettings, Provide
from tests.executors_kit import need
from tests.runtime_kit import memory_opener

ROOM = ResourceVector(cpu_millis=1000, memory_bytes=512 << 20, disk_bytes=512 << 20)


class Lone:
    """A user whose job's provider is gone, after the result was fetched once."""

    def __init__(self, tmp_path, opener):
        self.tmp_path, self.opener = tmp_path, opener
        self.job = ""
        self.first = tmp_path / "first"
        self.told = []

    @asynccontextmanager
    async def client(self, *addresses):
        with trio.fail_after(100):
            async with open_client(
                self.tmp_path / "user", bootstrap=addresses, network=self.opener
            ) as client:
                yield client

    async def run_a_job(self, **said):
        home = open_home(self.tmp_path / "provider")
        settings = PeerSettings(
            home=home,
            key=home.node_key(),
            is_node=True,
            provide=Provide(offer=lambda _found: ROOM),
            gossip=True,
            drain_s=0,
        )
        work = JobFile(command=("/bin/sh", "-c", "echo out; echo made > made"), **said)
        async with (
            open_peer(settings, network=self.opener) as peer,
            self.client(*peer.addresses()) as client,
        ):
            handle = await client.submit(work)
            await handle.ended()
            await handle.fetch(self.first)
            self.job = handle.job

    async def fetch(self, name):
        async with self.client() as client:
            handle = await client.find(self.job)
            await handle.fetch(self.tmp_path / name, on_elsewhere=self.told.append)
        return self.tmp_path / name

    def bend_a_block(self):
        blocks = [p for p in (self.tmp_path / "user/blocks").rglob("*") if p.is_file()]
        largest = max(blocks, key=lambda path: path.stat().st_size)
        data = bytearray(largest.read_bytes())
        data[-1] ^= 1
        largest.chmod(0o600)
        largest.write_bytes(data)


@pytest.fixture
async def lone(tmp_path):
    await need("process")
    made = Lone(tmp_path, memory_opener(MemoryNetwork()))
    await made.run_a_job()
    return made


async def test_a_result_that_is_here_is_written_again_without_anybody(lone):
    again = await lone.fetch("again")

    assert lone.told == [ReadElsewhere()]
    assert (again / "outputs/made").read_text() == "made\n"
    assert (again / RECEIPT_FILE).read_bytes() == (
        lone.first / RECEIPT_FILE
    ).read_bytes()


@pytest.mark.parametrize("receipt", ["moved", "forged"])
async def test_without_the_receipt_the_last_notice_opens_it(lone, receipt):
    if receipt == "moved":
        (lone.first / RECEIPT_FILE).unlink()
    else:
        (lone.first / RECEIPT_FILE).write_bytes(b"\xd2\x84")
    again = await lone.fetch("again")

    assert lone.told == [ReadElsewhere(has_receipt=False)]
    assert (again / "stdout").read_text() == "out\n"
    assert not (again / RECEIPT_FILE).exists()


async def test_a_damaged_block_is_not_used_and_nothing_is_written(lone):
    lone.bend_a_block()

    with pytest.raises(ProviderUnreachableError):
        await lone.fetch("again")

    assert not (lone.tmp_path / "again").exists()


async def test_if_there_may_be_copies_it_is_said_how_they_are_found(tmp_path):
    await need("process")
    lone = Lone(tmp_path, memory_opener(MemoryNetwork()))
    await lone.run_a_job(replicas=1)
    shutil.rmtree(tmp_path / "user/blocks")

    with pytest.raises(ProviderUnreachableError, match="--bootstrap"):
        await lone.fetch("again")
