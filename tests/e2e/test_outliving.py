"""Results that outlive the machine that computed them."""

import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import trio

from nunet_node.client import open_client
from tests.e2e.held import new_marker
from tests.e2e.network import DEADLINE_S, Network, Node, User

SEARCHED_BYTES_MAX = 64 << 20
"""Larger files are no logs or results of these tests."""

FETCHED_BYTES = 48 << 20
"""Enough that some is still to come when the first of it is here."""

STORE = ("--no-provide", "--store", "256MiB")


def _town(net: Network) -> tuple[Node, list[Node], User]:
    """Start two nodes that keep copies, a provider that knows them, and a user."""
    first = net.node(*STORE)
    second = net.node(*STORE, "--bootstrap", first.address)
    provider = net.provider("--bootstrap", first.address, cpus=1)
    return provider, [first, second], net.user(first)


def test_a_result_outlives_its_provider(net: Network):
    provider, holders, user = _town(net)
    job = user.submit(
        *("--replicas", 2, "--name", "kept", "--", "sh", "-c"),
        "echo out; echo err >&2; echo made > made",
    )
    name = job.must().document["job"]
    for holder in holders:
        provider.event(
            lambda each, did=holder.did: (
                each["event"] == "replica" and each["holder"] == did
            )
        )
    shown = user.status(name)["retention"]
    assert sorted(shown["replicas"]) == sorted(each.did for each in holders)
    assert (shown["replicas_wanted"], shown["expired"]) == (2, False)

    provider.kill()
    holders[1].kill()
    joined = ("--bootstrap", holders[0].address)
    told = user.run("status", *joined, name).must().document["retention"]
    assert (told["replicas"], told["replicas_told_by"]) == ([holders[0].did], "holders")
    assert told["until"] == shown["until"]
    own = user.run("get", name, "--out", "own").must()
    assert "nobody is asked" in own.err
    shutil.rmtree(user.home / "blocks")
    fetched = user.run("get", *joined, name, "--out", "again").must()
    assert f"{holders[0].did} has a copy" in fetched.err
    assert (user.cwd / "again/outputs/made").read_text() == "made\n"
    logs = user.run("logs", *joined, name, json=False).must()
    assert (logs.out, "err\n" in logs.err) == ("out\n", True)

    stranger = net.user(holders[0])
    found = stranger.run("get", *joined, name, "--out", "theirs")
    assert found.code == 3
    assert not (stranger.cwd / "theirs").exists()


async def test_a_fetch_goes_on_when_its_provider_dies_in_the_middle(net: Network):
    holder = net.node(*STORE)
    provider = net.provider("--bootstrap", holder.address, cpus=1)
    user = net.user(holder)
    says = f"head -c {FETCHED_BYTES} /dev/urandom > made; sha256sum made"
    found = user.detached("--replicas", 1, "--", "sh", "-c", says)
    await trio.to_thread.run_sync(
        provider.event, lambda each: each["event"] == "replica"
    )
    provider.moved(found["job"], "completed")
    killed_at = []

    def kill(done: int, total: int) -> None:
        if not killed_at and 0 < done < total:
            killed_at.append(done)
            provider.kill()

    async with open_client(user.home, bootstrap=[holder.address]) as client:
        handle = await client.find(found["job"])
        await handle.fetch(user.cwd / "again", kill)

    assert killed_at
    made = (user.cwd / "again/outputs/made").read_bytes()
    said = (user.cwd / "again/stdout").read_text()
    assert hashlib.sha256(made).hexdigest() == said.split()[0]


def _speaking(user: User, provider: Node) -> str:
    """Leave a job running that has written something; return it."""
    found = user.detached("--", "sh", "-c", "echo begun; echo why >&2; sleep 600")
    job: str = found["job"]
    provider.moved(job, "running")
    logs = user.start("logs", "-f", job, json=False)
    assert logs.out.wait(lambda line: line == "begun\n"), str(logs)
    logs.kill()
    return job


def _chained(node: Node, job: str) -> None:
    """Wait until what a job wrote is in its chain."""
    path = node.home / "kept/logs" / f"{job}.1"
    deadline = time.monotonic() + DEADLINE_S
    while not path.exists() or b"why" in path.read_bytes():
        assert time.monotonic() < deadline, "there is no chain"
        time.sleep(0.05)


