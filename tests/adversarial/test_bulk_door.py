"""Attacks on the bulk door: strangers, thieves of tickets, the slow and the many.

What each may cost the node is bounded by the limits named in `network.bulk.door`.
"""

import socket
import threading
from contextlib import asynccontextmanager

import pytest
import trio

from nunet_node.network.bulk import door as door_module
from nunet_node.network.bulk.channel import Channel, fill
from nunet_node.network.bulk.dialling import dial
from nunet_node.network.bulk.door import CHANNELS_MAX, KNOCKING_MAX, Door
from nunet_node.network.bulk.records import RecordError
from nunet_node.network.stream import StreamBroken


@asynccontextmanager
async def open_door(serve=lambda _peer, channel: echo(channel)):
    door = Door(serve)
    listeners = await door.listen(["127.0.0.1"], 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.run, listeners)
        yield door
        nursery.cancel_scope.cancel()


def echo(channel):
    while (data := channel.receive_frame()) is not None:
        channel.send(data)


async def knock(door, said):
    """Send bytes to the door, and return all that it ever says."""
    async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
        try:
            await stream.send_all(said)
            with trio.fail_after(30):
                return await stream.receive_some(100)
        except trio.BrokenResourceError:
            return b""


async def talk(door, ticket):
    """Show a ticket and return the answer to a word; None if it is not answered."""

    def in_thread():
        channel = dial("127.0.0.1", door.port, name=ticket.name, key=ticket.key)
        try:
            channel.send(b"word")
            return channel.receive_frame()
        except StreamBroken:
            return None
        finally:
            channel.close()

    return await trio.to_thread.run_sync(in_thread)


async def test_a_stranger_is_turned_away_while_nobody_is_expected():
    async with open_door() as door:
        assert await knock(door, b"") == b""


@pytest.mark.parametrize(
    "said",
    [
        bytes(36),
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n" + bytes(8),
        b"\x16\x03\x01" * 12,
    ],
)
async def test_a_stranger_learns_nothing_while_somebody_is_expected(said):
    async with open_door() as door:
        ticket = door.ticket_for("anna")
        assert await knock(door, said) == b""
        assert await talk(door, ticket) == b"word"


async def test_a_ticket_is_not_served_twice():
    async with open_door() as door:
        ticket, _other = door.ticket_for("anna"), door.ticket_for("anna")
        assert await talk(door, ticket) == b"word"
        assert await talk(door, ticket) is None


async def test_a_ticket_without_its_key_is_spent_and_serves_nothing():
    async with open_door() as door:
        ticket, _other = door.ticket_for("anna"), door.ticket_for("anna")
        assert await knock(door, ticket.name + bytes(20)) == b""
        assert await talk(door, ticket) is None


async def test_a_recorded_conversation_cannot_be_played_again():
    heard = bytearray()
    async with open_door() as door:
        ticket, _other = door.ticket_for("anna"), door.ticket_for("anna")
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]

            def listen_in():
                came, _ = server.accept()
                place = bytearray(36)
                fill(came, memoryview(place), 5)
                heard.extend(place)
                came.close()

            thief = threading.Thread(target=listen_in)
            thief.start()
            channel = await trio.to_thread.run_sync(
                lambda: dial("127.0.0.1", port, name=ticket.name, key=ticket.key)
            )
            thief.join()
            channel.close()
        # The thief in the middle comes first; the echo of what it has opens nothing.
        assert await knock(door, bytes(heard) + bytes(heard)) == b""
        assert await talk(door, ticket) is None


async def test_whoever_else_listens_at_the_port_can_say_nothing():
    key = bytes(range(32))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def pretend():
            came, _ = server.accept()
            # Closing with words unread would cut the caller off as it speaks.
            fill(came, memoryview(bytearray(36)), 5)
            other = Channel(came, bytes(32), door=True)
            other.send(b"believe me")
            other.close()

        liar = threading.Thread(target=pretend)
        liar.start()

        def ask():
            channel = dial("127.0.0.1", port, name=bytes(16), key=key)
            try:
                return channel.receive_frame()
            finally:
                channel.close()

        with pytest.raises(RecordError):
            await trio.to_thread.run_sync(ask)
        liar.join()


async def test_what_a_peer_said_cannot_be_sent_back_to_it():
    key = bytes(range(32))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def reflect():
            came, _ = server.accept()
            place = bytearray(36)
            fill(came, memoryview(place), 5)
            came.sendall(place[16:])
            came.close()

        mirror = threading.Thread(target=reflect)
        mirror.start()

        def ask():
            channel = dial("127.0.0.1", port, name=bytes(16), key=key)
            try:
                return channel.receive_frame()
            finally:
                channel.close()

        with pytest.raises(RecordError):
            await trio.to_thread.run_sync(ask)
        mirror.join()


async def test_the_slow_are_shown_out(monkeypatch):
    monkeypatch.setattr(door_module, "KNOCK_S", 0.05)
    async with open_door() as door:
        ticket = door.ticket_for("anna")
        assert await knock(door, ticket.name[:3]) == b""
        assert await talk(door, ticket) == b"word"


async def test_more_strangers_than_there_are_places_are_turned_away():
    async with open_door() as door:
        door.ticket_for("anna")
        streams = []
        for _ in range(KNOCKING_MAX):
            stream = await trio.open_tcp_stream("127.0.0.1", door.port)
            await stream.send_all(b"x")
            streams.append(stream)
        assert await knock(door, b"x") == b""
        for stream in streams:
            await trio.aclose_forcefully(stream)


async def test_one_peer_cannot_take_every_place(monkeypatch):
    monkeypatch.setattr(door_module, "CHANNELS_PER_PEER_MAX", 1)
    async with open_door() as door:
        held, more = door.ticket_for("anna"), door.ticket_for("anna")

        def hold():
            channel = dial("127.0.0.1", door.port, name=held.name, key=held.key)
            channel.send(b"word")
            channel.receive_frame()
            return channel

        channel = await trio.to_thread.run_sync(hold)
        assert await talk(door, more) is None
        assert await talk(door, door.ticket_for("berta")) == b"word"
        channel.close()


async def test_there_are_only_so_many_places_in_all():
    async with open_door() as door:
        channels = []

        def hold(ticket):
            channel = dial("127.0.0.1", door.port, name=ticket.name, key=ticket.key)
            channel.send(b"word")
            channel.receive_frame()
            return channel

        for number in range(CHANNELS_MAX):
            ticket = door.ticket_for(f"peer-{number}")
            channels.append(await trio.to_thread.run_sync(hold, ticket))
        assert await talk(door, door.ticket_for("late")) is None
        for channel in channels:
            channel.close()
