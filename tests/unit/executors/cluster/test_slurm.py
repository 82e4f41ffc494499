"""What is said to Slurm, and what is read from what it says."""

from dataclasses import replace

import pytest

from nunet_node.executors.cluster import slurm
from nunet_node.executors.cluster.port import (
    ClusterError,
    ClusterGpus,
    ClusterJob,
    ClusterRefusedError,
    JobState,
    MachineRoom,
)

MIB = 1 << 20
JOB = ClusterJob(
    name="nunet-ab-1",
    words=("/opt/my env/python", "-m", "runner", "$HOME"),
    ticket="secret",
    cpu_millis=1500,
    memory_bytes=300 * MIB + 1,
    disk_bytes=64 * MIB,
    wall_s=61,
)
SINFO = """\
main*|n1|up|idle|8|32000|100000|(null)
main*|n2|up|mixed|8|32000|100000|gpu:a100:2(S:0-1)
main*|n3|up|down*|8|32000|100000|(null)
main*|n4|up|idle*|8|32000|100000|(null)
main*|n5|up|drained|8|32000|100000|(null)
main*|n6|up|idle~|64+|512000|0|(null)
fat|n6|up|idle~|64+|512000|0|(null)
off|n1|inact|idle|8|32000|100000|(null)
"""
PENDING = "JobId=7 JobName=x JobState=PENDING Reason={} Dependency=(null) NodeList= "
ENDED = (
    "JobId=7 JobName=JobState=RUNNING JobState=FAILED Reason=NonZeroExitCode "
    "ExitCode=127:0 NodeList=n1 BatchHost=n1"
)


def test_a_job_asks_for_what_it_needs_in_whole_units():
    words = slurm.submission(JOB, partition="", account="", tells_disk=True)
    assert words[0] == "sbatch"
    wanted = {"--cpus-per-task=2", "--mem=301M", "--time=2", "--tmp=64M", "--nodes=1"}
    assert wanted <= set(words)
    assert "--no-requeue" in words, "an attempt is repeated by its owner's word alone"


def test_disk_is_asked_for_only_where_it_is_told():
    words = slurm.submission(JOB, partition="p", account="a", tells_disk=False)
    assert not any(word.startswith("--tmp") for word in words)
    assert {"--partition=p", "--account=a"} <= set(words)


def test_the_ticket_is_in_no_word_that_others_can_read():
    words = slurm.submission(JOB, partition="", account="", tells_disk=True)
    assert not any("secret" in word for word in words)
    assert b"secret" not in slurm.script(JOB)


def test_the_script_becomes_the_runner_word_by_word():
    assert slurm.script(JOB) == (
        b"#!/bin/sh\nexec '/opt/my env/python' -m runner '$HOME'\n"
    )


def test_only_machines_of_the_default_partition_that_take_jobs_count():
    found = slurm.machines_of(SINFO, "")
    assert [each.name for each in found] == ["n1", "n2", "n6"]
    assert found[0] == MachineRoom(
        name="n1",
        cpu_millis=8000,
        memory_bytes=32000 * MIB,
        disk_bytes=100000 * MIB,
    )
    assert found[1].gpus == (ClusterGpus(label="a100", count=2),)


def test_a_partition_that_is_named_is_the_one_that_counts():
    [fat] = slurm.machines_of(SINFO, "fat")
    assert (fat.cpu_millis, fat.disk_bytes) == (64_000, 0)
    assert slurm.machines_of(SINFO, "off") == ()


@pytest.mark.parametrize("said", ["nonsense", "main*|n1|up|idle|many|1|1|x"])
def test_what_sinfo_does_not_say_is_an_error(said):
    with pytest.raises(ClusterError):
        slurm.machines_of(said, "")


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (PENDING.format("Resources"), JobState(phase="waiting", detail="Resources")),
        (
            PENDING.format("PartitionTimeLimit"),
            JobState(phase="waiting", detail="PartitionTimeLimit", never=True),
        ),
        (
            "JobState=RUNNING Reason=None NodeList=n1",
            JobState(phase="running", detail="n1"),
        ),
        (
            "JobState=NODE_FAIL Reason=None ExitCode=0:0 NodeList=n1",
            JobState(phase="ended", detail="NODE_FAIL, exit code 0:0, on n1"),
        ),
    ],
)
def test_where_a_job_is_follows_from_its_state(said, state):
    assert slurm.state_of(said) == state


def test_a_name_that_looks_like_a_state_is_none():
    assert slurm.state_of(ENDED).phase == "ended"


def test_what_scontrol_does_not_say_is_an_error():
    with pytest.raises(ClusterError):
        slurm.state_of("slurm_load_jobs error")


async def test_a_machine_without_slurm_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="install Slurm"):
        await slurm.SlurmCluster().machines()


