"""Carrying bytes between a job and a server: a tunnel, or one request and its answer.

Rule: one connection of the job carries one request, so that what follows it can never
be taken for another. A tunnel is not looked into. Both end when either side has been
silent for `IDLE_S`, and neither side waits for more than one piece. Source: RFC 9112;
the messages are read and written by h11, never by hand.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import h11
import trio

from nunet_node.executors.proxy.request import (
    HEADER_BYTES_MAX,
    Refused,
    Wanted,
    answered_onward,
    asked_onward,
)
from nunet_node.executors.proxy.traffic import PIECE_BYTES_MAX, Carried, Traffic

IDLE_S: Final = 60
"""Longest silence of a connection; servers give up as soon."""

Count = Callable[[int], Awaitable[None]]


@dataclass(slots=True, kw_only=True, eq=False)
class Talk:
    """One side's messages: the proxy is a server to the job, a client to the server."""

    stream: trio.SocketStream
    http: h11.Connection

    @classmethod
    def with_job(cls, stream: trio.SocketStream) -> "Talk":
        """Return the side of the job."""
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES_MAX)
        return cls(stream=stream, http=http)

    @classmethod
    def with_server(cls, stream: trio.SocketStream) -> "Talk":
        """Return the side of a server."""
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_BYTES_MAX)
        return cls(stream=stream, http=http)

    async def say(self, *events: h11.Event) -> None:
        """Send messages, or parts of one."""
        data = b"".join(self.http.send(event) or b"" for event in events)
        if data:
            await self.stream.send_all(data)

    async def hear(self) -> h11.Event:
        """Return the next message, or part of one.

        Raises:
            h11.RemoteProtocolError: it is none.
        """
        while True:
            event = self.http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                raise h11.RemoteProtocolError("it says more than one message")
            if self.http.they_are_waiting_for_100_continue:
                await self.say(h11.InformationalResponse(status_code=100, headers=[]))
            self.http.receive_data(await self.stream.receive_some(PIECE_BYTES_MAX))

    async def refuse(self, refused: Refused) -> None:
        """Send an answer of our own, if the job has not had one."""
        if self.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head, body = refused.answer()
            await self.say(head, h11.Data(data=body), h11.EndOfMessage())


@dataclass(slots=True, kw_only=True, eq=False)
class Line:
    """A connection to a server, whose bytes are counted."""

    server: trio.SocketStream
    traffic: Traffic
    carried: Carried
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def exchange(self, job: Talk, request: h11.Request, wanted: Wanted) -> None:
        """Pass one request on, and its answer back.

        Raises:
            SpentError, h11.ProtocolError, trio.BrokenResourceError: it ends there.
        """
        server = Talk.with_server(self.server)
        with self.scope:
            self._heard()
            await self._passed_out(server, asked_onward(request, wanted))
            async with trio.open_nursery() as both:
                both.start_soon(self._upload, job, server)
                await self._download(job, server)
                both.cancel_scope.cancel()

    async def tunnel(self, job: Talk) -> None:
        """Pass bytes both ways until both sides have ended.

        Raises:
            SpentError, trio.BrokenResourceError: it ends there.
        """
        await job.say(h11.Response(status_code=200, headers=[], reason=b"connected"))
        early, _ = job.http.trailing_data
        with self.scope:
            self._heard()
            if early:
                await self._went(len(early))
                await self.server.send_all(early)
            async with trio.open_nursery() as both:
                both.start_soon(_flow, job.stream, self._went, self.server)
                both.start_soon(_flow, self.server, self._came, job.stream)

    async def _upload(self, job: Talk, server: Talk) -> None:
        event = await job.hear()
        while not isinstance(event, h11.EndOfMessage):
            await self._passed_out(server, event)
            event = await job.hear()
        await self._passed_out(server, h11.EndOfMessage())

    async def _passed_out(self, server: Talk, event: h11.Event) -> None:
        data = server.http.send(event) or b""
        await self._went(len(data))
        await server.stream.send_all(data)

    async def _download(self, job: Talk, server: Talk) -> None:
        while True:
            event = server.http.next_event()
            if event is h11.NEED_DATA:
                data = await server.stream.receive_some(PIECE_BYTES_MAX)
                await self._came(len(data))
                server.http.receive_data(data)
            elif isinstance(event, h11.Response):
                await job.say(answered_onward(event))
            elif isinstance(event, h11.Data):
                await job.say(event)
            elif isinstance(event, h11.EndOfMessage):
                await job.say(h11.EndOfMessage())
                return
            elif not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("the server broke off")

    async def _went(self, count: int) -> None:
        self._heard()
        await self.traffic.carried(self.carried, sent=count)

    async def _came(self, count: int) -> None:
        self._heard()
        await self.traffic.carried(self.carried, received=count)

    def _heard(self) -> None:
        self.scope.deadline = trio.current_time() + IDLE_S


async def _flow(
    source: trio.SocketStream, count: Count, target: trio.SocketStream
) -> None:
    """Pass on all that comes, and its end."""
    while piece := await source.receive_some(PIECE_BYTES_MAX):
        await count(len(piece))
        await target.send_all(piece)
    await target.send_eof()
