"""Nodes: being there, being seen, going away and coming back."""

from tests.e2e.held import running
from tests.e2e.network import LOOPBACK, NOT_RUN, Network, Node, User

KEYS = {"did", "peer_id", "engines", "total", "free", "seen_s"}
AMOUNTS = {"cpu_millis", "memory_bytes", "disk_bytes"}


def _heard_by(node: Node, other: Node) -> None:
    node.event(lambda it: it["event"] == "peer" and it["did"] == other.did)


def _there(node: Node) -> tuple[str, str]:
    """Return the options that make a node listen where another one did."""
    return ("--listen", node.address.partition("/p2p/")[0])


def test_ready_is_the_first_line_and_says_how_to_reach_the_node(node: Node):
    assert set(node.ready) == {"event", "did", "peer_id", "addresses"}
    assert node.ready["did"].startswith("did:key:")
    for address in node.ready["addresses"]:
        assert address.endswith(f"/p2p/{node.ready['peer_id']}")


def test_nodes_shows_what_each_one_has_and_has_free(user: User, node: Node):
    shown = user.heard(node)
    assert shown is not None
    assert set(shown) >= KEYS
    assert set(shown["total"]) == set(shown["free"]) == AMOUNTS
    assert shown["total"]["cpu_millis"] == 16_000
    assert shown["total"]["memory_bytes"] == 4 << 30
    assert shown["peer_id"] == node.ready["peer_id"]
    assert {"python", "wasm"} <= set(shown["engines"])


def test_free_room_shrinks_with_a_job_and_comes_back(net: Network):
    provider = net.provider(cpus=2)
    user = net.user(provider)
    held = running(user, provider, "--memory", "512MiB", "--disk", "64MiB")

    def taken(heard):
        free = heard["free"]
        return (free["cpu_millis"], free["memory_bytes"], free["disk_bytes"]) == (
            *(1000, 512 << 20, (1 << 30) - (64 << 20)),
        )

    assert user.hears(provider, taken)
    user.run("cancel", held.job).must()
    assert user.hears(provider, lambda heard: heard["free"] == heard["total"])


def test_peers_are_found_through_one_another_lost_and_found_again(net: Network):
    first = net.provider()
    second = net.provider("--bootstrap", first.address)
    third = net.provider("--bootstrap", first.address)
    _heard_by(third, second)
    _heard_by(second, third)
    user = net.user(first)
    assert user.heard(third)

    third.kill()
    user.hears(third, lambda heard: heard is None)

    back = net.provider(*_there(third), "--bootstrap", first.address, home=third.home)
    assert back.did == third.did
    user.hears(back, lambda heard: heard is not None)

    since = len(second.out)
    first.kill()
    again = net.provider(*_there(first), home=first.home)
    _heard_by(again, second)
    second.event(lambda it: it["event"] == "peer" and it["did"] == again.did, since)


def test_those_who_met_through_a_node_that_is_gone_find_each_other_again(net: Network):
    middle = net.provider()
    one = net.provider("--bootstrap", middle.address)
    other = net.provider("--bootstrap", middle.address)
    _heard_by(one, other)
    user = net.user(one)
    middle.kill()
    user.hears(middle, lambda heard: heard is None)
    since = len(one.out)
    one.event(lambda it: it["event"] == "peer" and it["did"] == other.did, since)

    other.kill()
    user.hears(other, lambda heard: heard is None)
    since = len(one.out)
    back = net.provider(*_there(other), home=other.home)
    found = one.event(lambda it: it["event"] == "peer" and it["did"] == back.did, since)
    assert found["addresses"]
    _heard_by(back, one)


def test_a_node_that_does_not_provide_carries_the_network_and_no_job(net: Network):
    hub = net.node("--no-provide")
    provider = net.provider("--bootstrap", hub.address)
    _heard_by(hub, provider)
    user = net.user(hub)
    job = user.submit("--", "true").must().document
    assert job["provider"] == provider.did
    assert hub.did not in [bid["provider"] for bid in user.status(job["job"])["bids"]]


def test_commands_work_beside_a_running_node_on_the_same_home(net: Network, node: Node):
    up = net.node("--no-provide", "--bootstrap", node.address)
    _heard_by(up, node)
    user = net.user(home=up.home)
    job = user.submit("--", "true").must().document
    assert job["provider"] == node.did
    assert user.status(job["job"])["state"] == "completed"


def test_a_second_node_on_one_home_is_refused(net: Network):
    node = net.node("--no-provide")
    second = net.user(home=node.home)
    ended = second.run("up", "--listen", LOOPBACK, "--no-mdns").must(1)
    assert str(node.home) in ended.err


def test_two_that_want_the_last_slot_get_it_one_after_the_other(net: Network):
    provider = net.provider(cpus=1)
    users = [net.user(provider) for _ in range(2)]
    submitting = [user.submitting("--", "sleep", "1") for user in users]
    ended = [each.finished().must().document for each in submitting]
    assert {each["state"] for each in ended} == {"completed"}
    events = [
        (it["job"], it["state"])
        for it in provider.stop().must().documents
        if it["event"] == "job" and it["state"] in {"allocated", "completed"}
    ]
    first, second = [job for job, state in events if state == "allocated"]
    assert events.index((first, "completed")) < events.index((second, "allocated"))


def test_the_cheaper_of_two_providers_is_chosen_and_both_bids_are_told(net: Network):
    dear = net.provider("--price", "2")
    cheap = net.provider("--price", "0.5", "--bootstrap", dear.address)
    _heard_by(dear, cheap)
    user = net.user(dear)
    job = user.submit("--", "true").must().document
    assert job["provider"] == cheap.did
    told = {bid["provider"]: bid["price"] for bid in user.status(job["job"])["bids"]}
    assert told == {dear.did: 2, cheap.did: 0.5}
    ended = user.submit("--max-price", "0.1", "--", "true").must(NOT_RUN)
    assert ended.document["state"] == "refused"
    bids = user.status(ended.document["job"])["bids"]
    assert {bid["provider"] for bid in bids} == {dear.did, cheap.did}
    assert all(bid["refused"] for bid in bids)
