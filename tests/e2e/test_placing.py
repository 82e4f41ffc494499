"""Where a job goes, what travels with it, and what people are told."""

import hashlib
import random

from tests.e2e.held import hold, running
from tests.e2e.network import Network, Node, User


def test_a_job_goes_to_whoever_has_room_and_queues_when_nobody_has(net: Network):
    first = net.provider(cpus=1)
    second = net.provider("--bootstrap", first.address, cpus=1)
    first.event(lambda it: it["event"] == "peer" and it["did"] == second.did)
    user = net.user(first)
    jobs = [hold(user) for _ in range(2)]
    for each in jobs:
        each.process()
    places = {user.status(each.job)["provider"] for each in jobs}
    assert places == {first.did, second.did}
    third = hold(user)
    assert third.document["state"] == "queued"
    jobs[0].tell()
    jobs[1].tell()
    third.tell()
    assert user.run("wait", third.job).must().document["state"] == "completed"


def test_large_and_oddly_named_files_come_back_as_they_went(user: User, node: Node):
    content = random.Random(7).randbytes(9 << 20)
    (user.cwd / "in").mkdir()
    (user.cwd / "in/größe und maß.bin").write_bytes(content)
    (user.cwd / "in/empty").write_bytes(b"")
    user.submit("--name", "big", "--input", "in", "--", "cp", "-r", "in", "out").must()
    back = user.cwd / "big/outputs/out"
    assert sorted(path.name for path in back.iterdir()) == [
        "empty",
        "größe und maß.bin",
    ]
    digest = hashlib.sha256((back / "größe und maß.bin").read_bytes()).hexdigest()
    assert digest == hashlib.sha256(content).hexdigest()


def test_a_small_job_does_not_pass_a_large_one_that_waits(net: Network):
    provider = net.provider(cpus=2)
    user = net.user(provider)
    first = running(user, provider)
    large = hold(user, "--cpus", "2")
    small = hold(user)
    assert small.document["state"] == "queued"
    first.tell()
    large.process()
    assert user.status(small.job)["state"] == "queued"
    large.tell()
    small.tell()
    user.run("wait", small.job).must()


def test_a_script_that_raises_fails_with_its_traceback_for_the_owner(user: User):
    user.write("raise.py", "raise ValueError('no such column')")
    ended = user.submit("raise.py", json=False)
    assert ended.code == 1
    assert "ValueError: no such column" in (user.cwd / "raise/stderr").read_text()


def test_people_are_told_in_lines_and_of_the_next_command(user: User, node: Node):
    job = user.submit("--name", "told", "--", "true").must().document["job"]
    said = user.run("status", "told", json=False).must()
    assert job in said.out
    assert "completed" in said.out
    assert "next: nunet-node" in said.err
    listed = user.run("list", json=False).must()
    assert job in listed.out
    assert "next: nunet-node" in listed.err
    assert user.run("did", json=False).must().out.strip().startswith("did:key:")


def test_output_beyond_the_log_limit_does_not_stop_the_job(user: User, node: Node):
    script = "head -c 80000000 /dev/zero | tr '\\\\0' x; echo made > made"
    user.detached("--name", "loud", "--", "sh", "-c", script)
    user.run("wait", "loud")
    user.run("get", "loud").must()
    assert (user.cwd / "loud/stdout").stat().st_size < 80_000_000
