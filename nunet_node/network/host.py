"""The host on a real network: libp2p over TCP with noise and yamux.

Rule: no exception of py-libp2p leaves this module, and no call waits for a peer
without a limit. Importing this module imports py-libp2p,
which takes half a second: import it where a host is opened, not before.
"""

import nunet_node.network.libp2p  # noqa: F401 - first: it decides how to load libp2p

# isort: split
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import trio
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamError
from multiaddr import Multiaddr

from nunet_node.errors import MisuseError
from nunet_node.network.discovery import (
    Address,
    find_local_peers,
    one_peer,
    parse_listen_address,
    parse_multiaddr,
    reachable_addresses,
    resolve,
    why_not,
)
from nunet_node.network.libp2p.gossip import Outlet, SafePubsub, make_router
from nunet_node.network.libp2p.remedies import install, run_service
from nunet_node.network.libp2p.selecting import choose
from nunet_node.network.libp2p.swarm import NetStream, make_host, root_cause
from nunet_node.network.liveness import PeerWatch
from nunet_node.network.port import (
    ConnectFailed,
    GossipMessage,
    HostSettings,
    ListenFailed,
    NotConnected,
    PeerEvent,
    ProtocolRefused,
    StreamHandler,
    Validator,
    lone_error,
)
from nunet_node.network.stream import Stream
from nunet_node.wire.limits import GOSSIP_BYTES_MAX

DIAL_S: Final = 10
"""Longest that one address may take to connect, handshakes included."""

OPEN_S: Final = 10
"""Longest that opening a stream may take: one round trip, on a busy peer."""

LINGER_S: Final = 30
"""Longest that a stream which we have served waits for the peer to end it, too."""

CLOSE_ALL_S: Final = 3
"""Longest that leaving the network may take, goodbyes to all peers included."""


@asynccontextmanager
async def open_host(settings: HostSettings) -> AsyncIterator["Libp2pHost"]:
    """Run a host for as long as the block; everything is closed afterwards (S1).

    Raises:
        AddressError: an address to listen on is none.
        ListenFailed: a port is taken, or not ours to open.
        MisuseError: another py-libp2p than the one we know is installed.
    """
    listen = tuple(map(parse_listen_address, settings.listen))
    install()
    try:
        async with _run_host(settings, listen) as host:
            yield host
    except BaseExceptionGroup as group:
        # The nurseries in between are nobody's concern but ours.
        raise lone_error(group) from None


@asynccontextmanager
async def _run_host(
    settings: HostSettings, listen: Sequence[Address]
) -> AsyncIterator["Libp2pHost"]:
    inner = make_host(settings.seed, settings.connections_max)
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        await stack.enter_async_context(run_service(inner.get_network()))
        pubsub = None
        if settings.gossip:
            router = make_router()
            pubsub = SafePubsub(inner, router)
            stack.callback(pubsub.seen_messages.stop)
            await stack.enter_async_context(run_service(router))
            await stack.enter_async_context(run_service(pubsub))
            await pubsub.wait_until_ready()
        host = Libp2pHost(inner, pubsub, nursery)
        stack.push_async_callback(host._close)  # noqa: SLF001 - closing is ours alone
        await _listen(inner, listen)
        if settings.mdns:
            _look_around(host, nursery)
        yield host


