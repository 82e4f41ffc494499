"""What its owner made public anybody fetches by its id, and nothing else."""

import pytest

from nunet_node.client import NoNetworkError, ResultMissingError
from nunet_node.jobs.specification import ResultKind
from nunet_node.runtime.exchange.bulk.gathering import Listener
from tests.unit.client.test_session import shell, town

__all__ = ["town"]

MADE = "head -c 3000000 /dev/zero | tr '\\0' 'x' > made"


async def made(town, **said):
    async with town.client() as client:
        handle = await client.submit(shell(f"echo out; {MADE}", **said))
        order = await handle.ended()
    return order.result


async def test_a_stranger_fetches_a_public_result_by_its_id(town, tmp_path):
    root = await made(town, results=ResultKind.PUBLIC)
    seen = []
    listener = Listener(on_progress=lambda done, total: seen.append((done, total)))

    async with town.client("stranger") as stranger:
        await stranger.fetch_public(root, tmp_path / "result", listener)

    assert (tmp_path / "result/stdout").read_text() == "out\n"
    assert (tmp_path / "result/outputs/made").read_bytes() == b"x" * 3_000_000
    assert seen[-1][0] == seen[-1][1]

    async with town.client("stranger", bootstrap=()) as alone:
        await alone.fetch_public(root, tmp_path / "again", Listener())
    assert (tmp_path / "again/stdout").read_text() == "out\n"


async def test_nobody_is_given_a_sealed_result_for_its_id(town, tmp_path):
    root = await made(town)

    async with town.client("stranger") as stranger:
        with pytest.raises(ResultMissingError, match="private, gone"):
            await stranger.fetch_public(root, tmp_path / "result", Listener())
    assert not (tmp_path / "result").exists()


async def test_without_a_network_nobody_can_be_asked(town, tmp_path):
    root = await made(town, results=ResultKind.PUBLIC)

    async with town.client("stranger", bootstrap=()) as stranger:
        with pytest.raises(NoNetworkError):
            await stranger.fetch_public(root, tmp_path / "result", Listener())
