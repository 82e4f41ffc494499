"""What is said to Slurm, and what is read from what it says."""

import pytest

from nunet_node.executors.cluster import slurm
from nunet_node.executors.cluster.port import (
    ClusterError,
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
main*|n1|up|idle|8|32000|100000
main*|n2|up|mixed|8|32000|100000
main*|n3|up|down*|8|32000|100000
main*|n4|up|idle*|8|32000|100000
main*|n5|up|drained|8|32000|100000
main*|n6|up|idle~|64+|512000|0
fat|n6|up|idle~|64+|512000|0
off|n1|inact|idle|8|32000|100000
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


def test_a_partition_that_is_named_is_the_one_that_counts():
    [fat] = slurm.machines_of(SINFO, "fat")
    assert (fat.cpu_millis, fat.disk_bytes) == (64_000, 0)
    assert slurm.machines_of(SINFO, "off") == ()


@pytest.mark.parametrize("said", ["nonsense", "main*|n1|up|idle|many|1|1"])
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
    a_command(tmp_path, "sinfo", "echo 'main*|n1|up|idle|8|32000|0'")
    return tmp_path


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
