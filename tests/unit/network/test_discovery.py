"""Addresses, lists of peers, and the local network."""

from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio

from nunet_node.network import discovery
from nunet_node.network.discovery import (
    find_local_peers,
    one_peer,
    parse_announced_address,
    parse_listen_address,
    parse_multiaddr,
    parse_node_address,
    reachable_addresses,
    resolve,
    stay_connected,
)
from nunet_node.network.memory import MemoryNetwork
from nunet_node.network.port import AddressError
from tests.network_peers import hosts

PEER = "12D3KooWCugzopk9fYBy1pvYVi94Qr2y9PL4CjSpYZUaXir3YWb7"


@pytest.mark.parametrize(
    "text",
    [
        f"/ip4/192.0.2.7/tcp/4040/p2p/{PEER}",
        f"/ip6/2001:db8::7/tcp/4040/p2p/{PEER}",
        f"/dns4/node.example/tcp/443/p2p/{PEER}",
    ],
)
def test_an_address_is_read_and_written_as_it_was(text):
    address = parse_multiaddr(text)
    assert str(address) == text
    assert address.peer_id == PEER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2.7:4040",
        "http://192.0.2.7:4040",
        f"/ip4/192.0.2.300/tcp/4040/p2p/{PEER}",
        f"/ip4/2001:db8::7/tcp/4040/p2p/{PEER}",
        f"/ip6/192.0.2.7/tcp/4040/p2p/{PEER}",
        f"/ip4/192.0.2.7/tcp/70000/p2p/{PEER}",
        f"/ip4/192.0.2.7/tcp/0/p2p/{PEER}",
        f"/ip4/192.0.2.7/udp/4040/quic-v1/p2p/{PEER}",
        f"/ip4/192.0.2.7/tcp/4040/p2p/{PEER}/p2p-circuit",
        "/ip4/192.0.2.7/tcp/4040/p2p/0OIl",
        f"/ip4/192.0.2.7/tcp/4040/p2p/{PEER}\n",
    ],
)
def test_what_is_no_address_is_refused_by_name(text):
    with pytest.raises(AddressError) as caught:
        parse_multiaddr(text)
    assert repr(text) in str(caught.value)


def test_the_refusal_shows_a_good_address():
    with pytest.raises(AddressError, match=r"/ip4/192.0.2.7/tcp/4040/p2p/12D3KooW"):
        parse_multiaddr("nonsense")


def test_an_address_without_a_peer_says_where_to_find_it():
    with pytest.raises(AddressError, match=r"no peer id .* prints its address"):
        parse_multiaddr("/ip4/192.0.2.7/tcp/4040")


