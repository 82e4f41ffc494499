"""What is said to Ray, and what is read from what it says."""

import pytest

from nunet_node.executors.cluster import ray
from nunet_node.executors.cluster.port import ClusterError, ClusterJob

JOB = ClusterJob(
    name="nunet-ab-1",
    words=("/opt/my env/python", "-m", "runner"),
    ticket="secret",
    cpu_millis=1500,
    memory_bytes=1 << 30,
    disk_bytes=1 << 20,
    wall_s=60,
)


def a_machine(name="n1", state="ALIVE", free=100 << 30, **resources):
    return {
        "hostname": "h",
        "disk": {"/": {"free": free + 1}, "/tmp/ray": {"free": free}},
        "raylet": {
            "nodeId": name,
            "state": state,
            "resourcesTotal": {"CPU": 2.0, "memory": 1e9, **resources},
        },
    }


def summary(*machines):
    return {"result": True, "data": {"summary": list(machines)}}


def test_a_job_is_its_runner_with_what_it_needs():
    assert ray.submission(JOB) == {
        "submission_id": "nunet-ab-1",
        "entrypoint": "exec '/opt/my env/python' -m runner",
        "entrypoint_num_cpus": 1.5,
        "entrypoint_memory": 1 << 30,
        "runtime_env": {"env_vars": {"NUNET_TICKET": "secret"}},
    }


def test_the_ticket_is_in_no_word_that_others_can_read():
    assert "secret" not in ray.submission(JOB)["entrypoint"]


def test_only_living_machines_count():
    machines = (a_machine("n1"), a_machine("n2", state="DEAD"), {"raylet": {}})
    [found] = ray.machines_of(summary(*machines, {"raylet": {"state": "ALIVE"}}))
    assert (found.name, found.cpu_millis, found.memory_bytes) == ("n1", 2000, 10**9)


def test_disk_is_half_of_what_is_free_in_steps():
    [one] = ray.machines_of(summary(a_machine(free=100 << 30)))
    [other] = ray.machines_of(summary(a_machine(free=(100 << 30) + 5)))
    assert one.disk_bytes == other.disk_bytes == 50 << 30


def test_a_full_disk_is_not_one_that_is_not_told():
    [full] = ray.machines_of(summary(a_machine(free=0)))
    [untold] = ray.machines_of(summary({**a_machine(), "disk": None}))
    assert full.disk_bytes == 1
    assert untold.disk_bytes == 0


@pytest.mark.parametrize("document", [{}, {"data": {"summary": [3]}}, {"data": None}])
def test_what_ray_does_not_say_is_an_error(document):
    with pytest.raises(ClusterError):
        ray.machines_of(document)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("PENDING", "waiting"),
        ("RUNNING", "running"),
        ("SUCCEEDED", "ended"),
        ("FAILED", "ended"),
        ("STOPPED", "ended"),
    ],
)
def test_where_a_job_is_follows_from_its_status(status, phase):
    state = ray.state_of({"status": status, "message": "first line\nsecond"})
    assert state.phase == phase
    assert state.detail == f"{status}: first line"


async def test_a_head_that_is_not_there_is_an_error():
    cluster = ray.RayCluster("http://127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:9"):
        await cluster.machines()
    await cluster.close()
