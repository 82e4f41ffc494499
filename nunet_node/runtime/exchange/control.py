"""Sessions: the streams of `/nunet/control/1`, as the node numbers them.

Rule: one task reads a session and one writes it; a frame is opened (verified) before
it becomes an input. A peer that talks faster than it may is slowed down, never
answered late to others; one that does not read what it is sent loses its session.
The node numbers the sessions that it opens, this module those that peers open, and
the two never meet.
"""

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.identity.did import NO_DOCUMENTS, Documents
from nunet_node.network.port import Host, NetworkError
from nunet_node.network.stream import Stream
from nunet_node.protocol.effects import CloseSession, OpenSession, Send
from nunet_node.protocol.inputs import (
    FrameReceived,
    FrameRejected,
    Input,
    SessionClosed,
    SessionFailed,
    SessionId,
    SessionOpened,
)
from nunet_node.protocol.messages import CONTROL_PROTOCOL

INBOUND_FIRST: Final = 2
"""Sessions that peers open have even numbers; the node gives its own odd ones."""

_STEP: Final = 2

SESSIONS_PER_PEER_MAX: Final = 16
"""Sessions that one peer may have open with us: a command needs one, and several
commands of one user may run at a time."""

SESSIONS_MAX: Final = 2048
"""Sessions in all; each costs two tasks and a few kilobytes."""

OUTBOX_FRAMES_MAX: Final = 256
"""Frames waiting for a slow peer. A backlog of notices fits; a peer that lets more
pile up does not read, and has its session reset."""

FRAMES_PER_S_MAX: Final = 500
"""Frames a second from one session, for ever: twice what a submitting peer with
eight jobs in flight sends."""

FRAMES_BURST_MAX: Final = 200
"""Frames that a session may send at once."""

STATEMENT_BYTES: Final = 2048
"""A frame counts once more for each of these: it may hold that many more statements,
and each signature takes as long to verify as a small frame to handle."""

WORK_NS_PER_S: Final = 500_000_000
"""Processor time a second that reading the frames of one peer may take, over all its
sessions: a chain of delegations, or a page of revocations, holds many signatures. A
submitting peer that has a hundred jobs done in a second needs less."""

WORK_NS_AT_ONCE: Final = 250_000_000
"""Processor time that one peer may have at once: two pages of revocations."""

PEERS_METERED_MAX: Final = 1024
"""Peers whose work is remembered, sessions or not: thrice as many as are connected."""

FIRST_FRAME_S: Final = 30
"""How long a peer that opened a session may say nothing."""

FLUSH_S: Final = 5
"""How long the last frames of a session may take; the transport gives up then."""

Opener = Callable[[SessionId, bytes, Documents], FrameReceived | FrameRejected]
"""Verifies one frame; raises `PeerError` for what is none."""

Finder = Callable[[str, bytes], Awaitable[Documents] | None]
"""Returns what brings the documents that a peer's frame needs; None for most."""

Post = Callable[[Input], Awaitable[None]]

Router = Callable[[str, tuple[str, ...]], Awaitable[tuple[str, ...]]]
"""Returns where a peer should be dialled, given where it was."""

_log = logging.getLogger("nunet_node.runtime.control")


@dataclass(slots=True, eq=False)
class _Session:
    number: SessionId
    stream: Stream
    outbox: trio.MemorySendChannel[bytes]
    pending: trio.MemoryReceiveChannel[bytes]
    scope: trio.CancelScope