@pytest.mark.parametrize("peer", ["12D3KooWGoNX", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8"])
def test_a_peer_id_that_no_node_has_is_named(peer):
    with pytest.raises(AddressError, match=f"'{peer}'.*Ed25519"):
        parse_node_address(f"/ip4/192.0.2.7/tcp/4040/p2p/{peer}")


@pytest.mark.parametrize(
    "text", [f"/ip4/0.0.0.0/tcp/0/p2p/{PEER}", "/dns4/node.example/tcp/4040", "4040"]
)
def test_listening_needs_an_ip_address_and_a_port(text):
    with pytest.raises(AddressError, match=r"/ip4/0.0.0.0/tcp/4040"):
        parse_listen_address(text)


@pytest.mark.parametrize(
    "text", [f"/ip4/192.0.2.7/tcp/1/p2p/{PEER}", "/ip4/192.0.2.7/tcp/0", "outside"]
)
def test_where_others_are_to_dial_needs_a_port_and_no_peer(text):
    with pytest.raises(AddressError):
        parse_announced_address(text)
    assert parse_announced_address("/dns4/a.example/tcp/1").host == "a.example"


def test_no_address_at_all_is_refused():
    with pytest.raises(AddressError):
        one_peer([])


def test_loopback_is_told_from_the_rest():
    told = {
        text: parse_listen_address(f"/{text}/tcp/1").is_loopback()
        for text in ("ip4/127.0.0.1", "ip4/192.0.2.7", "ip6/::1", "ip4/0.0.0.0")
    }
    assert [text for text, loopback in told.items() if loopback] == [
        "ip4/127.0.0.1",
        "ip6/::1",
    ]


def test_an_open_address_is_reached_through_each_interface():
    places = reachable_addresses(parse_listen_address("/ip4/0.0.0.0/tcp/4040"))
    hosts_found = [place.host for place in places]
    assert "127.0.0.1" in hosts_found
    assert "0.0.0.0" not in hosts_found
    assert {place.port for place in places} == {4040}


def test_a_plain_address_is_reached_where_it_says():
    address = parse_listen_address("/ip4/192.0.2.7/tcp/4040")
    assert reachable_addresses(address) == (address,)


@asynccontextmanager
async def staying(host, *peers, report=None):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stay_connected, host, peers, report)
        yield
        nursery.cancel_scope.cancel()


async def connected(host, peer_id):
    with trio.fail_after(1000):
        while peer_id not in host.connected_peers():
            await trio.sleep(0.1)


async def test_a_listed_peer_that_goes_away_is_dialled_again(autojump_clock):
    network = MemoryNetwork()
    async with (
        network.open_host("12D3KooWme1") as me,
        network.open_host("12D3KooWyou1") as you,
        staying(me, you.addresses()),
    ):
        await connected(me, you.peer_id)
        await you.disconnect(me.peer_id)
        assert me.connected_peers() == frozenset()
        await connected(me, you.peer_id)
        assert me.connected_peers() == {you.peer_id}


async def test_a_listed_peer_that_is_down_is_found_when_it_is_up(autojump_clock):
    network = MemoryNetwork()
    reports = []

    async def report(peer_id, error):
        reports.append((peer_id, error.code))

    you = "12D3KooWyou1"
    async with (
        network.open_host("12D3KooWme1") as me,
        staying(me, [f"/ip4/127.0.0.1/tcp/2/p2p/{you}"], report=report),
    ):
        await trio.sleep(200)
        assert reports == [(you, "network.connect")]
        async with network.open_host(you):
            await connected(me, you)
        await trio.sleep(200)
        assert reports == [(you, "network.connect")] * 2


async def test_our_own_address_in_the_list_is_left_out(autojump_clock):
    network = MemoryNetwork()
    reports = []

    async def report(peer_id, error):
        reports.append(peer_id)

    async with (
        network.open_host("12D3KooWme1") as me,
        staying(me, me.addresses(), report=report),
    ):
        await trio.sleep(100)
    assert reports == []


async def test_pauses_between_dials_grow_to_a_limit(autojump_clock, monkeypatch):
    network = MemoryNetwork()
    times = []
    async with network.open_host("12D3KooWme1") as me:
        connect = me.connect

        async def timed(addrs):
            times.append(trio.current_time())
            return await connect(addrs)

        monkeypatch.setattr(me, "connect", timed)
        async with staying(me, ["/ip4/127.0.0.1/tcp/2/p2p/12D3KooWyou1"]):
            await trio.sleep(600)
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert pauses[0] <= 1.25 * discovery.RETRY_FIRST_S
    assert max(pauses) <= 1.25 * discovery.RETRY_MAX_S
    assert pauses[-1] >= 0.75 * discovery.RETRY_MAX_S


async def test_peers_on_one_network_find_each_other():
    async with hosts(2, gossip=False) as (a, b), trio.open_nursery() as nursery:
        for host in (a, b):
            nursery.start_soon(find_local_peers, host, ["127.0.0.1"], host.addresses())
        with trio.move_on_after(15) as patience:
            async with trio.open_nursery() as waiting:
                waiting.start_soon(connected, a, b.peer_id)
                waiting.start_soon(connected, b, a.peer_id)
        met = [a.connected_peers(), b.connected_peers()]
        nursery.cancel_scope.cancel()
    if patience.cancelled_caught:
        pytest.skip("multicast does not work on this machine's loopback")
    assert met == [{b.peer_id}, {a.peer_id}]


async def test_a_host_that_listens_on_loopback_only_looks_for_nobody(monkeypatch):
    def fail(*_):
        raise AssertionError("it looked")

    monkeypatch.setattr("nunet_node.network.host.find_local_peers", fail)
    async with hosts(1, mdns=True):
        pass


async def test_a_name_is_resolved_as_the_system_does():
    address = parse_multiaddr(f"/dns4/localhost/tcp/4040/p2p/{PEER}")
    assert [str(place) for place in await resolve(address)] == [
        f"/ip4/127.0.0.1/tcp/4040/p2p/{PEER}"
    ]


async def test_an_ip_address_is_not_resolved():
    address = parse_multiaddr(f"/ip4/192.0.2.7/tcp/4040/p2p/{PEER}")
    assert await resolve(address) == (address,)
