"""What is said to Ray, and what is read from what it says."""

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import trio

from nunet_node.executors.cluster import ray
from nunet_node.executors.cluster.port import ClusterError, ClusterGpus, ClusterJob

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


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, ()),
        ({"GPU": 0.0}, ()),
        ({"GPU": 2.0, "acceleratorType:A100": 1.0}, (ClusterGpus(label="", count=2),)),
        ({"acceleratorType:TPU-V4": 1.0}, ()),
    ],
)
def test_gpus_are_counted_whole(resources, expected):
    [found] = ray.machines_of(summary(a_machine(**resources)))
    assert found.gpus == expected


def listed(**nodes):
    """Return what the list of nodes said of a real one, with other resources."""
    found = [
        {"node_id": name, "state": "ALIVE", "resources_total": resources, "labels": {}}
        for name, resources in nodes.items()
    ]
    return {"result": True, "data": {"result": {"total": 1, "result": found}}}


def test_gpus_are_of_the_one_type_that_a_machine_names():
    document = listed(
        one={"GPU": 4.0, "accelerator_type:my_A100": 1.0, "node:192.0.2.2": 1.0},
        two={"GPU": 4.0, "accelerator_type:A100": 1.0, "accelerator_type:T4": 1.0},
        none={"GPU": 4.0},
        long={"GPU": 1.0, f"accelerator_type:{'x' * 65}": 1.0},
        nameless={"GPU": 1.0, "accelerator_type:": 1.0},
    )
    assert ray.labels_of(document) == {"one": "my_A100"}


@pytest.mark.parametrize(
    "document", [{}, {"data": {"result": None}}, listed(one=None), listed(one=3)]
)
def test_a_list_without_nodes_is_an_error(document):
    with pytest.raises(ClusterError):
        ray.labels_of(document)


@pytest.fixture
async def head(nursery):
    """A dashboard that answers with what a real one said."""
    said = {
        "/nodes": summary(a_machine("n1", GPU=2.0), a_machine("n2", GPU=1.0)),
        "/api/v0/nodes": listed(n1={"accelerator_type:A100": 1.0}, n2={}),
    }
    asked = []

    async def answer(stream):
        head = await stream.receive_some()
        path = head.split(b" ")[1].decode().partition("?")[0]
        asked.append(path)
        body = json.dumps(said[path]).encode()
        start = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close"
        await stream.send_all(start.encode() + b"\r\n\r\n" + body)
        await stream.aclose()

    serve = partial(trio.serve_tcp, answer, 0, host="127.0.0.1")
    [listener] = await nursery.start(serve)
    port = listener.socket.getsockname()[1]
    return SimpleNamespace(said=said, asked=asked, url=f"http://127.0.0.1:{port}")


async def test_machines_are_told_with_their_gpus(head):
    cluster = ray.RayCluster(head.url)
    found = await cluster.machines()
    await cluster.close()
    assert [machine.gpus for machine in found] == [
        (ClusterGpus(label="A100", count=2),),
        (ClusterGpus(label="", count=1),),
    ]


async def test_without_gpus_nobody_is_asked_for_their_types(head):
    head.said["/nodes"] = summary(a_machine("n1"))
    cluster = ray.RayCluster(head.url)
    assert [machine.gpus for machine in await cluster.machines()] == [()]
    await cluster.close()
    assert head.asked == ["/nodes"]


def test_a_job_asks_for_gpus_where_there_are_those_of_their_type():
    asked = ray.submission(replace(JOB, gpus=ClusterGpus(label="A100", count=2)))
    assert asked["entrypoint_num_gpus"] == 2
    assert asked["entrypoint_resources"] == {"accelerator_type:A100": 0.001}
    plain = ray.submission(replace(JOB, gpus=ClusterGpus(label="", count=1)))
    assert plain["entrypoint_num_gpus"] == 1
    assert "entrypoint_resources" not in plain


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