class Sessions:
    """Every session of a process; each lives in two tasks of the given nursery."""

    def __init__(
        self,
        host: Host,
        post: Post,
        opener: Opener,
        router: Router,
        tasks: trio.Nursery,
        finder: Finder = lambda _peer_id, _data: None,
    ) -> None:
        self._host = host
        self._post = post
        self._opener = opener
        self._finder = finder
        self._router = router
        self._live: dict[SessionId, _Session] = {}
        self._dialling: set[SessionId] = set()
        self._of_peer: Counter[str] = Counter()
        self._work_of_peer: OrderedDict[str, _Work] = OrderedDict()
        self._next = INBOUND_FIRST
        self._tasks = tasks

    def serve(self) -> None:
        """Let peers open sessions with us."""
        self._host.serve(CONTROL_PROTOCOL, self._serve)

    def open(self, effect: OpenSession) -> None:
        """Begin to reach a peer."""
        self._dialling.add(effect.session)
        self._tasks.start_soon(self._dial, effect)

    def send(self, effect: Send) -> None:
        """Put a frame on its way; one for a session that is gone goes nowhere."""
        session = self._live.get(effect.session)
        if session is None:
            return
        try:
            session.outbox.send_nowait(effect.data)
        except trio.WouldBlock:
            if not session.scope.cancel_called:
                _log.warning("%s does not read; session reset", session.stream.peer_id)
                session.scope.cancel()
                # A frame under way is not cancelled, but ends with its stream.
                self._tasks.start_soon(session.stream.reset)
        except trio.ClosedResourceError:
            _log.debug("a frame after the end of session %d", effect.session)

    def peer_of(self, session: SessionId) -> str:
        """Return the peer at the other end; empty once the session is gone."""
        live = self._live.get(session)
        return live.stream.peer_id if live is not None else ""

    def close(self, effect: CloseSession) -> None:
        """Send what is waiting, then end the session."""
        self._dialling.discard(effect.session)
        session = self._live.get(effect.session)
        if session is not None:
            session.outbox.close()

    async def _dial(self, effect: OpenSession) -> None:
        try:
            stream = await self._reach(effect)
        except PeerError as error:
            self._dialling.discard(effect.session)
            await self._post(
                SessionFailed(
                    session=effect.session, peer_id=effect.peer_id, reason=str(error)
                )
            )
            return
        if effect.session not in self._dialling:
            await stream.reset()
            await self._post(SessionClosed(session=effect.session))
            return
        self._dialling.discard(effect.session)
        await self._converse(effect.session, stream, ours=True)

    async def _reach(self, effect: OpenSession) -> Stream:
        if effect.peer_id not in self._host.connected_peers():
            await self._connect(effect)
        return await self._host.open_stream(effect.peer_id, CONTROL_PROTOCOL)

    async def _connect(self, effect: OpenSession) -> None:
        addresses = await self._router(effect.peer_id, effect.addresses)
        if effect.peer_id in self._host.connected_peers():
            return
        if not addresses:
            raise NetworkError(f"no address of {effect.peer_id} is known")
        reached = await self._host.connect(addresses)
        if reached != effect.peer_id:
            raise NetworkError(f"found {reached} in the place of {effect.peer_id}")

    async def _serve(self, stream: Stream) -> None:
        crowded = self._of_peer[stream.peer_id] >= SESSIONS_PER_PEER_MAX
        if crowded or len(self._live) >= SESSIONS_MAX:
            await stream.reset()
            return
        number, self._next = self._next, self._next + _STEP
        self._of_peer[stream.peer_id] += 1
        try:
            await self._converse(number, stream, ours=False)
        finally:
            self._of_peer[stream.peer_id] -= 1
            if not self._of_peer[stream.peer_id]:
                del self._of_peer[stream.peer_id]

    async def _converse(self, number: SessionId, stream: Stream, *, ours: bool) -> None:
        outbox, pending = trio.open_memory_channel[bytes](OUTBOX_FRAMES_MAX)
        scope = trio.CancelScope()
        session = _Session(number, stream, outbox, pending, scope)
        self._live[number] = session
        opened = SessionOpened(session=number, peer_id=stream.peer_id, ours=ours)
        try:
            await self._post(opened)
            with scope:
                await self._exchange(session, ours=ours)
        finally:
            del self._live[number]
            if scope.cancelled_caught:
                await stream.reset()
            await self._post(SessionClosed(session=number))

    async def _exchange(self, session: _Session, *, ours: bool) -> None:
        """Read and write until one side ends; what is waiting still goes out."""
        reading = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, session, reading)
            with reading:
                await self._read(session, ours=ours)
            session.outbox.close()
            # The writer goes on until all is sent, for as long as it may take.
            session.scope.deadline = trio.current_time() + FLUSH_S

    async def _write(self, session: _Session, reading: trio.CancelScope) -> None:
        try:
            async with session.pending:
                async for data in session.pending:
                    await session.stream.send(data)
            await session.stream.finish()
        except PeerError as error:
            _log.info("session with %s broke: %s", session.stream.peer_id, error)
            session.scope.cancel()
        reading.cancel()

    async def _read(self, session: _Session, *, ours: bool) -> None:
        budget = _Budget()
        try:
            with trio.move_on_after(
                float("inf") if ours else FIRST_FRAME_S
            ) as patience:
                while (data := await session.stream.receive()) is not None:
                    patience.deadline = float("inf")
                    await budget.spend(len(data))
                    await self._post(await self._opened(session, data))
        except PeerError as error:
            _log.info("session with %s ended: %s", session.stream.peer_id, error)
            session.scope.cancel()
        except Exception:  # noqa: BLE001 - shown in the log
            # A frame that finds a bug of ours ends its own session only.
            _log.exception("session with %s met a bug", session.stream.peer_id)
            session.scope.cancel()

    async def _opened(
        self, session: _Session, data: bytes
    ) -> FrameReceived | FrameRejected:
        work = self._work_of(session.stream.peer_id)
        began_ns = time.thread_time_ns()
        finding = self._finder(session.stream.peer_id, data)
        spent_ns = time.thread_time_ns() - began_ns
        documents = NO_DOCUMENTS if finding is None else await finding
        began_ns = time.thread_time_ns()
        try:
            return self._opener(session.number, data, documents)
        finally:
            await work.spend(spent_ns + time.thread_time_ns() - began_ns)

    def _work_of(self, peer_id: str) -> "_Work":
        work = self._work_of_peer.setdefault(peer_id, _Work())
        self._work_of_peer.move_to_end(peer_id)
        if len(self._work_of_peer) > PEERS_METERED_MAX:
            self._work_of_peer.popitem(last=False)
        return work


class _Work:
    """Spreads the work that one peer makes over time."""

    def __init__(self) -> None:
        self._left_ns = WORK_NS_AT_ONCE
        self._at_s = trio.current_time()

    async def spend(self, work_ns: int) -> None:
        """Wait until as much work is due; others go on meanwhile."""
        now_s = trio.current_time()
        gained_ns = int((now_s - self._at_s) * WORK_NS_PER_S)
        self._left_ns = min(WORK_NS_AT_ONCE, self._left_ns + gained_ns) - work_ns
        self._at_s = now_s
        if self._left_ns < 0:
            await trio.sleep(-self._left_ns / WORK_NS_PER_S)


class _Budget:
    """Spreads what comes too fast over time."""

    def __init__(self) -> None:
        self._tokens = float(FRAMES_BURST_MAX)
        self._at_s = trio.current_time()

    async def spend(self, size_bytes: int) -> None:
        """Wait until one more frame is due; far less than the transport's patience."""
        cost = 1 + size_bytes // STATEMENT_BYTES
        now_s = trio.current_time()
        gained = (now_s - self._at_s) * FRAMES_PER_S_MAX
        self._tokens = min(float(FRAMES_BURST_MAX), self._tokens + gained) - cost
        self._at_s = now_s
        if self._tokens < 0:
            await trio.sleep(-self._tokens / FRAMES_PER_S_MAX)
