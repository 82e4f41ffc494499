"""What only the real host does; what it promises is in test_port."""

import pytest
import trio
from libp2p.network import swarm

from nunet_node.errors import MisuseError
from nunet_node.network import host as host_module
from nunet_node.network.host import open_host
from nunet_node.network.port import (
    AddressError,
    ConnectFailed,
    ListenFailed,
    ProtocolRefused,
)
from tests.network_peers import ECHO, answers, echo, hosts, muxed, pair, settings, until


async def test_a_peer_is_reached_by_name():
    async with hosts(2) as (a, b):
        a.serve(ECHO, echo)
        by_name = a.addresses()[0].replace("/ip4/127.0.0.1/", "/dns4/localhost/")
        assert await b.connect([by_name]) == a.peer_id
        assert await answers(b, a.peer_id)


async def test_a_connection_waits_for_no_second_address(monkeypatch):
    # The library waits for this even when its only address has answered; nobody can
    # wait for what is no time, so a connect that tried would fail.
    monkeypatch.setattr(swarm, "_HAPPY_EYEBALLS_DELAY", None)
    async with hosts(2) as (a, b):
        with trio.fail_after(60):
            assert await b.connect(a.addresses()) == a.peer_id


async def test_a_peer_is_reached_over_ipv6():
    try:
        async with hosts(2, listen=("/ip6/::1/tcp/0",)) as (a, b):
            assert await b.connect(a.addresses()) == a.peer_id
    except ListenFailed as error:
        pytest.skip(f"no IPv6 here: {error}")


async def test_whoever_else_is_at_an_address_is_named():
    async with hosts(3) as (a, b, c):
        place = a.addresses()[0].replace(a.peer_id, c.peer_id)
        with pytest.raises(ConnectFailed, match=f"another peer is there: {a.peer_id}$"):
            await b.connect([place])


async def test_a_closed_port_is_told_in_the_systems_words():
    async with hosts(2) as (a, b):
        place = f"/ip4/127.0.0.1/tcp/9/p2p/{a.peer_id}"
        with pytest.raises(ConnectFailed, match=r"/tcp/9: Connection refused$"):
            await b.connect([place])


async def test_an_open_host_names_real_addresses():
    async with hosts(1, listen=("/ip4/0.0.0.0/tcp/0",)) as (a,):
        assert all("0.0.0.0" not in address for address in a.addresses())
        assert any("/127.0.0.1/" in address for address in a.addresses())


async def test_what_is_no_address_cannot_be_listened_on():
    with pytest.raises(AddressError):
        async with open_host(settings(1, listen=("4040",))):
            pass


async def test_the_same_seed_is_the_same_peer():
    async with open_host(settings(4)) as first:
        peer_id = first.peer_id
    async with open_host(settings(4)) as again:
        assert again.peer_id == peer_id


async def test_a_host_without_gossip_says_so():
    async with hosts(1, gossip=False) as (a,):
        with pytest.raises(MisuseError):
            await a.publish("t", b"x")
        with pytest.raises(MisuseError):
            await a.subscribe("t", lambda _: True)


async def test_a_seed_is_not_shown():
    assert "seed" not in repr(settings(1))


async def test_two_that_dial_each_other_at_once_are_connected():
    async with hosts(2) as (a, b):
        a.serve(ECHO, echo)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(a.connect, b.addresses())
                nursery.start_soon(b.connect, a.addresses())
        assert await answers(b, a.peer_id)


async def test_a_stream_that_its_opener_never_ends_is_reset_in_time(monkeypatch):
    monkeypatch.setattr(host_module, "LINGER_S", 0.2)

    async def answer_once(stream):
        await stream.send(b"done")

    async with pair(gossip=False) as (a, b):
        a.serve("/nunet/test-once/1", answer_once)
        stream = await b.open_stream(a.peer_id, "/nunet/test-once/1")
        assert await stream.receive() == b"done"
        assert await stream.receive() is None
        await until(lambda: not muxed(a, b.peer_id).streams)


async def test_no_stream_is_left_after_many_exchanges():
    async with pair(gossip=False) as (a, b):
        for _ in range(300):
            assert await answers(b, a.peer_id)
        for host, other in ((a, b), (b, a)):
            connection = host._connection(other.peer_id)
            await until(lambda c=connection: not c.muxed_conn.streams)
            assert not connection.get_streams()


async def test_the_refusal_says_what_the_peer_does_not_speak():
    async with pair() as (a, b):
        with pytest.raises(ProtocolRefused, match="does not speak this protocol"):
            await b.open_stream(a.peer_id, "/nunet/unheard-of/1")


async def test_the_library_writes_nothing_to_the_terminal(capfd):
    async with pair() as (a, b):
        with pytest.raises(ProtocolRefused):
            await b.open_stream(a.peer_id, "/nunet/unheard-of/1")
        await b.disconnect(a.peer_id)
    assert capfd.readouterr() == ("", "")
