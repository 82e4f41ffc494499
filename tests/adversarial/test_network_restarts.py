"""Peers come, go and come back, and nothing is used up by it."""

import socket

import pytest
import trio
from libp2p.transport.tcp import tcp
from multiaddr import Multiaddr

from nunet_node.network.host import open_host
from nunet_node.network.libp2p import swarm
from nunet_node.network.port import (
    ConnectFailed,
    HostSettings,
    ListenFailed,
    PeerConnected,
)
from tests.network_peers import (
    ECHO,
    answers,
    echo,
    hosts,
    pair,
    peer_process,
    settings,
    swarm_of,
    until,
)


async def test_many_visits_use_up_no_places():
    async with open_host(HostSettings(seed=bytes(32), connections_max=3)) as a:
        a.serve(ECHO, echo)
        for number in range(12):
            async with open_host(settings(number + 1, gossip=False)) as visitor:
                await visitor.connect(a.addresses())
                assert await answers(visitor, a.peer_id)
            await until(lambda: not a.connected_peers())
        assert swarm_of(a).get_connections() == []


async def test_without_the_remedy_visits_use_up_the_places(monkeypatch):
    monkeypatch.setattr(
        swarm.SafeSwarm,
        "_handle_inbound_connection",
        swarm.Swarm._handle_inbound_connection,
    )
    async with open_host(HostSettings(seed=bytes(32), connections_max=3)) as a:

        async def visit():
            for number in range(12):
                async with open_host(settings(number + 1, gossip=False)) as visitor:
                    await visitor.connect(a.addresses())
                await until(lambda: not a.connected_peers())

        with pytest.raises(ConnectFailed):
            await visit()


async def test_leaving_the_host_closes_its_connections():
    async with hosts(1) as (a,):
        async with open_host(settings(5)) as b:
            events = b.peer_events()
            await b.connect(a.addresses())
            await until(lambda: a.connected_peers() == {b.peer_id})
        await until(lambda: not a.connected_peers())
        with trio.fail_after(20):
            # Whoever watches the host that is left hears the end of it, too.
            told = [event async for event in events]
        assert told[0] == PeerConnected(peer_id=a.peer_id)


async def test_a_peer_that_was_down_is_reached_as_soon_as_it_is_up():
    async with hosts(1) as (b,):
        async with open_host(settings(7)) as first:
            address = first.addresses()[0]
        for _ in range(3):
            with pytest.raises(ConnectFailed, match="refused"):
                await b.connect([address])
        place = address.split("/p2p/")[0]
        async with open_host(settings(7, listen=(place,))) as again:
            assert await b.connect([address]) == again.peer_id


async def test_every_address_of_a_peer_is_tried():
    async with hosts(2) as (a, b):
        dead = [f"/ip4/127.0.0.1/tcp/{port}/p2p/{a.peer_id}" for port in (1, 2, 3)]
        assert await b.connect([*dead, *a.addresses()]) == a.peer_id


async def test_a_port_in_use_is_named_and_so_is_the_way_out():
    async with hosts(1) as (a,):
        place = a.addresses()[0].split("/p2p/")[0]
        port = place.split("/")[4]
        with pytest.raises(ListenFailed, match=rf"port {port} .* in use .* port 0"):
            async with open_host(settings(2, listen=(place,))):
                pass


async def test_a_port_that_another_process_holds_is_in_use():
    async with peer_process() as (_, address):
        place = address.split("/p2p/")[0]
        with pytest.raises(ListenFailed, match="in use"):
            async with open_host(settings(2, listen=(place,))):
                pass


async def test_the_last_words_of_a_peer_that_leaves_are_heard():
    async with pair() as (a, b):
        spoken = trio.Event()

        async def say_and_leave(stream):
            await stream.send(b"goodbye" * 1000)
            await stream.finish()
            spoken.set()
            await a.disconnect(b.peer_id)

        a.serve("/nunet/test-leave/1", say_and_leave)
        stream = await b.open_stream(a.peer_id, "/nunet/test-leave/1")
        await spoken.wait()
        await until(lambda: not b.connected_peers())
        assert await stream.receive() == b"goodbye" * 1000
        assert await stream.receive() is None


async def test_a_frame_in_many_small_pieces_arrives_whole():
    async with hosts(2) as (a, b):
        a.serve(ECHO, echo)
        listening = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listening[0].socket.getsockname()[1]
        target = int(a.addresses()[0].split("/")[4])

        async def relay_in_pieces(client):
            server = await trio.open_tcp_stream("127.0.0.1", target)
            async with client, server, trio.open_nursery() as nursery:
                nursery.start_soon(copy, client, server, 300)
                await copy(server, client, 65_536)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, relay_in_pieces, listening)
            await b.connect([f"/ip4/127.0.0.1/tcp/{port}/p2p/{a.peer_id}"])
            async with await b.open_stream(a.peer_id, ECHO) as stream:
                await stream.send(b"z" * 60_000)
                with trio.fail_after(20):
                    assert await stream.receive() == b"z" * 60_000
            nursery.cancel_scope.cancel()


async def copy(source, sink, piece_bytes):
    try:
        while data := await source.receive_some(piece_bytes):
            await sink.send_all(data)
            # Lets the reader take this piece before the next one comes.
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def test_a_host_can_stop_amid_messages():
    async with hosts(1) as (a,):
        channel = await a.subscribe("t", lambda _: True)
        for number in range(3):
            async with open_host(settings(20 + number)) as b:
                await b.subscribe("t", lambda _: True)
                await b.connect(a.addresses())
                await until(lambda b=b: b._pubsub.router.mesh.get("t"))
                async with trio.open_nursery() as nursery:
                    for word in range(100):
                        nursery.start_soon(a.publish, "t", b"%d %d" % (number, word))
        await a.publish("t", b"still here")
        with trio.fail_after(20):
            heard = {(await channel.receive()).data for _ in range(301)}
    assert b"still here" in heard


async def test_what_a_peer_claims_of_itself_is_neither_asked_for_nor_dialled():
    async with pair() as (a, b):
        assert await answers(b, a.peer_id)
        for host, other in ((a, b), (b, a)):
            known = host._inner.peerstore
            claimed = [p for p in known.peer_ids() if str(p) == other.peer_id]
            assert not any(known.get_protocols(peer) for peer in claimed)
    async with hosts(2) as (a, b):
        place = Multiaddr(a.addresses()[0])
        b._inner.peerstore.add_addrs(a._inner.get_id(), [place], 3600)
        await swarm_of(b).auto_connector.maybe_connect()
        assert b.connected_peers() == frozenset()


async def test_without_the_remedy_two_hosts_share_one_port(monkeypatch):
    def share(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    async with hosts(1) as (first,):
        del first
    # `install` has run by now, so that it does not run again below.
    monkeypatch.setattr(tcp, "_set_reuse_flags", share)
    async with hosts(1) as (a,):
        place = a.addresses()[0].split("/p2p/")[0]
        async with open_host(settings(2, listen=(place,))) as b:
            assert b.addresses()[0].startswith(place)
