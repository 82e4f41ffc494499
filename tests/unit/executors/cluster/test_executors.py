"""Jobs on a cluster: real runners, each a process, and everything that can befall."""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace as replace_struct

from nunet_node.executors.cluster.capacity import GpuKinds
from nunet_node.executors.cluster.executors import ClusterExecutors, ClusterSettings
from nunet_node.executors.cluster.port import ClusterGpus
from nunet_node.executors.cluster.visit import LostError
from nunet_node.executors.collect import Collected, OutputsRefused
from nunet_node.quantities import Gpus
from tests.executors_kit import an_order, need
from tests.unit.executors.cluster.processes import (
    MACHINE,
    PATHS,
    Processes,
    some_cluster,
)

RUN = """
cat in.txt; echo complaint >&2
mkdir out; echo made > out/a; chmod 755 out/a; echo more > out/b; echo rest > c
ln -s /etc/passwd out/link; echo changed > in.txt
"""

DEADLINE_S = 60
"""Far more than anything here takes, on a machine that is busy with other work."""

FALSE = ("/bin/false",)
"""A runner that ends without a word."""


@pytest.fixture(autouse=True)
async def _needs_a_sandbox():
    await need("process")


class Attempt:
    """One run, and what is seen of it."""

    def __init__(self, executors, order, job_dir):
        self.executors, self.order, self.job_dir = executors, order, job_dir
        self.started, self.wrote = trio.Event(), trio.Event()
        self.scope, self.over = trio.CancelScope(), trio.Event()
        self.log, self.end = [], None

    async def run(self):
        def on_log(name, data):
            self.log.append((name, data))
            self.wrote.set()

        try:
            with self.scope:
                self.end = await self.executors.run(
                    self.order, self.job_dir, self.started.set, on_log
                )
        finally:
            self.over.set()
            # Whoever waits for more has waited for too much.
            self.wrote.set()

    async def outputs(self):
        return await self.executors.collect(
            self.job_dir,
            self.order.outputs,
            bytes_max=self.order.output_bytes_max,
            files_max=self.order.files_max,
        )


async def attempt(executors, *argv, **changes):
    order = an_order("process", *argv, **changes)
    return Attempt(executors, order, await executors.open_job("job", 1))


async def shell(executors, script, **changes):
    return await attempt(executors, "/bin/sh", "-c", script, **changes)


def process_of(marker):
    """Return the id of the process that has this word, if there is one."""
    for each in Path("/proc").glob("[0-9]*"):
        try:
            words = (each / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if marker.encode() in words and words[0].endswith(b"sleep"):
            return int(each.name)
    return None


async def sleeping(marker):
    """Wait until a job that has said that it begins sleeps."""
    with trio.fail_after(DEADLINE_S):
        while process_of(marker) is None:
            await trio.sleep(0.01)


async def gone(marker):
    """Wait until it sleeps no more."""
    with trio.fail_after(DEADLINE_S):
        while process_of(marker) is not None:
            await trio.sleep(0.01)


def a_sleep():
    """Return a script that sleeps, and the word that tells its process."""
    marker = f"1{os.getpid():07}{int.from_bytes(os.urandom(2)):05}"
    return f"echo begun; exec sleep {marker}", marker


async def test_a_job_finds_its_inputs_and_leaves_its_outputs():
    async with some_cluster() as (executors, _):
        made = await shell(executors, RUN, outputs=("out", "in.txt"))
        made.job_dir.add_file("in.txt", b"given\n")
        made.job_dir.add_file("deep/tool", b"x" * 300_000, executable=True)
        await made.run()
        assert made.end.exit_code == 0, made.end
        assert made.started.is_set()
        assert "bwrap" in made.end.isolation
        assert made.job_dir.stdout_path.read_bytes() == b"given\n"
        assert made.job_dir.stderr_path.read_bytes() == b"complaint\n"
        assert set(made.log) == {("stdout", b"given\n"), ("stderr", b"complaint\n")}
        found = await made.outputs()
        assert isinstance(found, Collected)
        assert {each.path: each.executable for each in found.files} == {
            "in.txt": False,
            "out/a": True,
            "out/b": False,
        }
        assert found.files[0].source.read_bytes() == b"changed\n"
        assert [each.path for each in found.skipped] == ["out/link"]
        await executors.remove(made.job_dir)


A100 = Gpus(vendor="nvidia", model="A100", memory_bytes=40 << 30)
TWO = replace_struct(A100, count=2)
KINDS = GpuKinds(known={"a100": A100})
WITH_GPUS = replace(MACHINE, gpus=(ClusterGpus(label="a100", count=2),))


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="has GPUs of its own")
async def test_a_job_is_told_which_gpus_the_cluster_gave_it():
    cluster = Processes(rooms=(MACHINE, WITH_GPUS))
    async with some_cluster(cluster, kinds=KINDS) as (executors, _):
        made = await shell(executors, "echo $CUDA_VISIBLE_DEVICES", gpus=(TWO,))
        await made.run()
        assert made.end.exit_code == 0, made.end
        assert made.log == [("stdout", b"0,1\n")]
        [job] = cluster.jobs.values()
        assert job.gpus == ClusterGpus(label="a100", count=2)


