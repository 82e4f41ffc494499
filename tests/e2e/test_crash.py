"""What survives when processes are killed at any moment."""

import sqlite3

from tests.e2e.held import Held, held_words, hold, new_marker, running
from tests.e2e.network import LOOPBACK, NOT_RUN, Network, Node, User

RETRY = "version: 1\nname: again\ncommand: {command}\nretry:\n  attempts: 3\n"


def _restarted(net: Network, node: Node, *words: object) -> Node:
    """Kill a provider and start it again where it was."""
    node.kill()
    listen = ("--listen", node.address.partition("/p2p/")[0])
    return net.provider(*listen, *words, cpus=1, home=node.home)


def _retried(user: User, *, detach: bool) -> tuple[str, list[object]]:
    marker = new_marker()
    command = list(held_words(marker)[1:])
    user.write("again.yaml", RETRY.format(command=command))
    return marker, [*(["--detach"] if detach else []), "again.yaml"]


def test_a_killed_provider_comes_back_with_everything_it_accepted(net: Network):
    provider = net.provider(cpus=1)
    user = net.user(provider)
    done = user.submit("--name", "done", "--", "echo", "kept").must().document
    run = running(user, provider, "--name", "run")
    process = run.process()
    waits = hold(user, "--name", "waits")
    assert waits.document["state"] == "queued"

    provider = _restarted(net, provider)

    run.gone(process)
    waits.process()
    shown = user.status(run.job)
    assert (shown["state"], shown["reason"]) == (
        *("lost", "the provider went down while it ran"),
    )
    user.run("wait", run.job).must(NOT_RUN)
    user.run("get", "done", "--out", "again").must()
    assert (user.cwd / "again/stdout").read_text() == "kept\n"
    assert user.status(done["job"])["state"] == "completed"
    waits.tell()
    provider.moved(waits.job, "completed")
    assert user.status(waits.job)["state"] == "completed"


def test_a_node_that_comes_back_tells_what_it_made_of_its_jobs(net: Network):
    provider = net.provider(cpus=1)
    user = net.user(provider)
    run, waits = running(user, provider), hold(user)

    provider = _restarted(net, provider)

    lost = provider.moved(run.job, "lost")
    assert lost["reason"] == "the provider went down while it ran"
    waits.tell()
    provider.moved(waits.job, "completed")
    told = [each for each in provider.stop().must().documents if "job" in each]
    assert [each["state"] for each in told if each["job"] == run.job] == ["lost"]
    assert [each["state"] for each in told if each["job"] == waits.job] == (
        ["allocated", "starting", "running", "storing", "completed"]
    )


def test_a_node_that_comes_back_tells_people_what_it_made_of_its_jobs(net: Network):
    provider = net.provider(cpus=1)
    user = net.user(provider)
    run = running(user, provider)
    provider.kill()
    home = net.user(home=provider.home)
    again = home.start("up", "--listen", LOOPBACK, "--no-mdns", json=False)
    line = again.out.wait(lambda line: run.job in line)
    assert line is not None, str(again)
    assert "lost (the provider went down while it ran)" in line
    assert again.out.text().startswith("ready: did:key:")


def test_a_job_that_may_be_run_again_is_a_new_attempt_after_a_crash(net: Network):
    provider = net.provider(cpus=1)
    user = net.user(provider)
    marker, words = _retried(user, detach=True)
    held = Held(user.submit(*words).must().document, marker)
    provider.moved(held.job, "running")
    old = held.process()

    provider = _restarted(net, provider)

    held.gone(old)
    held.tell()
    assert provider.moved(held.job, "completed")["attempt"] == 2
    states = [move["state"] for move in user.status(held.job)["history"]]
    assert states.count("running") == 2
    assert states[-1] == "completed"


def test_a_waiting_submit_goes_on_when_its_provider_comes_back(net: Network):
    provider = net.provider(cpus=1)
    user = net.user(provider)
    marker, words = _retried(user, detach=False)
    submitting = user.submitting(*words)
    submitting.told("running")
    provider = _restarted(net, provider)
    Held({}, marker).tell()
    assert submitting.finished().must().document["state"] == "completed"


def test_a_waiting_submit_whose_provider_is_lost_goes_to_another(net: Network):
    first = net.provider(cpus=1)
    second = net.provider("--bootstrap", first.address, cpus=1)
    first.event(lambda it: it["event"] == "peer" and it["did"] == second.did)
    user = net.user(first)
    marker, words = _retried(user, detach=False)
    submitting = user.submitting(*words)
    held = Held({}, marker)
    old = held.process()
    [known] = user.run("list").must().document
    nodes = {node.did: node for node in (first, second)}
    nodes.pop(known["provider"]).kill()
    held.gone(old)
    submitting.told("cannot reach")
    held.tell()
    shown = submitting.finished().must().document
    assert shown["state"] == "completed"
    assert [shown["provider"]] == list(nodes)


def test_notices_missed_while_away_come_to_a_node_on_the_same_home(
    user: User, node: Node, net: Network
):
    held = hold(user)
    up = net.node("--no-provide", "--bootstrap", node.address, home=user.home)
    held.tell()
    node.moved(held.job, "completed")
    up.event(
        lambda it: (
            it["event"] == "notice"
            and it["job"] == held.job
            and it["state"] == "completed"
        )
    )
    up.stop().must()
    [known] = user.run("list").must().document
    assert (known["state"], known["result"] is not None) == ("completed", True)


def test_a_retry_of_a_cancel_reaches_a_provider_that_was_away(net: Network):
    provider = net.provider(cpus=1)
    user = net.user(provider)
    first, second = running(user, provider), hold(user)
    provider.kill()
    cancelling = user.start("cancel", second.job)
    cancelling.told("cannot reach", "trying again")
    provider = _restarted(net, provider)
    shown = cancelling.finished().must().document
    assert shown["confirmation"]["state"] == "cancelled"
    assert user.status(first.job)["state"] == "lost"


def test_a_node_asked_to_stop_drains_and_tells_everybody(net: Network):
    config = net.directory / "node.toml"
    config.write_text('drain = "1s"\n')
    provider = net.provider("--config", config, cpus=1)
    user = net.user(provider)
    run, waits = running(user, provider), hold(user)
    watching = user.start("wait", run.job)
    watching.told("running")
    process = run.process()
    ended = provider.stop().must()
    events = [it["event"] for it in ended.documents]
    assert events[-1] == "stopped"
    assert "draining" in events
    run.gone(process)
    assert watching.finished().must(NOT_RUN).document["state"] == "lost"
    provider = net.provider(
        *("--listen", provider.address.partition("/p2p/")[0]),
        cpus=1,
        home=provider.home,
    )
    waits.process()
    user.run("cancel", waits.job).must()


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(net: Network):
    provider = net.provider()
    provider.stop().must()
    ledger = provider.home / "ledger.db"
    with sqlite3.connect(ledger) as database:
        [version] = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version + 1}")
    database.close()
    before = ledger.read_bytes()
    user = net.user(home=provider.home)
    listen = ("--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns")
    ended = user.run("up", *listen).must(1)
    assert "ledger" in ended.err
    assert ledger.read_bytes() == before
