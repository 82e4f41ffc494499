"""An array is told of as a whole, and what is true of all its jobs is said once."""

from nunet_node.cli.array import submit_array
from nunet_node.cli.output import Settings
from nunet_node.jobs.specification import ResultKind
from tests.unit.client.test_session import shell, town
from tests.unit.client.test_signer import keep

__all__ = ["town"]

WARNING = "each partition's result will be sealed to a key that another program has"


async def test_results_that_nobody_will_open_are_told_of_once_beforehand(
    town, tmp_path, capsys
):
    keep(tmp_path, "raise SystemExit(3)")
    async with town.client(identity="hw") as client:
        work = shell("true", name="many", count=3)
        assert await submit_array(Settings(), client, work, tmp_path / "out", None)
    told = capsys.readouterr().err
    assert told.count(WARNING) == 1
    assert "--public" in told
    assert told.index(WARNING) < told.index("0: refused")


async def test_results_that_anybody_opens_need_no_warning(town, tmp_path, capsys):
    keep(tmp_path, "raise SystemExit(3)")
    async with town.client(identity="hw") as client:
        work = shell("true", name="many", count=1, results=ResultKind.PUBLIC)
        assert await submit_array(Settings(), client, work, tmp_path / "out", None)
    assert WARNING not in capsys.readouterr().err