class Libp2pHost:
    """A running host; see `port.Host` for what each method promises."""

    def __init__(self, inner: Any, pubsub: Any, nursery: trio.Nursery) -> None:
        self._inner = inner
        self._swarm = inner.get_network()
        self._pubsub = pubsub
        self._nursery = nursery
        self._watch = PeerWatch()
        self._swarm.register_notifee(_Notifee(self._swarm, self._watch))
        self._peer_id = str(inner.get_id())

    @property
    def peer_id(self) -> str:
        """Return this host's own peer id."""
        return self._peer_id

    def addresses(self) -> tuple[str, ...]:
        """Return where others can dial this host; the widest reach comes first."""
        own = [
            parse_listen_address(str(addr))
            for addr in self._inner.get_transport_addrs()
        ]
        return tuple(
            f"{place.transport()}/p2p/{self._peer_id}"
            for address in own
            for place in reachable_addresses(address)
        )

    async def connect(self, addrs: Sequence[str]) -> str:
        """Connect to the one peer at these addresses; return its peer id.

        Addresses are tried one by one, each for at most `DIAL_S`. D1, D2, D4: the
        library's own way to dial a peer waits, remembers failures, and leaves most
        addresses out.
        """
        peer_id, places = one_peer(addrs)
        if peer_id == self._peer_id:
            raise ConnectFailed("these are this node's own addresses")
        causes = []
        for place in places:
            if peer_id in self.connected_peers():
                return peer_id
            causes.append(f"{place.transport()}: {await self._dial(place)}")
        if peer_id in self.connected_peers():
            return peer_id
        raise ConnectFailed(f"cannot reach {peer_id} at " + "; ".join(causes))

    async def open_stream(self, peer_id: str, protocol: str) -> Stream:
        """Open a stream to a connected peer."""
        connection = self._connection(peer_id)
        if connection is None:
            raise NotConnected(f"no connection to {peer_id}")
        try:
            muxed = await connection.muxed_conn.open_stream()
        except MuxedStreamError as error:
            raise ProtocolRefused(f"no stream to {peer_id}: {error}") from None
        try:
            with trio.fail_after(OPEN_S):
                await choose(muxed, protocol)
        except BaseException as error:
            await muxed.reset()
            if not isinstance(error, Exception):
                raise
            raise self._refusal(peer_id, protocol, error) from None
        return Stream(peer_id, protocol, NetStream(muxed))

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Serve incoming streams of this protocol."""

        async def handle(net_stream: Any) -> None:
            peer_id = str(net_stream.muxed_conn.peer_id)
            stream = Stream(peer_id, protocol, NetStream(net_stream.muxed_stream))
            async with stream:
                await handler(stream)
            await _linger(stream)

        self._inner.set_stream_handler(protocol, handle)

    def connected_peers(self) -> frozenset[str]:
        """Return the peers with at least one live connection."""
        return frozenset(
            str(peer_id)
            for peer_id, connections in self._swarm.connections.items()
            if any(not connection.is_closed for connection in connections)
        )

    def ip_of(self, peer_id: str) -> str | None:
        """Return the numeric address at which a connected peer is reached."""
        connection = self._connection(peer_id)
        place = connection and connection.muxed_conn.get_remote_address()
        return str(place[0]) if place else None

    async def disconnect(self, peer_id: str) -> None:
        """Close every connection to this peer."""
        await self._close_connections(self._connections(peer_id))

    async def publish(self, topic: str, data: bytes) -> None:
        """Sign and gossip a message."""
        if self._pubsub is None:
            raise MisuseError("gossip is off on this host")
        if len(data) > GOSSIP_BYTES_MAX:
            raise MisuseError(
                f"a message of {len(data)} bytes; at most {GOSSIP_BYTES_MAX}"
            )
        await self._pubsub.publish(topic, data)

    async def subscribe(
        self, topic: str, validate: Validator
    ) -> trio.MemoryReceiveChannel[GossipMessage]:
        """Join a topic."""
        if self._pubsub is None:
            raise MisuseError("gossip is off on this host")
        outlet = Outlet(validate)
        self._pubsub.attach_outlet(topic, outlet)
        await self._pubsub.subscribe(topic)
        return outlet.receiver

    async def unsubscribe(self, topic: str) -> None:
        """Leave a topic and end its channel."""
        if self._pubsub is not None:
            self._pubsub.detach_outlet(topic)
            await self._pubsub.unsubscribe(topic)

    def peer_events(self) -> trio.MemoryReceiveChannel[PeerEvent]:
        """Return a new channel of peers that come and go from now on."""
        return self._watch.add()

    async def _dial(self, place: Address) -> str | None:
        """Dial one address; return what went wrong, if anything."""
        cause = "the name has no address"
        try:
            with trio.fail_after(DIAL_S):
                for address in await resolve(place):
                    try:
                        await self._dial_ip(address)
                    except SwarmException as error:
                        cause = root_cause(error)
                    else:
                        return None
        except trio.TooSlowError:
            return f"no answer within {DIAL_S} s"
        except Exception as error:  # noqa: BLE001 - the library raises what it likes
            return root_cause(error)
        return cause

    async def _dial_ip(self, address: Address) -> None:
        peer = ID.from_string(address.peer_id)
        await self._swarm.dial_addr(Multiaddr(str(address)), peer)

    def _refusal(
        self, peer_id: str, protocol: str, error: Exception
    ) -> NotConnected | ProtocolRefused:
        """Return why there is no stream."""
        if self._connection(peer_id) is None:
            return NotConnected(f"the connection to {peer_id} was lost")
        if isinstance(error, trio.TooSlowError):
            cause = f"no answer within {OPEN_S} s"
        elif "not supported" in str(error):
            cause = "it does not speak this protocol"
        else:
            cause = root_cause(error)
        return ProtocolRefused(f"{peer_id} opens no stream for {protocol}: {cause}")

    def _connections(self, peer_id: str) -> list[Any]:
        everyone = self._swarm.get_connections()
        return [c for c in everyone if str(c.muxed_conn.peer_id) == peer_id]

    def _connection(self, peer_id: str) -> Any:
        live = [c for c in self._connections(peer_id) if not c.is_closed]
        return live[-1] if live else None

    async def _close_connections(self, connections: Sequence[Any]) -> None:
        async with trio.open_nursery() as nursery:
            for connection in connections:
                nursery.start_soon(connection.close)

    async def _close(self) -> None:
        with trio.CancelScope(shield=True):
            self._watch.end()
            with trio.move_on_after(CLOSE_ALL_S):
                await self._close_connections(self._swarm.get_connections())
            for connection in self._swarm.get_connections():
                connection.muxed_conn.abort()
            with trio.move_on_after(CLOSE_ALL_S):
                await self._inner.close()
            self._nursery.cancel_scope.cancel()


class _Notifee:
    """Passes the library's connection events on."""

    def __init__(self, swarm: Any, watch: PeerWatch) -> None:
        self._swarm = swarm
        self._watch = watch

    async def connected(self, _network: Any, connection: Any) -> None:
        self._watch.up(str(connection.muxed_conn.peer_id))

    async def disconnected(self, _network: Any, connection: Any) -> None:
        peer_id = connection.muxed_conn.peer_id
        if all(other.is_closed for other in self._swarm.get_connections(peer_id)):
            self._watch.down(str(peer_id))

    async def opened_stream(self, _network: Any, _stream: Any) -> None: ...

    async def closed_stream(self, _network: Any, _stream: Any) -> None: ...

    async def listen(self, _network: Any, _addr: Any) -> None: ...

    async def listen_close(self, _network: Any, _addr: Any) -> None: ...


def _look_around(host: Libp2pHost, nursery: trio.Nursery) -> None:
    """Look for peers on the local network, if it can reach us."""
    places = [parse_multiaddr(address) for address in host.addresses()]
    wide = [p for p in places if p.kind == "ip4" and not p.is_loopback()]
    if wide:
        interfaces = [place.host for place in wide]
        nursery.start_soon(find_local_peers, host, interfaces, list(map(str, wide)))


async def _linger(stream: Stream) -> None:
    """Wait for the peer's end of a stream that we have served, and drop what it says.

    Resetting at once could overtake our last words; leaving it open for good would
    let a peer that never ends its streams use up its own places.
    """
    with trio.move_on_after(LINGER_S) as patience:
        while await stream.receive_some():
            pass
    if patience.cancelled_caught:
        await stream.reset()


async def _listen(inner: Any, addresses: Sequence[Address]) -> None:
    for address in addresses:
        if not await inner.get_network().listen(Multiaddr(address.transport())):
            raise ListenFailed(why_not(address))