async def test_a_job_without_gpus_is_told_of_none_and_asks_for_none():
    cluster = Processes(rooms=(WITH_GPUS,))
    async with some_cluster(cluster, kinds=KINDS) as (executors, _):
        made = await shell(executors, "env | grep -c CUDA")
        await made.run()
        assert made.log == [("stdout", b"0\n")]
        assert [job.gpus for job in cluster.jobs.values()] == [None]


@pytest.mark.parametrize(
    "gpus",
    [
        (replace_struct(A100, count=3),),
        (replace_struct(A100, model="A1"),),
        (A100, A100),
    ],
)
async def test_gpus_that_no_machine_has_are_never_asked_for(gpus):
    cluster = Processes(rooms=(MACHINE, WITH_GPUS))
    async with some_cluster(cluster, kinds=KINDS) as (executors, _):
        made = await attempt(executors, "true", gpus=gpus)
        await made.run()
        assert made.end.reason.endswith("no machine of the cluster could hold it")
        assert not cluster.jobs


@pytest.mark.parametrize(
    ("limit_s", "asked_s"), [(0, 1200), (7200, 1200), (1199, 1199), (800, 800)]
)
async def test_a_job_asks_for_no_more_time_than_its_cluster_gives(limit_s, asked_s):
    room = replace(MACHINE, run_s_max=limit_s)
    cluster = Processes(rooms=(room,), starts=False)
    async with some_cluster(cluster) as (executors, _), trio.open_nursery() as nursery:
        made = await attempt(executors, "true", wall_s=600)
        nursery.start_soon(made.run)
        await cluster.submitted.wait()
        assert [job.wall_s for job in cluster.jobs.values()] == [asked_s]
        nursery.cancel_scope.cancel()


async def test_a_job_that_could_not_end_in_time_is_not_handed_over():
    cluster = Processes(rooms=(replace(MACHINE, run_s_max=790),))
    async with some_cluster(cluster) as (executors, _):
        made = await attempt(executors, "true", wall_s=600)
        await made.run()
        assert made.end.reason.endswith("no machine of the cluster could hold it")
        assert not cluster.jobs


async def test_an_engine_that_a_machine_has_not_shown_to_hold_is_tried_first():
    async with some_cluster() as (executors, _):
        first = await attempt(executors, "true")
        await first.run()
        cache = Path(executors.settings.runner[-1]) / "cache"
        assert any(name.startswith("held-process-") for name in os.listdir(cache))
        assert first.end.exit_code == 0


async def test_outputs_that_are_too_many_stay_where_they_are():
    async with some_cluster() as (executors, _):
        made = await shell(executors, "head -c 9000 /dev/zero >a", output_bytes_max=99)
        await made.run()
        assert made.end.exit_code == 0
        assert await made.outputs() == OutputsRefused(
            limit="output_bytes_max", allowed=99
        )


async def test_a_limit_of_the_order_ends_a_job_there_as_here():
    async with some_cluster() as (executors, _):
        script, marker = a_sleep()
        made = await shell(executors, script, wall_s=1)
        await made.run()
        assert (made.end.exit_code, made.end.limit) == (None, "wall")
        assert process_of(marker) is None
        assert made.log == [("stdout", b"begun\n")]


async def test_output_is_seen_while_the_job_runs_and_a_cancel_kills_it():
    async with some_cluster() as (executors, cluster), trio.open_nursery() as nursery:
        script, marker = a_sleep()
        made = await shell(executors, script)
        nursery.start_soon(made.run)
        await made.wrote.wait()
        await sleeping(marker)
        made.scope.cancel()
        await made.over.wait()
        assert made.scope.cancelled_caught
        assert process_of(marker) is None
        assert not cluster.stopped, "its runner did all that was wanted"


async def test_a_job_whose_machine_dies_is_lost():
    async with some_cluster() as (executors, cluster), trio.open_nursery() as nursery:
        script, marker = a_sleep()
        made = await shell(executors, script)
        nursery.start_soon(made.run)
        await made.wrote.wait()
        cluster.kill()
        await made.over.wait()
        assert (made.end.exit_code, made.end.limit) == (None, "lost")
        assert "was lost" in made.end.reason
        await gone(marker)


async def test_a_runner_that_is_asked_to_end_kills_its_job_first():
    async with some_cluster() as (executors, cluster), trio.open_nursery() as nursery:
        script, marker = a_sleep()
        made = await shell(executors, script)
        nursery.start_soon(made.run)
        await made.wrote.wait()
        [runner] = cluster.running.values()
        runner.terminate()
        await trio.to_thread.run_sync(runner.wait)
        assert process_of(marker) is None
        await made.over.wait()
        assert made.end.limit == "lost"


