"""Packing a chain that lies here: it can be copied, grows, and goes with its job."""

import pytest
import trio

from nunet_node.protocol.replicas.events import StoreLogs
from nunet_node.results.logs.chain import LogBytes, LogChain, LogHeader
from nunet_node.results.logs.packing import records_in
from nunet_node.runtime.exchange.blocks import blocks_under, tree_of
from nunet_node.runtime.store.packed_logs import LogPacking
from nunet_node.runtime.work.custody import Custody
from nunet_node.wire.schema import encode_record

JOB = "j" * 32
HEADER = LogHeader(job=JOB, attempt=1, owner="did:key:alice")


@pytest.fixture
def custody(tmp_path):
    made = Custody.open(tmp_path / "kept")
    yield made
    made.store.close()


def written(custody, *said):
    """Write a chain that says this, and return it with its records."""
    chain = LogChain(header=HEADER)
    records = [encode_record(HEADER)]
    records += [chain.append(LogBytes(stdout=each), at_s=7) for each in said]
    data = (len(each).to_bytes(4, "big") + each for each in records)
    custody.chains.path(JOB, 1).write_bytes(b"".join(data))
    return chain, records


async def packed(custody):
    """Have the chain packed, and return what the node heard; None if nothing."""
    heard, answers = trio.open_memory_channel(1)
    async with trio.open_nursery() as tasks:
        packing = LogPacking(custody, heard.send, tasks)
        packing.acts[StoreLogs](StoreLogs(job=JOB, attempt=1))
    try:
        return answers.receive_nowait()
    except trio.WouldBlock:
        return None


async def test_a_chain_stands_in_the_store_as_it_is(custody):
    chain, records = written(custody, b"one", b"two")
    stored = await packed(custody)

    assert (stored.job, stored.attempt, stored.head) == (JOB, 1, chain.head)
    tree = tree_of(custody.store, stored.root)
    assert tree.size_bytes == stored.size_bytes
    assert list(records_in(tree, custody.store.get)) == records


async def test_a_longer_chain_takes_the_place_of_the_one_before(custody):
    big = [bytes([n]) * 100_000 for n in range(15)]
    written(custody, *big)
    first = blocks_under(custody.store, (await packed(custody)).root)
    written(custody, *big, b"more")
    second = blocks_under(custody.store, (await packed(custody)).root)

    # The full chunk is the same; what is different of the first is let go.
    assert len(first & second) == 1
    assert set(custody.store.cids()) == second


async def test_a_job_that_wrote_nothing_is_not_answered(custody):
    assert await packed(custody) is None


async def test_a_chain_that_is_damaged_is_not_copied(custody, caplog):
    written(custody, b"one")
    path = custody.chains.path(JOB, 1)
    path.write_bytes(path.read_bytes().replace(b"stdout_end", b"stdout_ens"))

    assert await packed(custody) is None
    assert "not copied" in caplog.text


@pytest.mark.parametrize("has_result", [False, True])
async def test_packed_logs_go_with_their_job_or_when_it_has_a_result(
    custody, has_result
):
    written(custody, b"one")
    stored = await packed(custody)
    custody.ended(JOB, 1, has_result=has_result)
    assert bool(blocks_under(custody.store, stored.root)) is not has_result

    custody.drop_result(JOB)
    assert not list(custody.store.cids())
