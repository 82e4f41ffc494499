"""py-libp2p's connections, made safe against peers and against cancellation.

Rule: nothing that a peer sends, and nothing that our own code cancels, may end more
than the one stream or the one connection it belongs to; what a peer can make us hold
is bounded for each connection and for all together. The traps' names are those of
`remedies.REMEDIES`.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any, Final

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import ID_PUSH
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader

from nunet_node.network.libp2p.connection import YamuxConnection
from nunet_node.network.libp2p.selecting import OneTrip
from nunet_node.network.stream import READ_BYTES, StreamBroken

CLOSE_S: Final = 1
"""Longest that saying goodbye may take before the socket is simply closed."""

CONNECTIONS_PER_PEER_MAX: Final = 4
"""Connections with one peer: two come of dialling each other at once, and two more of
reconnecting before the old ones are known to be dead."""

HANDSHAKES_MAX: Final = 256
"""Incoming connections that have not yet proved who they are (N3)."""

HANDSHAKES_PER_ADDRESS_MAX: Final = 64
"""Of those, how many may come from one IP address: a site behind one router starts
up at once, but no single machine may fill the table."""

PRESENT_PER_ADDRESS_MAX: Final = 100
"""Incoming connections from one IP address, whoever they prove to be: peer ids are
free, so one machine could otherwise fill the table of 300. Many nodes on this very
machine are a test or a demonstration."""

LOOPBACK: Final = "loopback"
"""The source of connections from this machine."""

HANDSHAKE_S: Final = 10
"""Longest that an incoming connection may take to prove who it is."""

_UNHEARD: Final = frozenset({"opened_stream", "closed_stream"})

_log = logging.getLogger("nunet_node.network")


class OurMuxer(MuxerMultistream):  # type: ignore[misc] # the library is untyped
    """Makes every connection ours; the library's own would name its own class."""

    async def new_conn(self, conn: Any, peer_id: Any) -> Any:
        """Agree on yamux and start it."""
        protocol, muxer = await self._selector.select(
            conn, conn.is_initiator, self.negotiate_timeout
        )
        muxed = muxer(conn, peer_id, is_initiator=conn.is_initiator)
        return self._annotate_connection(muxed, conn, protocol)


class _NoAutoConnector:
    """A1: dials nobody. The library's would dial addresses that strangers claim."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def run_background_task(self, _nursery: trio.Nursery) -> None: ...

    async def maybe_connect(self) -> None: ...

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None


class SafeSwarm(Swarm):  # type: ignore[misc] # the library is untyped
    """A1, H1, N3, S2: the connections, each on its own."""

    def _init_connection_management(self) -> None:
        super()._init_connection_management()
        self.auto_connector = _NoAutoConnector()
        self._handshakes: Counter[str] = Counter()
        self._present: Counter[str] = Counter()

    def set_stream_handler(self, stream_handler: Any) -> None:
        """H1: serve incoming streams; one that fails is reset and hurts no other."""

        async def guarded(stream: Any) -> None:
            try:
                await stream_handler(stream)
            except Exception as error:  # noqa: BLE001 - it would stop the host
                _log.debug("a stream failed: %r", error)
                with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_S):
                    await stream.reset()

        super().set_stream_handler(guarded)

    async def _notify(self, method: str, *args: Any) -> None:
        """Tell of connections; nobody here listens for streams.

        The library starts a task for each who might, four times in a stream's life.
        """
        if method not in _UNHEARD:
            await super()._notify(method, *args)

    async def _handle_inbound_connection(self, channel: Any, maddr: Any) -> None:
        source = source_of(channel)
        if not self._may_enter(source):
            return
        self._present[source] += 1
        try:
            muxed = await self._shake_hands(channel, maddr, source)
            # S2: the socket is closed when this returns; the library waits for the
            # end of the whole host, and keeps the place of every connection ever.
            if muxed is not None:
                await muxed.event_closed.wait()
        finally:
            self._present -= Counter((source,))

    async def _shake_hands(self, channel: Any, maddr: Any, source: str) -> Any:
        """Let a stranger prove who it is; return the connection, or None."""
        self._handshakes[source] += 1
        try:
            with trio.move_on_after(HANDSHAKE_S):
                raw = RawConnection(BufferedChannel(channel), initiator=False)
                return await self.upgrade_inbound_raw_conn(raw, maddr)
        except Exception as error:  # noqa: BLE001 - anything may come from a stranger
            _log.debug("an incoming connection from %s failed: %r", source, error)
        finally:
            self._handshakes -= Counter((source,))
        return None

    def _may_enter(self, source: str) -> bool:
        """N3: tell whether a stranger's connection may begin to prove itself."""
        return (
            self._handshakes[source] < HANDSHAKES_PER_ADDRESS_MAX
            and self._handshakes.total() < HANDSHAKES_MAX
            and (source == LOOPBACK or self._present[source] < PRESENT_PER_ADDRESS_MAX)
        )

    async def upgrade_outbound_raw_conn(
        self, raw_conn: Any, peer_id: Any, pre_scope: Any = None
    ) -> Any:
        """Secure a connection that we dialled."""
        raw_conn.stream = BufferedChannel(raw_conn.stream)
        return await super().upgrade_outbound_raw_conn(raw_conn, peer_id, pre_scope)

    async def add_conn(self, muxed_conn: Any, direction: str = "unknown") -> Any:
        """Take a connection in, unless its peer has enough of them already."""
        if len(self.get_connections(muxed_conn.peer_id)) >= CONNECTIONS_PER_PEER_MAX:
            await muxed_conn.close()
            raise SwarmException("the peer has as many connections as it may")
        return await super().add_conn(muxed_conn, direction)


