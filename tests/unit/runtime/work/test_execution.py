"""Every start has one end, and what a job left is stored or the reason is said."""

from contextlib import asynccontextmanager

import pytest
import trio

from nunet_node.executors.port import RunEnd, Usage
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.specification import Engine, JobSpec, Timeouts
from nunet_node.protocol.effects import DiscardScratch, StartJob, StopJob, StoreResult
from nunet_node.protocol.inputs import (
    JobExited,
    JobStarted,
    ResultNotStored,
    ResultStored,
)
from nunet_node.quantities import INT53_MAX, ResourceVector
from nunet_node.results.layout import check_result
from nunet_node.results.sealed_tree import SealedReader
from nunet_node.results.sealing import Seal, unwrap_key
from nunet_node.runtime.exchange.blocks import tree_of
from nunet_node.runtime.exchange.logs import LogBook
from nunet_node.runtime.wallet.secrets import Unsealer
from nunet_node.runtime.work import execution as execution_module
from nunet_node.runtime.work.custody import Custody
from nunet_node.runtime.work.execution import Execution
from nunet_node.storage.blocks import BlockStore
from nunet_node.wire.cid import Cid
from tests.executors_kit import need, some_executors
from tests.runtime_kit import store_files

OWNER = SigningKey(bytes(32))
NODE = SigningKey(bytes([1]) * 32)
JOB = "j" * 32


class Bench:
    """An execution with real executors, and what it says."""

    def __init__(self, executors, store, pins, tasks):
        self.store = store
        self.book = LogBook()
        self.sender, self.inputs = trio.open_memory_channel(100)
        custody = Custody(store, pins)
        self.execution = Execution(
            executors, custody, self.book, Unsealer(NODE), self.sender.send, tasks
        )

    async def next(self):
        with trio.fail_after(60):
            return await self.inputs.receive()

    async def silent(self):
        with trio.move_on_after(0.2):
            return await self.inputs.receive()
        return None

    def start(self, spec, attempt=1):
        self.execution.start(
            StartJob(job=JOB, attempt=attempt, owner=OWNER.did, spec=spec)
        )

    async def run(self, spec):
        self.start(spec)
        assert await self.next() == JobStarted(job=JOB, attempt=1)
        return await self.next()

    async def keep(self, spec, exited):
        self.execution.store(
            StoreResult(
                job=JOB,
                attempt=1,
                spec=spec,
                exit_code=exited.exit_code,
                limit=exited.limit,
            )
        )
        return await self.next()

    def stop(self):
        self.execution.stop(StopJob(job=JOB, attempt=1))

    def discard(self):
        self.execution.discard(DiscardScratch(job=JOB, attempt=1))

    def files(self, stored, attempt=1):
        """Open a stored result with its owner's key."""
        key = unwrap_key(
            stored.sealed_key,
            reader=OWNER.did,
            reader_secret=OWNER.key_agreement_secret(),
            job=JOB,
            root=stored.root,
        )
        seal = Seal(key=key, job=JOB, attempt=attempt)
        reader = SealedReader(tree_of(self.store, stored.root), seal, self.store.get)
        check_result(reader.index())
        return {
            file.path: b"".join(map(bytes, reader.read(reader.place(file))))
            for file in reader.index().files
        }


@asynccontextmanager
async def a_bench(tmp_path):
    async with some_executors() as executors, trio.open_nursery() as nursery:
        with BlockStore(tmp_path / "blocks") as store:
            made = Bench(executors, store, tmp_path / "pins", nursery)
            yield made
            nursery.cancel_scope.cancel()
            made.execution.abandon()


@pytest.fixture
async def bench(tmp_path):
    await need("process")
    async with a_bench(tmp_path) as made:
        yield made


def shell(script, **changes):
    return JobSpec(
        name="a name",
        engine=Engine.PROCESS,
        command=("/bin/sh", "-c", script),
        **changes,
    )


async def test_a_job_starts_ends_and_is_stored(bench):
    spec = shell("echo out; echo err >&2; echo made > made; exit 7")
    exited = await bench.run(spec)
    assert (exited.exit_code, exited.limit) == (7, "")
    assert exited.isolation
    stored = await bench.keep(spec, exited)
    assert isinstance(stored, ResultStored)
    assert stored.reason == ""
    assert bench.files(stored) == {
        "outputs/made": b"made\n",
        "stdout": b"out\n",
        "stderr": b"err\n",
        "exit_code": b"7\n",
    }


async def test_a_job_knows_who_it_is(bench):
    spec = shell("env | grep ^NUNET_ | sort; echo $MINE", env={"MINE": "x"})
    stored = await bench.keep(spec, await bench.run(spec))
    assert bench.files(stored)["stdout"].decode().splitlines() == [
        "NUNET_JOB_ATTEMPT=1",
        "NUNET_JOB_ENGINE=process",
        f"NUNET_JOB_ID={JOB}",
        "NUNET_JOB_NAME=a name",
        f"NUNET_JOB_OWNER={OWNER.did}",
        "x",
    ]


async def test_inputs_lie_in_the_job_directory_and_are_no_outputs(
    bench, tmp_path, monkeypatch
):
    monkeypatch.setattr(execution_module, "WHOLE_INPUT_BYTES_MAX", 1 << 20)
    large = bytes(range(256)) * 10_000
    built = store_files(
        bench.store, tmp_path / "in", {"a/small": b"small\n", "large": large}
    )
    spec = shell("cat a/small; wc -c < large", inputs=built.root)
    stored = await bench.keep(spec, await bench.run(spec))
    files = bench.files(stored)
    assert files["stdout"].split() == [b"small", b"%d" % len(large)]
    assert not [path for path in files if path.startswith("outputs/")]


