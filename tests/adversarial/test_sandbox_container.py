"""Jobs in containers: what they cannot do, and what is left of them."""

import io
import tarfile

import pytest
import trio

from nunet_node.executors.container.api import open_api
from nunet_node.executors.container.box import LABEL
from nunet_node.executors.container.image import probe_root
from nunet_node.executors.container.run import Containers
from nunet_node.executors.port import PROBE_IMAGE
from nunet_node.executors.sandbox.devices import Device
from nunet_node.quantities import Gpus
from tests.executors_kit import (
    MIB,
    a_device_node,
    an_order,
    attempt,
    container_socket,
    need,
    some_executors,
)

pytestmark = pytest.mark.skipif(
    container_socket() is None,
    reason="no container engine listens; NUNET_TEST_DOCKER_HOST names one",
)


async def contained(script: str, **changes):
    order = an_order("container", "/bin/sh", "-c", script, image=PROBE_IMAGE, **changes)
    return await attempt(order)


async def left_of(scratch) -> list[str]:
    socket = container_socket()
    assert socket is not None
    async with open_api(socket) as api:
        return await api.labelled(f"{LABEL}={scratch}")


async def test_output_files_and_exit_code_come_back_exactly():
    ran = await contained("printf 'a\\0b'; printf c >&2; echo made > out.txt; exit 3")
    assert (ran.stdout, ran.stderr, ran.end.exit_code) == (b"a\0b", b"c", 3)
    assert ran.paths == ["out.txt"]
    assert ran.end.isolation.startswith("container+")
    assert ran.starts == 1


async def test_a_container_that_ends_at_once_is_no_suspect():
    for _ in range(8):
        ran = await contained("exit 0")
        assert (ran.end.exit_code, ran.end.reason) == (0, None)


async def test_it_runs_as_nobody_and_writes_only_its_own():
    ran = await contained(
        "for at in / /bin /etc /dev /proc/sys/kernel; do (echo > $at/planted); done;"
        "cat /proc/self/status | grep -e CapEff -e NoNewPrivs -e Uid"
    )
    words = ran.stdout.decode().split()
    assert words[words.index("CapEff:") + 1] == "0" * 16
    assert words[words.index("NoNewPrivs:") + 1] == "1"
    assert "0" not in words[words.index("Uid:") + 1 : words.index("CapEff:")]
    assert ran.paths == []
    assert ran.stderr.count(b"planted") == 5


async def test_the_node_of_a_device_is_in_the_container_of_its_holder_alone():
    await need("container")
    node = a_device_node()
    look = ("/bin/sh", "-c", f"test -c {node} && echo seen || echo none")
    said = []
    async with some_executors() as executors:
        kind = Gpus(vendor="nvidia", model="lent")
        device = Device(name="lent", kind=kind, nodes=(node,))
        executors.devices.present = (device,)
        for gpus in ((kind,), ()):
            job_dir = await executors.open_job("job", 1)
            order = an_order("container", *look, image=PROBE_IMAGE, gpus=gpus)
            end = await executors.run(order, job_dir)
            assert end.exit_code == 0, end.reason
            said.append(job_dir.stdout_path.read_text())
            await executors.remove(job_dir)
    assert said == ["seen\n", "none\n"]


async def test_memory_disk_log_and_deadline_end_it_by_name():
    fill = "x=$(head -c 256M /dev/zero | tr '\\0' x); echo ${#x}"
    for script, limit, changes in [
        (fill, "memory", {"memory_bytes": 48 * MIB}),
        ("head -c 8M /dev/zero > big", "disk", {"disk_bytes": MIB}),
        ("while :; do echo yes; done", "log", {"log_bytes_max": 1000}),
        ("trap '' TERM; sleep 60", "wall", {"wall_s": 1}),
    ]:
        ran = await contained(script, **changes)
        assert ran.end.limit == limit, ran.end


async def test_it_has_the_filter_of_a_native_job():
    ran = await contained(
        "unshare --user true && echo GOT user; unshare --mount true && echo GOT mount;"
        "unshare --user --net true && echo GOT net; grep ^Seccomp: /proc/self/status"
    )
    assert ran.stdout.split() == [b"Seccomp:", b"2"]


async def test_its_processor_time_and_its_priority_are_bounded():
    ran = await contained("bash -c 'ulimit -t; ulimit -r; ulimit -e'", wall_s=20)
    assert ran.stdout.split() == [b"21", b"0", b"0"]


async def test_a_cancelled_container_is_gone_when_the_cancellation_returns():
    await need("container")
    async with some_executors() as executors:
        job_dir = await executors.open_job("cancelled", 1)
        order = an_order("container", "/bin/sleep", "60", image=PROBE_IMAGE)
        started = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(executors.run, order, job_dir, started.set)
            with trio.fail_after(60):
                await started.wait()
            assert len(await left_of(job_dir.root.parent)) == 1
            nursery.cancel_scope.cancel()
        assert await left_of(job_dir.root.parent) == []
        await executors.remove(job_dir)


async def test_what_a_killed_node_left_is_removed_by_the_next():
    await need("container")
    socket = container_socket()
    assert socket is not None
    scratch = "/nowhere/nunet-node-test-scratch"
    async with open_api(socket) as api:
        tag = await api.image_id("localhost/nunet-node:left")
        if tag is None:
            await api.import_root(_once(probe_root()), "left")
        await api.create(
            {
                "Image": "localhost/nunet-node:left",
                "Cmd": ["/bin/sleep", "60"],
                "Labels": {LABEL: scratch},
                "HostConfig": {
                    "NetworkMode": "none",
                    "Ulimits": [
                        {"Name": name, "Soft": 256, "Hard": 256}
                        for name in ("nofile", "nproc")
                    ],
                },
            }
        )
    assert await Containers(socket).sweep(scratch) == 1
    assert await left_of(scratch) == []


async def _once(data: bytes):
    yield data


async def test_an_image_that_is_not_here_is_never_pulled():
    order = an_order("container", "/bin/true", image="registry.example/evil:1")
    ran = await attempt(order)
    assert ran.end.exit_code is None
    assert ran.starts == 0
    assert ran.end.reason is not None
    assert "is not here" in ran.end.reason


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100])
async def test_an_image_that_is_no_image_starts_nothing(content: bytes):
    order = an_order("container", "/bin/true", image="root.tar")
    ran = await attempt(order, {"root.tar": content})
    assert ran.end.exit_code != 0
    assert ran.starts == 0


async def test_a_job_may_bring_the_root_of_its_container():
    target = io.BytesIO(probe_root())
    with tarfile.open(fileobj=target, mode="a") as tar:
        entry = tarfile.TarInfo("etc/brought")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"yes"))
    order = an_order(
        "container",
        "/bin/cat",
        "/etc/brought",
        image="root.tar",
        disk_bytes=64 * MIB,
    )
    ran = await attempt(order, {"root.tar": target.getvalue()})
    assert ran.stdout == b"yes"
    assert ran.paths == []
