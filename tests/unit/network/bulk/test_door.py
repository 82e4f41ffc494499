"""Whoever shows a ticket and knows its key comes in; nobody else does."""

import socket
from contextlib import asynccontextmanager

import pytest
import trio

from nunet_node.network.bulk import door as door_module
from nunet_node.network.bulk.dialling import BulkRefused, dial
from nunet_node.network.bulk.door import Door
from nunet_node.network.port import ListenFailed
from nunet_node.network.stream import StreamBroken


@asynccontextmanager
async def open_door(serve):
    door = Door(serve)
    listeners = await door.listen(["127.0.0.1"], 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.run, listeners)
        yield door
        nursery.cancel_scope.cancel()
    assert door.port == 0


def echo(peer_id, channel):
    while (data := channel.receive_frame()) is not None:
        channel.send(f"{peer_id} {data.decode()}".encode())


async def come(door, ticket, said=b"hello"):
    """Show a ticket, say something and return the answer; None if there is none."""

    def talk():
        channel = dial("127.0.0.1", door.port, name=ticket.name, key=ticket.key)
        try:
            channel.send(said)
            return channel.receive_frame()
        finally:
            channel.close()

    return await trio.to_thread.run_sync(talk)


async def answer(door, ticket):
    """Return what a door says to whoever shows this; None if nothing."""
    try:
        return await come(door, ticket)
    except StreamBroken:
        return None


async def test_whoever_shows_a_ticket_is_served_as_its_peer():
    async with open_door(echo) as door:
        assert await come(door, door.ticket_for("anna")) == b"anna hello"


async def test_a_door_without_a_port_gives_no_tickets():
    assert Door(echo).ticket_for("anna") is None


async def test_a_peer_that_has_its_connections_gets_no_ticket(monkeypatch):
    monkeypatch.setattr(door_module, "CHANNELS_PER_PEER_MAX", 1)
    async with open_door(echo) as door:
        ticket = door.ticket_for("anna")

        def hold():
            channel = dial("127.0.0.1", door.port, name=ticket.name, key=ticket.key)
            channel.send(b"hello")
            assert channel.receive_frame() == b"anna hello"
            return channel

        channel = await trio.to_thread.run_sync(hold)
        assert door.ticket_for("anna") is None
        assert door.ticket_for("berta") is not None
        channel.close()


async def test_forgetting_a_peer_voids_its_tickets_and_cuts_its_connections():
    async with open_door(echo) as door:
        ticket, unused = door.ticket_for("anna"), door.ticket_for("anna")

        def talk():
            channel = dial("127.0.0.1", door.port, name=ticket.name, key=ticket.key)
            channel.send(b"hello")
            assert channel.receive_frame() == b"anna hello"
            trio.from_thread.run_sync(door.forget, "anna")
            try:
                return channel.receive_frame()
            finally:
                channel.close()

        assert await trio.to_thread.run_sync(talk) is None
        # While any ticket is out the door looks at what it is shown.
        assert door.ticket_for("berta") is not None
        assert await answer(door, unused) is None


async def test_closing_the_door_ends_those_who_are_in():
    entered, ended = trio.Event(), []

    def wait(_peer_id, channel):
        trio.from_thread.run_sync(entered.set)
        try:
            channel.receive_frame()
        finally:
            ended.append(True)

    async with open_door(wait) as door, trio.open_nursery() as nursery:
        nursery.start_soon(answer, door, door.ticket_for("anna"))
        await entered.wait()
        nursery.cancel_scope.cancel()
    assert ended


async def test_a_visitor_is_used_by_whoever_expected_it():
    async with open_door(echo) as door, trio.open_nursery() as nursery:
        with door.expecting("anna") as visit:
            nursery.start_soon(answer, door, visit.ticket)
            channel = await visit.channel()
            said = await trio.to_thread.run_sync(channel.receive_frame)
            assert said == b"hello"
            await trio.to_thread.run_sync(channel.send, b"and you")


async def test_who_comes_after_nobody_waits_any_more_is_not_let_in():
    async with open_door(echo) as door:
        with door.expecting("anna") as visit:
            pass
        # While any ticket is out the door looks at what it is shown.
        assert door.ticket_for("berta") is not None
        assert await answer(door, visit.ticket) is None


async def test_a_visitor_cannot_be_expected_where_there_is_no_door():
    with Door(echo).expecting("anna") as visit:
        assert visit is None


async def test_a_visitor_is_cut_when_its_peer_is_forgotten():
    async with open_door(echo) as door, trio.open_nursery() as nursery:
        with door.expecting("anna") as visit:
            nursery.start_soon(answer, door, visit.ticket)
            channel = await visit.channel()
            assert await trio.to_thread.run_sync(channel.receive_frame) == b"hello"
            door.forget("anna")
            assert await trio.to_thread.run_sync(channel.receive_frame) is None


async def test_a_door_that_closes_cuts_a_visitor_and_waits_for_who_uses_it():
    used = trio.Event()

    async def use(door, task_status):
        with door.expecting("anna") as visit:
            task_status.started(visit.ticket)
            channel = await visit.channel()
            assert await trio.to_thread.run_sync(channel.receive_frame) == b"hello"
            used.set()
            assert await trio.to_thread.run_sync(channel.receive_frame) is None

    async with trio.open_nursery() as nursery, open_door(echo) as door:
        nursery.start_soon(answer, door, await nursery.start(use, door))
        await used.wait()


async def test_a_port_that_is_taken_is_named():
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ListenFailed, match=str(port)):
            await Door(echo).listen(["127.0.0.1"], port)


async def test_one_port_serves_every_host():
    door = Door(echo)
    listeners = await door.listen(["127.0.0.1", "127.0.0.2"], 0)
    ports = {each.socket.getsockname()[1] for each in listeners}
    assert ports == {door.port}
    for each in listeners:
        await each.aclose()


def test_nobody_at_the_port_is_a_refusal(unused_port):
    with pytest.raises(BulkRefused):
        dial("127.0.0.1", unused_port, name=bytes(16), key=bytes(32))


@pytest.fixture
def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
