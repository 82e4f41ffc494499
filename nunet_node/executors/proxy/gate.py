"""The way out of one job's sandbox: a proxy for this job alone, as long as it runs.

The sandbox keeps its empty network. Before the job begins, the child that becomes its
sandbox listens on that network's own loopback and hands the listening socket to the
node; so what the job connects to is served by this node, and there is no other way.
Rule: nothing the job says makes the node fail, and nothing is reached that the job's
owner did not name, the provider does not lend, or that is not on the public Internet.
"""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import h11
import trio

from nunet_node.domains import rule_for
from nunet_node.errors import PeerError
from nunet_node.executors.proxy.carry import Line, Talk
from nunet_node.executors.proxy.outside import Outside, internet, why_not_dialled
from nunet_node.executors.proxy.request import (
    Refused,
    Wanted,
    wanted_by,
    why_not_allowed,
)
from nunet_node.executors.proxy.traffic import PIECE_BYTES_MAX, Traffic
from nunet_node.quantities import Reached

CONNECTIONS_MAX: Final = 16
"""Connections of one job at once; browsers have six to a host, and each takes two of
the node's open files."""
ACCEPT_PAUSE_S: Final = 0.01
"""Pause between connections, so that a job that opens thousands costs the node a
hundredth of its time."""
HEAD_S: Final = 10
"""Longest time for a request to say what it wants."""
CONNECT_S: Final = 15
"""Longest time to look a name up and to connect to it."""
ADDRESSES_MAX: Final = 4
"""Addresses of one name that are tried."""
LINGER_S: Final = 1
"""Longest time for a job to read its answer and close."""
_WORD_BYTES: Final = 16

_log = logging.getLogger("nunet_node.executors.proxy")

_Broken = (
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    h11.ProtocolError,
)


@dataclass(slots=True, kw_only=True, eq=False)
class Gate:
    """What one job may reach, and what it has."""

    asked: tuple[str, ...]
    lent: tuple[str, ...]
    outside: Outside
    traffic: Traffic = field(default_factory=Traffic)
    door: int = -1
    """Descriptor through which the sandbox hands over its listening socket."""

    def reached(self) -> tuple[Reached, ...]:
        """Return what was carried, in the order of the job's rules."""
        lines = self.traffic.by_rule
        return tuple(
            Reached(
                domain=rule,
                connections=lines[rule].connections,
                sent_bytes=lines[rule].sent_bytes,
                received_bytes=lines[rule].received_bytes,
            )
            for rule in self.asked
            if rule in lines
        )

    async def serve(self, handed: socket.socket) -> None:
        """Serve the job from when its sandbox listens; never returns before that."""
        listener = await _listener(handed)
        if listener is None:
            return
        places = trio.Semaphore(CONNECTIONS_MAX)
        with listener:
            async with trio.open_nursery() as serving:
                while True:
                    await places.acquire()
                    connection, _ = await listener.accept()
                    serving.start_soon(self._served, connection, places)
                    await trio.sleep(ACCEPT_PAUSE_S)

    async def _served(
        self, connection: trio.socket.SocketType, places: trio.Semaphore
    ) -> None:
        try:
            async with trio.SocketStream(connection) as stream:
                await self._answer(Talk.with_job(stream))
                await _linger(stream)
        except* _Broken:
            pass  # Either end broke off, or spoke no HTTP any more.
        except* PeerError as group:
            _log.info("a job's connection ended: %s", group.exceptions[0])
        except* Exception:  # noqa: BLE001 - shown in the log
            # A job that finds a bug of ours must not end the node.
            _log.exception("a job's connection met a bug")
        finally:
            places.release()

    async def _answer(self, job: Talk) -> None:
        try:
            with trio.fail_after(HEAD_S):
                request = await job.hear()
        except trio.TooSlowError:
            await job.refuse(Refused(status=408, why=f"no request within {HEAD_S} s"))
            return
        except h11.RemoteProtocolError as error:
            await job.refuse(Refused(status=400, why=str(error)))
            return
        if not isinstance(request, h11.Request):
            return
        wanted = wanted_by(request)
        if isinstance(wanted, Refused):
            await job.refuse(wanted)
        elif (refused := await self._reach(job, request, wanted)) is not None:
            await job.refuse(refused)

    async def _reach(
        self, job: Talk, request: h11.Request, wanted: Wanted
    ) -> Refused | None:
        """Serve the request, or return why not."""
        rule = rule_for(wanted.name, self.asked)
        why = why_not_allowed(wanted.name, self.asked, self.lent)
        why = why or self.traffic.why_spent()
        if why or rule is None:
            return Refused(status=403, why=why)
        try:
            with trio.fail_after(CONNECT_S):
                server = await self._dialled(wanted)
        except trio.TooSlowError:
            return Refused(status=504, why=f"no answer of {wanted.name}")
        except OSError as error:
            return Refused(status=502, why=f"{wanted.name} is not reached: {error}")
        if isinstance(server, Refused):
            return server
        line = self.traffic.opened(rule)
        async with server:
            out = Line(server=server, traffic=self.traffic, carried=line)
            if wanted.path:
                await out.exchange(job, request, wanted)
            else:
                await out.tunnel(job)
        return None

    async def _dialled(self, wanted: Wanted) -> trio.SocketStream | Refused:
        """Look the name up once, judge all its addresses, and dial one of them."""
        addresses = await self.outside.addresses(wanted.name, wanted.port)
        failed = OSError("it has no address")
        reachable = []
        for address in addresses[:ADDRESSES_MAX]:
            try:
                source = self.outside.source(address, wanted.port)
            except OSError as error:
                failed, source = error, "0.0.0.0"  # noqa: S104 - no address of ours
            else:
                reachable.append(address)
            if why := why_not_dialled(address, source):
                return Refused(status=403, why=f"{wanted.name}: {why}")
        for address in reachable:
            try:
                return await self.outside.dial(address, wanted.port)
            except OSError as error:
                failed = error
        raise failed


@asynccontextmanager
async def opened_gate(
    asked: tuple[str, ...], lent: tuple[str, ...], outside: Outside | None = None
) -> AsyncIterator[Gate]:
    """Keep a gate for one job; what it carries ends with the context."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gate = Gate(
        asked=asked, lent=lent, outside=outside or internet(), door=theirs.fileno()
    )
    with ours, theirs:
        async with trio.open_nursery() as serving:
            serving.start_soon(gate.serve, ours)
            yield gate
            serving.cancel_scope.cancel()


async def _linger(stream: trio.SocketStream) -> None:
    """Let the job read its answer: an end with bytes unread would take it back."""
    await stream.send_eof()
    with trio.move_on_after(LINGER_S):
        while await stream.receive_some(PIECE_BYTES_MAX):
            pass


async def _listener(handed: socket.socket) -> trio.socket.SocketType | None:
    """Return the socket that the sandbox listens on; it is ours to close."""
    handed.setblocking(False)
    await trio.lowlevel.wait_readable(handed.fileno())
    try:
        _, descriptors, _, _ = socket.recv_fds(handed, _WORD_BYTES, 1)
    except OSError:
        return None
    if not descriptors:
        return None
    return trio.socket.from_stdlib_socket(socket.socket(fileno=descriptors[0]))
