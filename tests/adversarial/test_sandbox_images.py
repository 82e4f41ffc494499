"""A native job with a root file system of its own is as confined as any other."""

import io
import tarfile

from nunet_node.executors.container.image import probe_root
from tests.executors_kit import MIB, an_order, attempt

ROOM = {"disk_bytes": 64 * MIB, "image": "root.tar"}


def brought(**files: bytes) -> bytes:
    target = io.BytesIO(probe_root())
    with tarfile.open(fileobj=target, mode="a") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return target.getvalue()


async def run(script: str, image: bytes, **more):
    order = an_order("process", "/bin/sh", "-c", script, **ROOM, **more)
    return await attempt(order, {"root.tar": image})


async def test_a_job_sees_its_own_userland_and_nothing_of_the_host():
    ran = await run(
        "cat /etc-of-the-job; [ -e /usr ] && echo host; echo out > made.txt; true",
        brought(**{"etc-of-the-job": b"mine\n"}),
    )
    assert ran.stdout == b"mine\n"
    assert ran.paths == ["made.txt"]
    assert ran.end.isolation.startswith("bwrap")


async def test_a_job_in_its_own_userland_is_told_its_secrets():
    look = "cat /run/secrets/TOKEN; (echo x > /run/secrets/TOKEN) 2>&- || echo closed"
    ran = await run(look, brought(), secrets=(("TOKEN", b"marker\n"),))
    assert ran.stdout == b"marker\nclosed\n"


async def test_its_root_cannot_be_written_for_the_next_job():
    ran = await run(
        "for at in / /bin /etc; do (echo x > $at/planted); done; echo end", brought()
    )
    assert ran.stdout == b"end\n"
    assert ran.stderr.count(b"planted") == 3


async def test_a_link_in_its_root_leads_nowhere_outside():
    target = io.BytesIO(probe_root())
    with tarfile.open(fileobj=target, mode="a") as tar:
        for name, to in (("way", "/etc/shadow"), ("up", "../../../../etc/shadow")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, to
            tar.addfile(entry)
    ran = await run("cat /way /up; true", target.getvalue())
    assert ran.stdout == b""


async def test_a_root_that_is_none_starts_nothing():
    ran = await run("true", b"no tar")
    assert ran.end.exit_code is None
    assert ran.starts == 0
    assert "image" in (ran.end.reason or "")


async def test_an_image_that_is_not_among_the_inputs_starts_nothing():
    order = an_order("process", "/bin/true", image="/etc/passwd")
    ran = await attempt(order)
    assert ran.starts == 0
    assert "not among the inputs" in (ran.end.reason or "")
