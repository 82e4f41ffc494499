"""Yamux: many streams on one encrypted connection, each with its own flow control.

Rule: nothing that a peer sends makes us hold more than it was granted, and nothing
that we cancel leaves half a frame behind. Source: the yamux specification of libp2p
(https://github.com/libp2p/specs/tree/master/yamux).

It stands in for the multiplexer of py-libp2p, which keeps none of these promises
(C1, C2, C3, N1, Y1, Y2, Y3, Y4, W2 in `remedies.REMEDIES`). Short frames are queued
without waiting and leave before, or together with, the next data; so opening, ending
and resetting a stream cannot block and cannot be cancelled half-way. A little data is
queued too, and what all tasks say in one turn of the event loop leaves as one message.
"""

import logging
from typing import Any, Final

import trio
from libp2p.abc import IMuxedConn
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamError,
    MuxedStreamReset,
)

from nunet_node.network.libp2p.noise_line import line_of
from nunet_node.network.libp2p.substream import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER,
    PING,
    RST,
    SYN,
    WINDOW_BYTES_MAX,
    WINDOW_UPDATE,
    YamuxStream,
)
from nunet_node.network.liveness import keep_alive

BUFFERED_BYTES_MAX: Final = 16_777_216
"""Unread bytes of one connection over all its streams. Honest peers have a few
streams unread at a time; 64 that nobody reads are an attack, or a fault of ours."""

STREAMS_MAX: Final = 256
"""Open streams of one connection in each direction: further ones are reset (Y2)."""

QUEUED_BYTES_MAX: Final = 262_144
"""Short frames waiting to leave. A peer that asks for ever more answers and reads
none of them reaches this, and the connection ends."""

QUEUED_DATA_BYTES_MAX: Final = 64_000
"""Queue that takes data in without a wait: all of it leaves as one noise message."""

WRITE_STALL_S: Final = 10
"""Longest that one frame may take to leave: a peer that takes nothing in for so long
is as good as gone, and a frame that is half sent can be neither resumed nor dropped."""

CLOSE_S: Final = 1
"""Longest that saying goodbye may take before the socket is simply closed."""

_log = logging.getLogger("nunet_node.network")


