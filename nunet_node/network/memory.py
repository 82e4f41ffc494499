"""The same port without sockets: a network of hosts within one process.

Rule: what holds on `host.Libp2pHost` holds here: streams are bounded and block the
sender, ends and resets are told apart, gossip is judged before it is delivered,
handlers that raise reset their stream only. What is missing is chance: nothing is
lost, reordered or late. For tests of what is above the network room.
"""

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakSet

import trio

from nunet_node.errors import MisuseError, PeerError
from nunet_node.network.discovery import one_peer
from nunet_node.network.liveness import PeerWatch, offer
from nunet_node.network.port import (
    ConnectFailed,
    GossipMessage,
    NotConnected,
    PeerEvent,
    ProtocolRefused,
    StreamHandler,
    Validator,
    lone_error,
)
from nunet_node.network.stream import Stream, StreamBroken
from nunet_node.wire.limits import GOSSIP_BYTES_MAX

WINDOW_BYTES: Final = 262_144
"""What a stream holds unread before its sender waits, as in yamux."""

SUBSCRIPTION_MAX: Final = 1_024
"""Messages of a topic waiting for one reader; the oldest makes room."""

_log = logging.getLogger("nunet_node.network")


class MemoryNetwork:
    """Every host that `open_host` opened, and who is connected to whom."""

    def __init__(self) -> None:
        self._hosts: dict[str, MemoryHost] = {}
        self._links: set[frozenset[str]] = set()
        # Weakly, so that a network that runs long keeps no stream that is over.
        self._pipes: defaultdict[frozenset[str], WeakSet[_Duplex]] = defaultdict(
            WeakSet
        )

    @asynccontextmanager
    async def open_host(self, peer_id: str) -> AsyncIterator["MemoryHost"]:
        """Run a host of this peer id for as long as the block."""
        if peer_id in self._hosts:
            raise MisuseError(f"there is a host {peer_id} on this network already")
        try:
            async with trio.open_nursery() as nursery:
                host = MemoryHost(self, peer_id, len(self._hosts) + 1, nursery)
                self._hosts[peer_id] = host
                try:
                    yield host
                finally:
                    self._remove(host)
                    nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise lone_error(group) from None

    def _remove(self, host: "MemoryHost") -> None:
        for other in self.neighbours(host.peer_id):
            self.cut(host.peer_id, other)
        del self._hosts[host.peer_id]
        host.end()

    def find(self, peer_id: str) -> "MemoryHost | None":
        """Return the host of this peer id, if it is up."""
        return self._hosts.get(peer_id)

    def neighbours(self, peer_id: str) -> frozenset[str]:
        """Return whom a peer is connected to."""
        return frozenset(
            other
            for link in self._links
            if peer_id in link
            for other in link - {peer_id}
        )

    def join(self, one: "MemoryHost", other: "MemoryHost") -> None:
        """Connect two hosts."""
        self._links.add(frozenset((one.peer_id, other.peer_id)))
        one.watch.up(other.peer_id)
        other.watch.up(one.peer_id)

    def cut(self, one: str, other: str) -> None:
        """Disconnect two peers: their streams break at once."""
        link = frozenset((one, other))
        self._links.discard(link)
        for duplex in tuple(self._pipes.pop(link, ())):
            duplex.drop()
        for here, there in ((one, other), (other, one)):
            host = self._hosts.get(here)
            if host is not None:
                host.watch.down(there)

    def pipe(self, one: str, other: str) -> "tuple[_Duplex, _Duplex]":
        """Return the two ends of a new stream between connected peers."""
        there, back = _Pipe(), _Pipe()
        ends = _Duplex(there, back), _Duplex(back, there)
        self._pipes[frozenset((one, other))].update(ends)
        return ends

    def spread(self, author: str, topic: str, data: bytes) -> None:
        """Deliver a message to everyone whom the author's gossip reaches."""
        reached, todo = {author}, [author]
        while todo:
            for peer_id in self.neighbours(todo.pop()) - reached:
                reached.add(peer_id)
                if self._hosts[peer_id].deliver(topic, GossipMessage(author, data)):
                    todo.append(peer_id)


