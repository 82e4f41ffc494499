"""Results that outlive the machine that computed them."""

from tests.e2e.network import Network, Node, User

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