PROVIDER = """
import sys, trio
from tests.unit.executors.cluster.processes import some_cluster
from tests.unit.executors.cluster.test_executors import shell

async def main():
    async with some_cluster() as (executors, cluster), trio.open_nursery() as nursery:
        made = await shell(executors, sys.argv[1])
        nursery.start_soon(made.run)
        await made.wrote.wait()
        [runner] = cluster.running.values()
        print(runner.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


async def test_a_runner_whose_provider_was_killed_kills_its_job():
    script, marker = a_sleep()
    with tempfile.TemporaryDirectory(prefix="nunet-node-test-") as top:
        os.chmod(top, 0o711)
        provider = subprocess.Popen(
            [sys.executable, "-c", PROVIDER, script],
            env={"PYTHONPATH": PATHS, "TMPDIR": top},
            stdout=subprocess.PIPE,
        )
        try:
            runner = int(await trio.to_thread.run_sync(provider.stdout.readline))
            await sleeping(marker)
        finally:
            provider.kill()
            provider.wait()
            provider.stdout.close()
        with trio.fail_after(DEADLINE_S):
            while _lives(runner):
                await trio.sleep(0.01)
        assert process_of(marker) is None


def _lives(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_job_that_no_machine_could_hold_is_never_handed_over():
    async with some_cluster() as (executors, cluster):
        made = await attempt(executors, "true", cpu_millis=5000)
        await made.run()
        assert made.end.exit_code is None
        assert made.end.limit is None
        assert "no machine" in made.end.reason
        assert not cluster.jobs


async def test_a_job_that_waits_for_what_never_comes_is_refused(autojump_clock):
    async with some_cluster(Processes(starts=False, never=True)) as (executors, _):
        made = await attempt(executors, "true")
        await made.run()
        assert made.end.limit is None
        assert "will not run it: no room" in made.end.reason


async def test_a_job_that_waits_for_too_long_is_lost_and_can_never_start(
    autojump_clock,
):
    cluster = Processes(starts=False)
    async with some_cluster(cluster, pending_s=60) as (executors, _):
        made = await attempt(executors, "true")
        await made.run()
        assert made.end.limit == "lost"
        assert "60 s" in made.end.reason
        assert cluster.stopped == list(cluster.jobs)


async def test_a_runner_that_starts_after_its_job_was_given_up_does_nothing():
    cluster = Processes(starts=False)
    async with some_cluster(cluster) as (executors, _):
        async with trio.open_nursery() as nursery:
            made = await shell(executors, "echo ran")
            nursery.start_soon(made.run)
            await cluster.submitted.wait()
            made.scope.cancel()
        [handle] = cluster.jobs
        cluster.start(handle)
        runner = cluster.running[handle]
        assert await trio.to_thread.run_sync(runner.wait) != 0
        assert made.log == []


async def test_a_runner_that_ends_without_a_word_loses_its_job(autojump_clock):
    async with some_cluster(Processes(waits=True), runner=FALSE) as (executors, _):
        made = await attempt(executors, "true")
        await made.run()
        assert made.end.limit == "lost"
        assert "exit code 1" in made.end.reason


async def test_a_cluster_that_is_away_loses_a_job_and_fails_none():
    async with some_cluster(Processes(broken=True)) as (executors, _):
        made = await attempt(executors, "true")
        await made.run()
        assert (made.end.limit, made.end.reason) == ("lost", "out of order")


async def test_what_an_earlier_process_left_is_ended_and_no_more(tmp_path):
    cluster = Processes(starts=False)
    async with some_cluster(cluster) as (executors, _), trio.open_nursery() as nursery:
        made = await attempt(executors, "true")
        nursery.start_soon(made.run)
        await cluster.submitted.wait()
        [left] = cluster.jobs
        for name in ("somebody's", "nunet-000000000000-1-1"):
            cluster.jobs[name] = cluster.jobs[left]
        settings = ClusterSettings(host="127.0.0.1", owner="us")
        again = ClusterExecutors(cluster, settings, tmp_path / "scratch")
        async with again.warmed():
            while not cluster.stopped:
                await trio.sleep(0.01)
        assert cluster.stopped == [left]
        made.scope.cancel()


async def test_a_machine_examines_itself_and_tells_what_held():
    await need("python")
    async with some_cluster() as (executors, _):
        before = await executors.probe()
        assert not any(each.ready for each in before)
        assert [each.engine for each in before if each.waits] == [
            *("wasm", "python", "process"),
        ]
        await executors.prepare()
        found = {each.engine: each for each in await executors.probe()}
        assert found["process"].ready
        assert found["python"].ready
        assert not found["container"].ready
        assert executors.architecture == os.uname().machine


async def test_a_disk_that_the_cluster_does_not_tell_is_the_one_that_was_seen():
    await need("python")
    cluster = Processes(rooms=(replace(MACHINE, disk_bytes=0),))
    async with some_cluster(cluster) as (executors, _):
        assert (await executors.room()).total.disk_bytes == 0
        await executors.prepare()
        assert (await executors.room()).total.disk_bytes > 0


async def test_a_runner_without_a_cluster_says_why(autojump_clock):
    async with some_cluster(Processes(waits=True), runner=FALSE) as (executors, _):
        with pytest.raises(LostError, match="exit code 1"):
            await executors.prepare()
