"""py-libp2p's connections, made safe against peers and against cancellation.

Rule: nothing that a peer sends, and nothing that our own code cancels, may end more
than the one stream or the one connection it belongs to; what a peer can make us hold
is bounded for each connection and for all together. The traps' names are those of
`remedies.REMEDIES`.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import ID_PUSH
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader

from nunet_node.network.liveness import keep_alive
from nunet_node.network.remedies import WINDOW_BYTES_MAX
from nunet_node.network.stream import StreamBroken

WRITE_STALL_S: Final = 10
"""Longest that one frame may take to leave: a peer that takes nothing in for so long
is as good as gone, and the frame, half sent, can be neither resumed nor dropped."""

CLOSE_S: Final = 1
"""Longest that saying goodbye may take before the socket is simply closed."""

STREAMS_PER_CONNECTION_MAX: Final = 256
"""Open streams on one connection, the library's own limit for the opener."""

BUFFERED_BYTES_MAX: Final = 16_777_216
"""Unread bytes of one connection over all its streams: sixteen full windows. A peer
that sends more than it was granted reaches this and is cut off (Y1)."""

CONNECTIONS_PER_PEER_MAX: Final = 4
"""Connections with one peer: two come of dialling each other at once, and two more of
reconnecting before the old ones are known to be dead."""

HANDSHAKES_MAX: Final = 256
"""Incoming connections that have not yet proved who they are (N3)."""

HANDSHAKES_PER_ADDRESS_MAX: Final = 64
"""Of those, how many may come from one IP address: a site behind one router starts
up at once, but no single machine may fill the table."""

HANDSHAKE_S: Final = 10
"""Longest that an incoming connection may take to prove who it is."""

_log = logging.getLogger("nunet_node.network")