async def test_inputs_that_are_not_here_end_the_job_with_a_reason(bench):
    bench.start(shell("true", inputs=Cid.of_dag_cbor(b"nowhere")))
    exited = await bench.next()
    assert isinstance(exited, JobExited)
    assert exited.exit_code is None
    assert exited.reason.startswith("could not be started")
    assert await bench.silent() is None


async def test_a_stopped_job_ends_once(bench):
    bench.start(shell("sleep 600"))
    await bench.next()
    bench.stop()
    bench.stop()
    exited = await bench.next()
    assert (exited.exit_code, exited.limit) == (None, "cancelled")
    bench.stop()
    assert await bench.silent() is None


async def test_a_job_stopped_before_it_runs_ends_once(bench):
    bench.start(shell("sleep 600"))
    bench.stop()
    assert (await bench.next()).limit == "cancelled"
    assert await bench.silent() is None


async def test_stopping_what_does_not_run_is_answered(bench):
    bench.stop()
    exited = await bench.next()
    assert (exited.job, exited.limit) == (JOB, "cancelled")


async def test_outputs_over_their_limit_are_refused_but_the_logs_are_kept(bench):
    spec = shell("echo why; head -c 5000 /dev/zero > big", output_bytes_max=1000)
    stored = await bench.keep(spec, await bench.run(spec))
    assert isinstance(stored, ResultStored)
    assert "exceed their limit of 1000B" in stored.refused
    assert set(bench.files(stored)) == {"stdout", "stderr", "exit_code"}


async def test_what_cannot_be_an_output_is_named(bench):
    spec = shell("ln -s /etc/passwd link; mkfifo pipe; echo x > plain")
    stored = await bench.keep(spec, await bench.run(spec))
    assert isinstance(stored, ResultStored)
    assert "link (link)" in stored.reason
    assert "pipe (special)" in stored.reason
    assert [p for p in bench.files(stored) if p.startswith("outputs/")] == [
        "outputs/plain"
    ]


def test_no_measure_is_so_large_that_what_is_kept_of_it_cannot_be_read():
    much = Usage(cpu_ms=2**62, memory_peak_bytes=2**62, fuel=2**62)
    end = RunEnd(exit_code=None, limit="memory", usage=much)
    order = StopJob(job=JOB, attempt=1)
    exited = execution_module._exited(order, end)
    measured = (exited.cpu_ms, exited.memory_peak_bytes, exited.fuel)
    assert measured == (INT53_MAX,) * 3


async def test_a_result_without_its_directory_is_not_stored(bench):
    spec = shell("true")
    exited = await bench.run(spec)
    bench.discard()
    assert await bench.keep(spec, exited) == ResultNotStored(
        job=JOB, attempt=1, reason="its directory is gone"
    )


async def test_discarding_removes_the_directory_and_its_logs(bench):
    await bench.run(shell("echo x"))
    assert bench.book.read(JOB, 1, "stdout", 0) == b"x\n"
    (root,) = [r.job_dir.root for r in bench.execution._runs.values()]
    bench.discard()
    bench.discard()
    with trio.fail_after(30):
        while root.exists():
            await trio.sleep(0.01)
    assert bench.book.read(JOB, 1, "stdout", 0) is None


async def test_discarding_ends_a_job_that_still_runs(bench):
    bench.start(shell("sleep 600"))
    await bench.next()
    (root,) = [r.job_dir.root for r in bench.execution._runs.values()]
    bench.discard()
    assert (await bench.next()).limit == "cancelled"
    with trio.fail_after(30):
        while root.exists():
            await trio.sleep(0.01)


async def test_a_time_limit_is_told_and_the_exit_code_says_so(bench):
    spec = shell("sleep 600", timeouts=Timeouts(run_s=1))
    exited = await bench.run(spec)
    assert exited.limit == "wall"
    stored = await bench.keep(spec, exited)
    assert bench.files(stored)["exit_code"] == b"124\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"A=B": "x"}},
        {"env": {"A\0": "x"}},
        {"env": {"": "x"}},
        {"resources": ResourceVector(cpu_millis=0, memory_bytes=0, disk_bytes=0)},
        {"command": ("",)},
        {"command": ("/nowhere/at/all",)},
        {"command": ("\ud800",)},
    ],
    ids=repr,
)
async def test_a_job_that_cannot_start_harms_no_other(bench, changes):
    usual = {"name": "n", "engine": Engine.PROCESS, "command": ("/bin/true",)}
    bench.start(JobSpec(**(usual | changes)))
    said = await bench.next()
    if isinstance(said, JobStarted):
        said = await bench.next()
    assert isinstance(said, JobExited)
    bench.start(shell("exit 0"), attempt=2)
    assert await bench.next() == JobStarted(job=JOB, attempt=2)
    assert (await bench.next()).exit_code == 0


async def test_a_job_discarded_as_the_node_stops_leaves_nothing(bench):
    await bench.run(shell("true"))
    left = bench.execution._runs[(JOB, 1)].job_dir.root
    assert left.exists()
    bench.discard()
    # Its removal has not had a turn yet, and gets none.
    bench.execution.abandon()
    assert not left.exists()