def test_logs_survive_a_cancel(net: Network):
    provider = net.provider(cpus=1)
    user = net.user(provider)
    job = _speaking(user, provider)
    user.run("cancel", job).must()

    logs = user.run("logs", job, json=False).must()
    assert (logs.out, "why\n" in logs.err) == ("begun\n", True)


def test_logs_survive_the_death_of_their_provider_and_tampering_shows(net: Network):
    provider = net.provider(cpus=1)
    user = net.user(provider)
    job = _speaking(user, provider)
    _chained(provider, job)
    provider.kill()
    listen = ("--listen", provider.address.partition("/p2p/")[0])
    provider = net.provider(*listen, cpus=1, home=provider.home)
    provider.moved(job, "lost")

    logs = user.run("logs", job, json=False).must()
    assert (logs.out, "why\n" in logs.err) == ("begun\n", True)

    chain = provider.home / "kept/logs" / f"{job}.1"
    bent = bytearray(chain.read_bytes())
    bent[-40] ^= 1
    chain.write_bytes(bent)
    shown = user.run("logs", job, json=False)
    assert shown.code != 0
    assert "changed, moved or left out" in shown.err


def test_logs_go_on_at_a_holder_when_their_provider_is_gone(net: Network):
    holder = net.node(*STORE)
    provider = net.provider("--bootstrap", holder.address, cpus=1)
    user = net.user(holder)
    says = "echo begun; echo why >&2; sleep 600"
    job = user.detached("--replicas", 1, "--", "sh", "-c", says)["job"]
    provider.event(lambda each: each["event"] == "log-replica")
    words = ("logs", "--bootstrap", holder.address, job)
    logs = user.start(*words, "-f", json=False)
    assert logs.out.wait(lambda line: line == "begun\n"), str(logs)

    provider.kill()
    followed = logs.finished()
    assert (followed.code != 0, followed.out) == (True, "begun\n")
    assert holder.did in followed.err
    assert "is missing" in followed.err

    shown = user.run(*words, json=False)
    assert (shown.code != 0, shown.out) == (True, "begun\n")
    assert ("why\n" in shown.err, "is missing" in shown.err) == (True, True)


def _written(place: Path, since_s: float) -> Iterator[Path]:
    """Yield the plain files of a place that were written since."""
    for parent, _, names in os.walk(place):
        for name in names:
            path = Path(parent, name)
            with contextlib.suppress(OSError):
                seen = path.lstat()
                plain = stat.S_ISREG(seen.st_mode) and seen.st_mtime >= since_s
                if plain and seen.st_size < SEARCHED_BYTES_MAX:
                    yield path


def _holding(marker: str, since_s: float, net: Network, user: User) -> list[Path]:
    """Return the files that have it: in the homes, and wherever one puts files."""
    places = [net.directory]
    for shared in ("/tmp", "/var/tmp", "/dev/shm"):
        with contextlib.suppress(OSError):
            places += [
                path
                for path in Path(shared).iterdir()
                if path.lstat().st_mtime >= since_s
            ]
    found = []
    for path in {path for place in places for path in _written(place, since_s)}:
        if not path.is_relative_to(user.cwd):
            with contextlib.suppress(OSError):
                found += [path] if marker.encode() in path.read_bytes() else []
    return found


def test_nothing_readable_stays_with_providers_or_holders(net: Network):
    since_s = time.time() - 1
    holder = net.node(*STORE)
    provider = net.provider("--bootstrap", holder.address, cpus=1)
    user = net.user(holder)
    halves = [new_marker(), new_marker()]
    # The whole marker is in no specification: only the job puts it together.
    says = (
        f"echo {halves[0]}''{halves[1]} | tee made; echo {halves[0]}''{halves[1]} >&2"
    )
    ended = user.submit("--replicas", 1, "--name", "done", "--", "sh", "-c", says)
    ended.must()
    provider.event(lambda each: each["event"] == "replica")
    job = user.detached("--", "sh", "-c", f"{says}; sleep 600")["job"]
    provider.moved(job, "running")
    deadline = time.monotonic() + DEADLINE_S
    while not (provider.home / "kept/logs" / f"{job}.1").exists():
        assert time.monotonic() < deadline, "there is no chain"
        time.sleep(0.05)
    user.run("cancel", job).must()

    marker = "".join(halves)
    assert (user.cwd / "done/stdout").read_text() == f"{marker}\n"
    assert user.run("logs", job, json=False).must().out == f"{marker}\n"
    while found := _holding(marker, since_s, net, user):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
