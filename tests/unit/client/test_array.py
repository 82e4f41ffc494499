"""An array is many ordinary jobs, and only what is missing is run."""

from dataclasses import replace

from nunet_node.client import JobFile
from nunet_node.client.array import COUNT, INDEX, part_of, run_array
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
