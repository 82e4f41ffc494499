"""Results that outlive the machine that computed them."""

import time

from tests.e2e.network import DEADLINE_S, Network, Node, User

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
    user.run("get", *joined, name, "--out", "again").must()
    assert (user.cwd / "again/outputs/made").read_text() == "made\n"
    logs = user.run("logs", *joined, name, json=False).must()
    assert (logs.out, "err\n" in logs.err) == ("out\n", True)

    stranger = net.user(holders[0])
    found = stranger.run("get", *joined, name, "--out", "theirs")
    assert found.code == 3
    assert not (stranger.cwd / "theirs").exists()


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