class MemoryHost:
    """A host of a `MemoryNetwork`; see `port.Host` for what each method promises."""

    def __init__(
        self, network: MemoryNetwork, peer_id: str, port: int, tasks: trio.Nursery
    ) -> None:
        self.watch = PeerWatch()
        self._network = network
        self._peer_id = peer_id
        self._port = port
        self._tasks = tasks
        self._handlers: dict[str, StreamHandler] = {}
        self._outlets: dict[str, _Outlet] = {}

    @property
    def peer_id(self) -> str:
        """Return this host's own peer id."""
        return self._peer_id

    def addresses(self) -> tuple[str, ...]:
        """Return where others can dial this host."""
        return (f"/ip4/127.0.0.1/tcp/{self._port}/p2p/{self._peer_id}",)

    async def connect(self, addrs: Sequence[str]) -> str:
        """Connect to the one peer at these addresses; return its peer id."""
        await trio.lowlevel.checkpoint()
        peer_id, places = one_peer(addrs)
        other = self._network.find(peer_id)
        if other is None or other is self:
            raise ConnectFailed(f"cannot reach {peer_id} at {places[0].transport()}")
        if peer_id not in self.connected_peers():
            self._network.join(self, other)
        return peer_id

    async def open_stream(self, peer_id: str, protocol: str) -> Stream:
        """Open a stream to a connected peer."""
        await trio.lowlevel.checkpoint()
        other = self._network.find(peer_id)
        if other is None or peer_id not in self.connected_peers():
            raise NotConnected(f"no connection to {peer_id}")
        ours, theirs = self._network.pipe(self._peer_id, peer_id)
        other.accept(Stream(self._peer_id, protocol, theirs))
        return Stream(peer_id, protocol, ours)

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Serve incoming streams of this protocol."""
        self._handlers[protocol] = handler

    def connected_peers(self) -> frozenset[str]:
        """Return the peers with a connection."""
        return self._network.neighbours(self._peer_id)

    def ip_of(self, peer_id: str) -> str | None:
        """Return where a connected peer is: in this process, and so on this machine."""
        return "127.0.0.1" if peer_id in self.connected_peers() else None

    async def disconnect(self, peer_id: str) -> None:
        """Close the connection to this peer."""
        await trio.lowlevel.checkpoint()
        self._network.cut(self._peer_id, peer_id)

    async def publish(self, topic: str, data: bytes) -> None:
        """Gossip a message; to ourselves, too, if we are subscribed."""
        await trio.lowlevel.checkpoint()
        if len(data) > GOSSIP_BYTES_MAX:
            raise MisuseError(
                f"a message of {len(data)} bytes; at most {GOSSIP_BYTES_MAX}"
            )
        message = GossipMessage(self._peer_id, data)
        if topic not in self._outlets or self.deliver(topic, message):
            self._network.spread(self._peer_id, topic, data)

    async def subscribe(
        self, topic: str, validate: Validator
    ) -> trio.MemoryReceiveChannel[GossipMessage]:
        """Join a topic."""
        await trio.lowlevel.checkpoint()
        if topic in self._outlets:
            raise MisuseError(f"there is a subscription to {topic} already")
        self._outlets[topic] = _Outlet(validate)
        return self._outlets[topic].receiver

    async def unsubscribe(self, topic: str) -> None:
        """Leave a topic and end its channel."""
        await trio.lowlevel.checkpoint()
        outlet = self._outlets.pop(topic, None)
        if outlet is not None:
            outlet.sender.close()

    def peer_events(self) -> trio.MemoryReceiveChannel[PeerEvent]:
        """Return a new channel of peers that come and go from now on."""
        return self.watch.add()

    def accept(self, stream: Stream) -> None:
        """Serve a stream that another host opens.

        Raises:
            ProtocolRefused: nobody serves its protocol here.
        """
        handler = self._handlers.get(stream.protocol)
        if handler is None:
            raise ProtocolRefused(
                f"{self._peer_id} opens no stream for {stream.protocol}"
            )
        self._tasks.start_soon(self._serve, handler, stream)

    def deliver(self, topic: str, message: GossipMessage) -> bool:
        """Take in a message; tell whether it is forwarded."""
        outlet = self._outlets.get(topic)
        if outlet is None or not outlet.accepts(message.data):
            return False
        offer(outlet.sender, outlet.receiver, message)
        return True

    def end(self) -> None:
        """End every channel."""
        self.watch.end()
        for outlet in self._outlets.values():
            outlet.sender.close()

    async def _serve(self, handler: StreamHandler, stream: Stream) -> None:
        try:
            async with stream:
                await handler(stream)
        except Exception as error:  # noqa: BLE001 - as on the real network
            _log.debug("a stream failed: %r", error)


class _Outlet:
    """A subscription."""

    def __init__(self, validate: Validator) -> None:
        self._validate = validate
        self.sender, self.receiver = trio.open_memory_channel[GossipMessage](
            SUBSCRIPTION_MAX
        )

    def accepts(self, data: bytes) -> bool:
        try:
            return bool(self._validate(data))
        except PeerError:
            return False


class _Pipe:
    """Bytes in one direction, at most `WINDOW_BYTES` of them unread."""

    def __init__(self) -> None:
        self.ended = False
        self.broken = False
        self._buffer = bytearray()
        self._changed = trio.Event()

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        await trio.lowlevel.checkpoint()
        while view:
            await self._wait_while(lambda: len(self._buffer) >= WINDOW_BYTES)
            room = WINDOW_BYTES - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]
            self.stir()

    async def read(self, bytes_max: int) -> bytes:
        await trio.lowlevel.checkpoint()
        await self._wait_while(lambda: not self._buffer and not self.ended)
        data = bytes(self._buffer[:bytes_max])
        del self._buffer[:bytes_max]
        self.stir()
        return data

    def stir(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait_while(self, condition: Callable[[], bool]) -> None:
        while not self.broken and condition():
            await self._changed.wait()
        if self.broken:
            raise StreamBroken("the stream was reset")


class _Duplex:
    """One end of a stream: a `stream.ByteStream`."""

    def __init__(self, outward: _Pipe, inward: _Pipe) -> None:
        self._outward = outward
        self._inward = inward

    async def read(self, bytes_max: int) -> bytes:
        return await self._inward.read(bytes_max)

    async def write(self, data: bytes) -> None:
        await self._outward.write(data)

    async def finish(self) -> None:
        await trio.lowlevel.checkpoint()
        self._outward.ended = True
        self._outward.stir()

    async def reset(self) -> None:
        await trio.lowlevel.checkpoint()
        self.drop()

    def drop(self) -> None:
        for pipe in (self._outward, self._inward):
            pipe.broken = True
            pipe.stir()