class SafeYamux(Yamux):  # type: ignore[misc] # the library is untyped
    """C1, C3, N1, Y1, Y3, Y4: a connection whose frames leave whole or end it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ping_id: int = 0
        self._reads_heard = 0
        read = self.secured_conn.read

        async def counted_read(n: int | None = None) -> Any:
            data = await read(n)
            self._reads_heard += 1
            return data

        self.secured_conn.read = counted_read

    async def _write_frame(self, data: bytes) -> None:
        async with self._write_lock:
            # A half-sent frame turns everything after it into garbage, so a caller's
            # cancellation waits; a peer that reads nothing must not make it wait long.
            with trio.CancelScope(shield=True):
                with trio.move_on_after(WRITE_STALL_S) as patience:
                    await self.secured_conn.write(data)
                if patience.cancelled_caught:
                    self.abort()
                    raise ConnectionClosedError("the peer takes nothing in")

    async def open_stream(self) -> Any:
        """Open a stream, or refuse at once where the library would wait for ever."""
        if self.stream_backlog_semaphore.value == 0:
            raise MuxedStreamError("as many streams are open as a connection carries")
        return await super().open_stream()

    async def handle_incoming(self) -> None:
        """Read frames; whatever ends that, the connection's streams end with it."""
        try:
            await super().handle_incoming()
        finally:
            if not self.event_closed.is_set():
                self.abort()
                with trio.CancelScope(shield=True):
                    await self._cleanup_on_error()

    async def _cleanup_on_error(self) -> None:
        # What has arrived is still to be read (Y4): a peer may speak and leave.
        for stream_id, stream in self.streams.items():
            stream.left = bytes(self.stream_buffers.get(stream_id, b""))
            stream.ended = stream.recv_closed and not stream.reset_received
        await super()._cleanup_on_error()

    async def _read_data_body(self, length: int) -> bytes:
        held = sum(map(len, self.stream_buffers.values()))
        if length > WINDOW_BYTES_MAX or held + length > BUFFERED_BYTES_MAX:
            _log.info("%s sends more than it may", self.peer_id)
            self.abort()
            raise ConnectionClosedError("the peer sends more than it may")
        return bytes(await super()._read_data_body(length))

    async def _measure_rtt_loop(self) -> None:
        await keep_alive(self)

    async def ping(self) -> None:
        """Ask for a sign of life and wait for it."""
        self._ping_id = (self._ping_id + 1) % 2**32
        self._ping_event = trio.Event()
        self._ping_sent_time = trio.current_time()
        header = (0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id)
        await self._write_frame(yamux.struct.pack(yamux.YAMUX_HEADER_FORMAT, *header))
        await self._ping_event.wait()

    def heard(self) -> int:
        """Return how often the peer has sent something."""
        return self._reads_heard

    async def wait_closing(self) -> None:
        """Return when the connection is going down."""
        await self.event_shutting_down.wait()

    def abort(self) -> None:
        """Close the socket at once; every task that uses it fails."""
        self.event_shutting_down.set()
        socket = _socket_of(self.secured_conn)
        if socket is not None:
            socket.close()

    async def close(self, error_code: int = yamux.GO_AWAY_NORMAL) -> None:
        """Say goodbye if the peer listens, and close either way (C3)."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._abort_later)
            await super().close(error_code)
            nursery.cancel_scope.cancel()

    async def _abort_later(self) -> None:
        await trio.sleep(CLOSE_S)
        self.abort()


class SafeMuxer(MuxerMultistream):  # type: ignore[misc] # the library is untyped
    """Makes every connection a `SafeYamux`; the library names its own class."""

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
    """A1, H1, N3, S2, Y2: the connections, each on its own."""

    def _init_connection_management(self) -> None:
        super()._init_connection_management()
        self.auto_connector = _NoAutoConnector()
        self._handshakes: Counter[str] = Counter()

    def set_stream_handler(self, stream_handler: Any) -> None:
        """Serve incoming streams; one that fails is reset and hurts no other."""

        async def guarded(stream: Any) -> None:
            if len(stream.muxed_conn.streams) > STREAMS_PER_CONNECTION_MAX:
                _log.info("%s opens too many streams", stream.muxed_conn.peer_id)
                stream.muxed_conn.abort()
                return
            try:
                await stream_handler(stream)
            except Exception as error:  # noqa: BLE001 - H1: it would stop the host
                _log.debug("a stream failed: %r", error)
                with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_S):
                    await stream.reset()

        super().set_stream_handler(guarded)

    async def _handle_inbound_connection(self, channel: Any, maddr: Any) -> None:
        remote = channel.get_remote_address()
        address = remote[0] if remote else ""
        if not self._may_shake_hands(address):
            await channel.close()
            return
        self._handshakes[address] += 1
        muxed = None
        try:
            with trio.move_on_after(HANDSHAKE_S):
                raw = RawConnection(channel, initiator=False)
                muxed = await self.upgrade_inbound_raw_conn(raw, maddr)
        except Exception as error:  # noqa: BLE001 - anything may come from a stranger
            _log.debug("an incoming connection from %s failed: %r", address, error)
        finally:
            self._handshakes -= Counter((address,))
        # The socket is closed when this returns; the library waits for the end of
        # the whole host here, and so keeps the place of every connection there was.
        if muxed is not None:
            await muxed.event_closed.wait()

    def _may_shake_hands(self, address: str) -> bool:
        return (
            self._handshakes[address] < HANDSHAKES_PER_ADDRESS_MAX
            and self._handshakes.total() < HANDSHAKES_MAX
        )

    async def add_conn(self, muxed_conn: Any, direction: str = "unknown") -> Any:
        """Take a connection in, unless its peer has enough of them already."""
        if len(self.get_connections(muxed_conn.peer_id)) >= CONNECTIONS_PER_PEER_MAX:
            await muxed_conn.close()
            raise SwarmException("the peer has as many connections as it may")
        return await super().add_conn(muxed_conn, direction)


class SafeHost(BasicHost):  # type: ignore[misc] # the library is untyped
    """A1: answers identify and asks nobody; what peers claim is of no use here."""

    def _schedule_identify(self, peer_id: Any, *, reason: str) -> None: ...


class NetStream:
    """A library stream as a `stream.ByteStream`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def read(self, bytes_max: int) -> bytes:
        """Return some bytes; none at the peer's proper end."""
        try:
            return bytes(await self._inner.read(bytes_max))
        except Exception as error:
            muxed = self._inner.muxed_stream
            left: bytes = getattr(muxed, "left", b"")
            if left:
                muxed.left = left[bytes_max:]
                return left[:bytes_max]
            if _ended_properly(muxed, error):
                return b""
            raise StreamBroken(root_cause(error)) from error

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        try:
            await self._inner.write(data)
        except Exception as error:
            raise StreamBroken(root_cause(error)) from error

    async def finish(self) -> None:
        """End our direction."""
        try:
            await self._inner.close_write()
        except Exception as error:
            raise StreamBroken(root_cause(error)) from error

    async def reset(self) -> None:
        """Drop both directions."""
        await self._inner.reset()


def _ended_properly(muxed: Any, error: Exception) -> bool:
    """Tell the peer's end from a reset and a lost connection (Y3): all read alike."""
    lost = muxed.muxed_conn.event_shutting_down.is_set()
    at_end = isinstance(error, EOFError) and not lost and not muxed.reset_received
    return bool(getattr(muxed, "ended", at_end))


def make_host(seed: bytes, connections_max: int) -> BasicHost:
    """Make a host that speaks noise and yamux over TCP, and nothing else (X1)."""
    keys = create_new_key_pair(seed)
    noise = NoiseTransport(keys, noise_privkey=create_noise_key().private_key)
    upgrader = TransportUpgrader({NOISE: noise}, {})
    upgrader.muxer_multistream = SafeMuxer({YAMUX: SafeYamux})
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
    return str(seen) or type(seen).__name__


def _socket_of(secured_conn: Any) -> Any:
    """Return the socket under the layers of a connection, or None."""
    layer = secured_conn
    for name in ("conn", "read_writer", "read_write_closer", "stream", "stream"):
        layer = getattr(layer, name, None)
    return getattr(layer, "socket", None)