class SafeHost(BasicHost):  # type: ignore[misc] # the library is untyped
    """A1: answers identify and asks nobody; what peers claim is of no use here."""

    def _schedule_identify(self, peer_id: Any, *, reason: str) -> None: ...


class BufferedChannel(TrioTCPStream):  # type: ignore[misc] # the library is untyped
    """A socket that is read in large pieces; noise asks for two bytes, then a few.

    Its end is told once. Whoever goes on reading then is told that the connection is
    closed: the library takes an end for an empty piece, and would ask for
    `remedies.PIECES_MAX` more, at the cost of a tenth of a second of processor time.
    """

    def __init__(self, channel: TrioTCPStream) -> None:
        super().__init__(channel.stream)
        self._buffer = bytearray()
        self._ended = False

    async def read(self, n: int | None = None) -> bytes:
        """Return some bytes; none at the end."""
        if not self._buffer:
            if self._ended:
                raise ConnectionClosedError("the peer has closed the connection")
            self._buffer += await super().read(READ_BYTES)
            self._ended = not self._buffer
        stop = len(self._buffer) if n is None else n
        data = bytes(self._buffer[:stop])
        del self._buffer[:stop]
        return data

    def take_buffered(self) -> bytearray:
        """Return what was read from the socket and not yet asked for."""
        taken, self._buffer = self._buffer, bytearray()
        return taken


class NetStream:
    """A multiplexed stream as a `stream.ByteStream`."""

    def __init__(self, muxed: Any) -> None:
        self._muxed = muxed

    async def read(self, bytes_max: int) -> bytes:
        """Return some bytes; none at the peer's proper end."""
        try:
            return bytes(await self._muxed.read(bytes_max))
        except MuxedStreamEOF:
            return b""
        except MuxedStreamError as error:
            raise StreamBroken(str(error)) from None

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        try:
            await self._muxed.write(data)
        except MuxedStreamError as error:
            raise StreamBroken(str(error)) from None

    async def finish(self) -> None:
        """End our direction."""
        await self._muxed.close()

    async def reset(self) -> None:
        """Drop both directions."""
        await self._muxed.reset()


def source_of(channel: Any) -> str:
    """Return what a connection's limits go by: its IPv4 address, or IPv6 network.

    Whoever has one IPv6 address usually has the 2^64 of its network.
    """
    try:
        address = ip_address(channel.stream.socket.getpeername()[0].partition("%")[0])
    except (OSError, ValueError):
        return ""
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return LOOPBACK
    if address.version == 4:  # noqa: PLR2004 - the internet's versions
        return str(address)
    return str(ip_network((address, 64), strict=False))


def make_host(seed: bytes, connections_max: int) -> BasicHost:
    """Make a host that speaks noise and yamux over TCP, and nothing else (X1)."""
    keys = create_new_key_pair(seed)
    noise = NoiseTransport(keys, noise_privkey=create_noise_key().private_key)
    upgrader = TransportUpgrader({NOISE: noise}, {})
    upgrader.muxer_multistream = OurMuxer({YAMUX: YamuxConnection})
    peer_id = ID.from_pubkey(keys.public_key)
    peerstore = PeerStore()
    peerstore.add_key_pair(peer_id, keys)
    swarm = SafeSwarm(
        peer_id,
        peerstore,
        upgrader,
        transports=[TCP()],
        retry_config=RetryConfig(max_retries=0),
        connection_config=_connection_config(connections_max),
    )
    host = SafeHost(network=swarm, disable_identify_address_discovery=True)
    host.remove_stream_handler(ID_PUSH)
    host.multiselect = OneTrip(host.multiselect.handlers)
    return host


def _connection_config(connections_max: int) -> ConnectionConfig:
    return ConnectionConfig(
        max_connections=connections_max,
        high_watermark=connections_max,
        min_connections=0,
        low_watermark=0,
        max_connections_per_peer=CONNECTIONS_PER_PEER_MAX,
        inbound_upgrade_timeout=HANDSHAKE_S,
    )


def root_cause(error: BaseException) -> str:
    """Return what a person can use of the library's nested errors."""
    seen = error
    while True:
        if isinstance(seen, BaseExceptionGroup):
            seen = seen.exceptions[0]
        elif seen.__cause__ is not None:
            seen = seen.__cause__
        else:
            break
    if isinstance(seen, OSError) and seen.errno:
        return os.strerror(seen.errno)
    if isinstance(seen, PeerIDMismatchesPubkey):
        return "another peer is there: " + str(seen).rpartition("=")[2]
    return str(seen) or type(seen).__name__