class YamuxConnection(IMuxedConn):  # type: ignore[misc] # the library is untyped
    """One connection with a peer that has proved who it is."""

    def __init__(
        self,
        secured_conn: Any,
        peer_id: Any,
        *,
        is_initiator: bool,
    ) -> None:
        self.secured_conn = line_of(secured_conn)
        self.peer_id = peer_id
        self.on_close: Any = None
        self.event_started = trio.Event()
        self.event_shutting_down = trio.Event()
        self.event_closed = trio.Event()
        self.streams: dict[int, YamuxStream] = {}
        self.buffered_bytes = 0
        self._is_initiator = is_initiator
        self._next_id = 1 if is_initiator else 2
        self._arriving, self._arrived = trio.open_memory_channel[YamuxStream](
            STREAMS_MAX
        )
        self._writing = trio.Lock()
        self._patience: trio.CancelScope | None = None
        self._queue = bytearray()
        self._queued = trio.Event()
        self._reads = 0
        self._ping_id = 0
        self._pong = trio.Event()

    async def start(self) -> None:
        """Run the connection until it ends."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_alive, self)
                nursery.start_soon(self._send_queued)
                self.event_started.set()
                await self._read_frames()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._end()

    async def close(self) -> None:
        """C3: say goodbye if the peer listens, and close either way."""
        if not self.event_shutting_down.is_set():
            self.event_shutting_down.set()
            if self._patience is not None:
                self._patience.deadline = trio.current_time() + CLOSE_S
            self.queue_frame(GO_AWAY, 0, 0, 0)
            with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_S):
                await self.write_frame(b"")
        self.abort()
        with trio.CancelScope(shield=True):
            await self._end()

    def abort(self) -> None:
        """Close the socket at once; every task that uses it fails."""
        self.event_shutting_down.set()
        socket = _socket_of(self.secured_conn)
        if socket is not None:
            socket.close()

    async def open_stream(self) -> YamuxStream:
        """Open a stream, without waiting.

        Raises:
            MuxedStreamError: the connection is ending or carries no more streams.
        """
        if self.event_shutting_down.is_set():
            raise MuxedStreamError("the connection is ending")
        if self._count(ours=True) >= STREAMS_MAX:
            raise MuxedStreamError("as many streams are open as a connection carries")
        stream = YamuxStream(self, self._next_id)
        self._next_id += 2
        self.streams[stream.stream_id] = stream
        self.queue_frame(WINDOW_UPDATE, SYN, stream.stream_id, 0)
        return stream

    async def accept_stream(self) -> YamuxStream:
        """Return the next stream that the peer opens.

        Raises:
            MuxedConnUnavailable: the connection has ended.
        """
        try:
            return await self._arrived.receive()
        except trio.EndOfChannel:
            raise MuxedConnUnavailable("the connection has ended") from None

    @property
    def is_initiator(self) -> bool:
        """Tell whether we dialled."""
        return self._is_initiator

    @property
    def is_established(self) -> bool:
        """Tell whether streams can be opened."""
        return self.event_started.is_set() and not self.event_shutting_down.is_set()

    @property
    def is_closed(self) -> bool:
        """Tell whether it is over."""
        return bool(self.event_closed.is_set())

    def get_remote_address(self) -> Any:
        """Return where the peer is."""
        return self.secured_conn.get_remote_address()

    def get_transport_addresses(self) -> Any:
        """Return where the peer is, as multiaddrs."""
        return self.secured_conn.get_transport_addresses()

    def get_connection_type(self) -> Any:
        """Return the library's word for a direct connection."""
        return self.secured_conn.get_connection_type()

    async def ping(self) -> None:
        """Ask for a sign of life and wait for it."""
        self._ping_id = (self._ping_id + 1) % 2**32
        self._pong = trio.Event()
        self.queue_frame(PING, SYN, 0, self._ping_id)
        await self._pong.wait()

    def heard(self) -> int:
        """Return how often the peer has sent something."""
        return self._reads

    async def wait_closing(self) -> None:
        """Return when the connection is going down."""
        await self.event_shutting_down.wait()

    def queue_frame(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        """Let a short frame leave with the next data, or soon without any."""
        self._queue += HEADER.pack(0, kind, flags, stream_id, value)
        if len(self._queue) > QUEUED_BYTES_MAX:
            self.abort()
        self._queued.set()

    def queue_data(self, frame: bytes) -> bool:
        """Let a frame of data leave soon; False if it is to wait its turn."""
        busy = self._writing.locked() or self.event_shutting_down.is_set()
        if busy or len(self._queue) + len(frame) > QUEUED_DATA_BYTES_MAX:
            return False
        self._queue += frame
        self._queued.set()
        return True

    async def write_frame(self, frame: bytes) -> None:
        """C1: send what is queued and then this, whole: cancellation waits for it."""
        try:
            # Waiting for a lock that is free would cost a turn of the event loop.
            self._writing.acquire_nowait()
        except trio.WouldBlock:
            await self._writing.acquire()
        try:
            data = bytes(self._queue) + frame
            self._queue.clear()
            if data:
                await self._send(data)
        except MuxedStreamReset:
            self.abort()
            raise
        except Exception as error:
            self.abort()
            raise MuxedStreamReset("the connection was lost") from error
        finally:
            self._writing.release()

    def forget(self, stream_id: int) -> None:
        """Drop a stream that is over in both directions."""
        self.streams.pop(stream_id, None)

    def _count(self, *, ours: bool) -> int:
        parity = self._next_id % 2
        return sum((stream % 2 == parity) is ours for stream in self.streams)

    async def _read_frames(self) -> None:
        """Take in what the peer sends until it stops, or breaks the rules."""
        buffer = bytearray()
        while not self.event_shutting_down.is_set():
            try:
                data = await self.secured_conn.read()
            except Exception as error:  # noqa: BLE001 - the library raises what it likes
                _log.debug("the connection to %s ended: %r", self.peer_id, error)
                return
            if not data:
                return
            self._reads += 1
            buffer += data
            if not self._take_frames(buffer):
                _log.info("%s broke the rules of yamux", self.peer_id)
                self.abort()

    def _take_frames(self, buffer: bytearray) -> bool:
        """Take in every whole frame; tell False if one is against the rules."""
        start = 0
        while len(buffer) - start >= HEADER.size:
            version, kind, flags, stream_id, value = HEADER.unpack_from(buffer, start)
            size = value if kind == DATA else 0
            if version != 0 or size > WINDOW_BYTES_MAX:
                return False
            stop = start + HEADER.size + size
            if len(buffer) < stop:
                break
            body = bytes(memoryview(buffer)[stop - size : stop])
            if not self._take_frame(kind, flags, stream_id, value, body):
                return False
            start = stop
        del buffer[:start]
        return True

    def _take_frame(
        self, kind: int, flags: int, stream_id: int, value: int, body: bytes
    ) -> bool:
        if kind in (DATA, WINDOW_UPDATE):
            credit = 0 if kind == DATA else value
            return self._take_for_stream(flags, stream_id, credit, body)
        if kind == PING and flags & SYN:
            self.queue_frame(PING, ACK, 0, value)
        elif kind == PING:
            self._pong.set()
        elif kind == GO_AWAY:
            self.event_shutting_down.set()
        return kind <= GO_AWAY

    def _take_for_stream(
        self, flags: int, stream_id: int, credit: int, body: bytes
    ) -> bool:
        if flags & SYN and not self._admit(stream_id):
            return False
        stream = self.streams.get(stream_id)
        if stream is None:
            # Something on its way when we dropped the stream. Only data needs an
            # answer, and that one never to a reset, lest two peers go on for ever.
            if body and not flags & RST:
                self.queue_frame(WINDOW_UPDATE, RST, stream_id, 0)
            return True
        stream.add_credit(credit)
        granted = stream.take_in(body)
        if flags & FIN:
            stream.end()
        if flags & RST:
            # A peer that had ended has said all it wanted to say.
            stream.break_off("the peer reset the stream", keep=stream.ended)
        return granted and self.buffered_bytes <= BUFFERED_BYTES_MAX

    def _admit(self, stream_id: int) -> bool:
        """Y2: take in a stream that the peer opens; tell False if it may not do so."""
        theirs = stream_id != 0 and stream_id % 2 != self._next_id % 2
        if not theirs or stream_id in self.streams:
            return False
        if self._count(ours=False) >= STREAMS_MAX:
            self.queue_frame(WINDOW_UPDATE, RST, stream_id, 0)
            return True
        stream = self.streams[stream_id] = YamuxStream(self, stream_id)
        try:
            self._arriving.send_nowait(stream)
        except trio.WouldBlock:
            # Opened and reset over and over, faster than they can be looked at.
            return False
        self.queue_frame(WINDOW_UPDATE, ACK, stream_id, 0)
        return True

    async def _send(self, data: bytes) -> None:
        rest = self.secured_conn.begin(data)
        if not rest:
            return
        now_s = trio.current_time()
        limit_s = CLOSE_S if self.event_shutting_down.is_set() else WRITE_STALL_S
        # Half a frame would turn everything after it into garbage.
        patience = trio.CancelScope(shield=True, deadline=now_s + limit_s)
        self._patience = patience
        try:
            with patience:
                await self.secured_conn.finish(rest)
        finally:
            self._patience = None
        if patience.cancelled_caught:
            raise MuxedStreamReset("the peer takes nothing in")

    async def _send_queued(self) -> None:
        while True:
            await self._queued.wait()
            self._queued = trio.Event()
            if self._queue:
                try:
                    await self.write_frame(b"")
                except MuxedStreamReset:
                    return

    async def _end(self) -> None:
        if self.event_closed.is_set():
            return
        self.abort()
        self.event_closed.set()
        self._arriving.close()
        for stream in tuple(self.streams.values()):
            # Y4: what has arrived is still to be read.
            stream.break_off("the connection was lost", keep=True)
        if self.on_close is not None:
            await self.on_close()


def _socket_of(secured_conn: Any) -> Any:
    """Return the socket under the layers of a connection, or None."""
    layer = secured_conn
    while layer is not None and not hasattr(layer, "socket"):
        names = ("conn", "read_writer", "read_write_closer", "stream")
        layer = next((getattr(layer, n) for n in names if hasattr(layer, n)), None)
    return getattr(layer, "socket", None)
