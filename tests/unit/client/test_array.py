"""An array is many ordinary jobs, and only what is missing is run."""

import shutil
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
from nunet_node.jobs.specification import ResultKind
from nunet_node.network.memory import MemoryNetwork
from tests.runtime_kit import memory_opener
from tests.unit.client.test_session import holding, shell, town, until

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


async def test_a_job_of_inputs_that_have_changed_is_not_taken_up_again(town, tmp_path):
    (tmp_path / "script").write_text("echo old > part")
    script = FileInput(path=str(tmp_path / "script"), dest="script")
    work = shell(". ./script", count=1, inputs=(script,))
    out = tmp_path / "out"
    first = await _completed_and_not_fetched(town, work, out)
    (tmp_path / "script").write_text("echo new > part")
    async with town.client() as client:
        [part] = await run_array(client, work, out)
    assert part.order.job != first
    assert (out / "0/outputs/part").read_text() == "new\n"


async def test_a_job_of_the_same_inputs_elsewhere_is_taken_up_again(town, tmp_path):
    for place in ("here", "there"):
        (tmp_path / place).write_text("echo part > part")
    here, there = (
        shell(
            ". ./script",
            count=1,
            inputs=(FileInput(path=str(tmp_path / place), dest="script"),),
        )
        for place in ("here", "there")
    )
    out = tmp_path / "out"
    first = await _completed_and_not_fetched(town, here, out)
    async with town.client() as client:
        [part] = await run_array(client, there, out)
    assert part.order.job == first
    assert part.done


async def test_a_partition_whose_result_has_expired_is_run_anew_by_the_next_run(
    town, tmp_path
):
    public = ResultKind.PUBLIC
    work = shell("printf mar%s ker", count=1, results=public, retention_s=1)
    out = tmp_path / "out"
    first = await _completed_and_not_fetched(town, work, out)
    await until(lambda: not holding(tmp_path / "provider/kept", b"marker"))
    async with town.client() as client:
        [gone] = await run_array(client, work, out)
        [again] = await run_array(client, work, out)
    assert (gone.order.job, gone.done) == (first, False)
    assert "as agreed" in gone.trouble
    assert again.order.job != first


async def test_a_result_that_its_provider_lost_is_given_up_by_whoever_says_so(
    town, tmp_path
):
    work, out = shell("echo part > part", count=1), tmp_path / "out"
    first = await _completed_and_not_fetched(town, work, out)
    shutil.rmtree(tmp_path / "provider/kept")
    async with town.client() as client:
        [lost] = await run_array(client, work, out)
    assert (lost.order.job, lost.done) == (first, False)
    assert lost.trouble.endswith(f"to have it run anew, remove {out / KEPT / '0'}")
    assert (out / KEPT / "0").exists()


async def test_a_silent_provider_s_partition_is_kept_and_how_to_give_it_up_is_said(
    town, tmp_path
):
    work, out = shell("echo part > part", count=1), tmp_path / "out"
    first = await _completed_and_not_fetched(town, work, out)
    nobody = memory_opener(MemoryNetwork())
    async with town.client(network=nobody, bootstrap=()) as client:
        [part] = await run_array(client, work, out)
    assert not part.done
    assert f"remove {out / KEPT / '0'}" in part.trouble
    async with town.client() as client:
        [part] = await run_array(client, work, out)
    assert part.done
    assert part.order.job == first


async def _completed_and_not_fetched(town, work, out):
    """Break an array of one partition off, and return its job once that is done."""
    async with town.client() as client:
        with trio.CancelScope() as scope:
            await run_array(client, work, out, on_submitted=lambda _: scope.cancel())
        [job] = await client.orders()
        order = await (await client.find(job)).ended()
        assert order.state is State.COMPLETED
    assert not (out / "0").exists()
    return job


async def test_a_run_that_was_killed_before_it_wrote_its_count_is_no_other_array(
    town, tmp_path
):
    out = tmp_path / "out"
    (out / KEPT).mkdir(parents=True)
    (out / KEPT / "count").write_text("")
    async with town.client() as client:
        [part] = await run_array(client, shell("true", count=1), out)
    assert part.done
    assert (out / KEPT / "count").read_text() == "1"


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