def a_command(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Stand-ins for Slurm's commands, to see what is done with what they say."""
    monkeypatch.setenv("PATH", str(tmp_path))
    a_command(tmp_path, "sinfo", "echo 'main*|n1|up|idle|8|32000|0|(null)'")
    a_command(
        tmp_path, "scontrol", "echo PartitionName=main Default=YES MaxTime=2:00:00"
    )
    return tmp_path


async def test_a_machine_is_bounded_by_its_partition(commands):
    [machine] = await slurm.SlurmCluster().machines()
    assert machine.run_s_max == 7200


async def test_a_job_that_is_taken_is_known_by_its_number(commands):
    a_command(commands, "sbatch", "echo '12;cluster'")
    assert await slurm.SlurmCluster().submit(JOB) == "12"


@pytest.mark.parametrize(
    "said",
    [
        "Requested node configuration is not available",
        "Invalid partition name specified",
        "User's group not permitted to use this partition",
    ],
)
async def test_a_job_that_slurm_will_never_take_is_refused(commands, said):
    a_command(commands, "sbatch", f'echo "sbatch: error: {said}" >&2; exit 1')
    with pytest.raises(ClusterRefusedError, match=said.replace("'", ".")):
        await slurm.SlurmCluster().submit(JOB)


async def test_a_controller_that_is_away_refuses_nothing(commands):
    said = "Unable to contact slurm controller (connect failure)"
    a_command(commands, "sbatch", f'echo "sbatch: error: {said}" >&2; exit 1')
    with pytest.raises(ClusterError, match="connect failure") as caught:
        await slurm.SlurmCluster().submit(JOB)
    assert not isinstance(caught.value, ClusterRefusedError)


async def test_no_setting_of_whoever_started_the_node_reaches_slurm(
    commands, monkeypatch
):
    monkeypatch.setenv("SBATCH_PARTITION", "other")
    monkeypatch.setenv("NUNET_TICKET", "older")
    a_command(commands, "sbatch", f"/usr/bin/env > {commands}/seen; echo 1")
    await slurm.SlurmCluster().submit(JOB)
    seen = (commands / "seen").read_text()
    assert "NUNET_TICKET=secret" in seen
    assert "SBATCH_PARTITION" not in seen


async def test_a_job_that_slurm_forgot_has_ended(commands):
    script = 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1'
    a_command(commands, "scontrol", script)
    assert (await slurm.SlurmCluster().state("5")).phase == "ended"


async def test_stopping_what_slurm_forgot_is_no_error(commands):
    said = 'echo "scancel: error: Invalid job id 5" >&2; exit 1'
    a_command(commands, "scancel", f'echo "$@" > {commands}/asked; {said}')
    await slurm.SlurmCluster().stop("5")
    assert "5" in (commands / "asked").read_text().split()


async def test_living_jobs_are_told_by_their_names(commands):
    a_command(commands, "squeue", "echo '3|nunet-a-1'; echo '4|other'")
    assert await slurm.SlurmCluster().living() == {"3": "nunet-a-1", "4": "other"}


@pytest.mark.parametrize(
    ("gres", "expected"),
    [
        ("(null)", []),
        ("gpu:2", [("", 2)]),
        ("gpu:a100:4(S:0-1)", [("a100", 4)]),
        ("gpu:a100:2(IDX:0,1),gpu:v100:1,craynetwork:1", [("a100", 2), ("v100", 1)]),
        ("gpu:a100:no_consume:4,shard:8,mps:400,lustre:2", []),
        ("gpu:no_consume:4,gpu:a100:0,gpu:4K", []),
        (f"gpu:{'x' * 65}:2", []),
    ],
)
def test_gpus_are_read_by_their_types(gres, expected):
    found = slurm.gpus_of(gres)
    assert [(each.label, each.count) for each in found] == expected


@pytest.mark.parametrize(
    ("label", "word"), [("a100", "--gres=gpu:a100:2"), ("", "--gres=gpu:2")]
)
def test_a_job_asks_for_gpus_by_the_cluster_s_own_name(label, word):
    job = replace(JOB, gpus=ClusterGpus(label=label, count=2))
    assert word in slurm.submission(job, partition="", account="", tells_disk=False)


def test_a_job_without_gpus_names_none():
    words = slurm.submission(JOB, partition="", account="", tells_disk=False)
    assert not any("gres" in word for word in words)


PARTITIONS = (
    "PartitionName=main AllowGroups=ALL Default=YES DefaultTime=NONE MaxNodes=UNLIMITED "
    "MaxTime=1-02:00:30 MinNodes=0 MaxCPUsPerNode=4 Nodes=n1 DefMemPerNode=UNLIMITED "
    "MaxMemPerNode=16000\n"
    "PartitionName=free AllowGroups=ALL Default=NO MaxTime=UNLIMITED "
    "MaxCPUsPerNode=UNLIMITED DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED\n"
    "PartitionName=thin Default=NO MaxTime=00:30:00 MaxCPUsPerNode=UNLIMITED "
    "DefMemPerCPU=100 MaxMemPerCPU=2000\n"
)


def limited(name):
    machine = MachineRoom(name="n1", cpu_millis=8000, memory_bytes=32000 * MIB)
    return slurm.limits_of(PARTITIONS, name).applied_to(machine)


def test_a_partition_bounds_what_one_job_can_have():
    found = limited("")
    assert found.run_s_max == 26 * 3600 + 30
    assert found.cpu_millis == 4000
    assert found.memory_bytes == 32000 * MIB
    assert found.for_one.memory_bytes == 16000 * MIB


def test_a_partition_without_limits_bounds_nothing():
    found = limited("free")
    assert (found.run_s_max, found.cpu_millis) == (0, 8000)
    assert found.for_one.memory_bytes == 32000 * MIB


def test_memory_that_comes_with_processors_ends_with_them():
    assert limited("thin").memory_bytes == 16000 * MIB
    assert limited("thin").run_s_max == 1800


def test_a_partition_that_is_not_listed_bounds_nothing():
    assert slurm.limits_of(PARTITIONS, "other") == slurm.PartitionLimits()
