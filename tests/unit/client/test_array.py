"""An array is many ordinary jobs, and only what is missing is run."""

from dataclasses import replace

import pytest
import trio

from nunet_node.client import JobFile
from nunet_node.client.array import (
    COUNT,
    INDEX,
    KEPT,
    DividedOtherwiseError,
    part_of,
    run_array,
)
from nunet_node.jobs.job_file import FileInput
from nunet_node.jobs.job_file.secrets import parse_secret
from nunet_node.jobs.lifecycle import State
from tests.unit.client.test_session import town

__all__ = ["town"]

HALVES = JobFile(
    name="halves",
    command=(
        "sh",
        "-c",
        f"test ${INDEX} != 1 || test -e marker || exit 4; echo ${INDEX}/${COUNT} > part",
    ),
    cpu_millis=200,
    memory_bytes=64 << 20,
    disk_bytes=16 << 20,
    count=3,
)


def test_a_partition_differs_by_its_name_and_two_variables():
    part = part_of(HALVES, 2)
    assert part.name == "halves-2"
    assert part.env == {INDEX: "2", COUNT: "3"}
    assert part.count is None
    assert part.command == HALVES.command


def test_each_partition_is_told_the_secrets_of_the_job():
    secrets = (parse_secret("TOKEN"), parse_secret("KEY=@key.pem"))
    work = JobFile(command=("x",), count=2, secrets=secrets)
    assert part_of(work, 1).secrets == secrets


def test_a_long_name_keeps_its_number():
    part = part_of(JobFile(name="n" * 64, command=("true",), count=99), 98)
    assert part.name is not None
    assert len(part.name) == 64
    assert part.name.endswith("n-98")


async def test_partitions_run_apart_and_only_the_failed_is_run_again(town, tmp_path):
    out = tmp_path / "out"
    async with town.client() as client:
        first = await run_array(client, HALVES, out)
        assert [part.done for part in first] == [True, False, True]
        assert first[1].order is not None
        assert first[1].order.state is State.FAILED
        assert first[1].order.exit_code == 4

        (tmp_path / "marker").write_text("")
        again = await run_array(client, _with_marker(tmp_path), out)
    assert [part.order is None for part in again] == [True, False, True]
    assert all(part.done for part in again)
    parts = [(out / str(n) / "outputs/part").read_text() for n in range(3)]
    assert parts == ["0/3\n", "1/3\n", "2/3\n"]


def _with_marker(tmp_path):
    marker = FileInput(path=str(tmp_path / "marker"), dest="marker")
    return replace(HALVES, inputs=(marker,))


async def test_an_array_that_was_broken_off_goes_on_with_the_jobs_it_had(
    town, tmp_path
):
    work = replace(HALVES, command=("sh", "-c", f"echo ${INDEX} > part"))
    out = tmp_path / "out"
    submitted = []
    async with town.client() as client:
        with trio.CancelScope() as scope:

            def break_off(handle):
                submitted.append(handle.job)
                if len(submitted) == 3:
                    scope.cancel()

            await run_array(client, work, out, on_submitted=break_off)
        assert scope.cancelled_caught
    async with town.client() as client:
        again: list[str] = []
        parts = await run_array(
            client, work, out, on_submitted=lambda handle: again.append(handle.job)
        )
        assert set(again) <= set(submitted)
        assert all(part.done for part in parts)
        assert set(await client.orders()) == set(submitted)
    assert [each.name for each in (out / KEPT).iterdir()] == ["count"]


async def test_a_job_of_other_work_is_not_taken_for_a_partition_s(town, tmp_path):
    out = tmp_path / "out"
    async with town.client() as client:
        await run_array(client, HALVES, out)
        changed = replace(HALVES, command=("sh", "-c", "echo changed > part"))
        parts = await run_array(client, changed, out)
    assert all(part.done for part in parts)
    assert (out / "1/outputs/part").read_text() == "changed\n"
    assert (out / "0/outputs/part").read_text() == "0/3\n"


@pytest.mark.parametrize("count", [2, 4])
async def test_parts_of_another_whole_are_no_parts_of_this_one(town, tmp_path, count):
    (tmp_path / KEPT).mkdir()
    (tmp_path / KEPT / "count").write_text("3")
    async with town.client() as client:
        with pytest.raises(DividedOtherwiseError, match="of 3 partitions, not"):
            await run_array(client, replace(HALVES, count=count), tmp_path)
        assert await client.orders() == {}


async def test_what_is_in_the_way_of_a_result_is_seen_before_anything_runs(
    town, tmp_path
):
    (tmp_path / "0").write_text("")
    async with town.client() as client:
        [part] = await run_array(client, replace(HALVES, count=1), tmp_path)
        assert "in the way" in part.trouble
        assert not part.done
        assert await client.orders() == {}
