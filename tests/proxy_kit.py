"""A gate without its sandbox, and an Internet of our own behind it."""

import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import trio

from nunet_node.domains import ANY
from nunet_node.executors.proxy.gate import Gate, opened_gate
from nunet_node.executors.proxy.outside import why_not_dialled
from nunet_node.executors.proxy.traffic import Traffic

PUBLIC = "1.1.1.1"
"""An address that may be dialled; the stand-in leads it to a server of ours."""
BODY = b"what was asked for\n"
NAMES = {"pypi.example": (PUBLIC,), "a.data.example": (PUBLIC,)}


@dataclass(slots=True, kw_only=True)
class World:
    """A stand-in for the Internet, and what was asked of it."""

    names: dict[str, Sequence[str]] = field(default_factory=lambda: dict(NAMES))
    own: str = "192.0.2.1"
    port: int = 0
    looked_up: list[str] = field(default_factory=list)
    dialled: list[tuple[str, int]] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    """What each connection of the server brought."""
    answers: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    echoes: bool = False
    """Whether the server gives back what it gets, as one of TLS never would."""
    came: trio.Event = field(default_factory=trio.Event)
    """Set when bytes have come to the server."""
    gone: trio.Event = field(default_factory=trio.Event)
    """Set when a connection of the server has ended."""

    async def addresses(self, name: str, _port: int) -> Sequence[str]:
        self.looked_up.append(name)
        if name not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self.names[name]

    def source(self, _address: str, _port: int) -> str:
        return self.own

    async def dial(self, address: str, port: int) -> trio.SocketStream:
        assert not why_not_dialled(address, self.own)
        self.dialled.append((address, port))
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def serve(self, stream: trio.SocketStream) -> None:
        place = len(self.heard)
        self.heard.append(b"")
        with contextlib.suppress(trio.BrokenResourceError):
            async for piece in stream:
                self.heard[place] += bytes(piece)
                self.came.set()
                if self.echoes:
                    await stream.send_all(piece)
                elif _is_whole(self.heard[place]):
                    await stream.send_all(self.answers)
                    await stream.send_eof()
        self.gone.set()


def _is_whole(heard: bytes) -> bool:
    head, end, body = heard.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0].strip()
    return bool(end) and len(body) >= int(length or 0)


@contextlib.asynccontextmanager
async def a_world(**given: object) -> AsyncIterator[World]:
    """An Internet whose one server listens on this machine."""
    world = World(**given)  # type: ignore[arg-type]
    async with trio.open_nursery() as serving:
        listeners = await serving.start(
            partial(trio.serve_tcp, world.serve, 0, host="127.0.0.1")
        )
        world.port = listeners[0].socket.getsockname()[1]
        yield world
        serving.cancel_scope.cancel()


@dataclass(slots=True, kw_only=True)
class Guest:
    """What a job can do to its proxy."""

    gate: Gate
    port: int

    async def dial(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def ask(self, *words: bytes) -> bytes:
        """Say these words, and return all that comes back."""
        return await told(await self.dial(), *words)

    async def get(self, uri: str, *headers: str) -> bytes:
        """Ask for a page; a Host header is made unless one is given."""
        host = uri.removeprefix("http://").partition("/")[0]
        lines = headers or (f"Host: {host}",)
        return await self.ask(request(f"GET {uri} HTTP/1.1", *lines))


def request(*lines: str) -> bytes:
    """Return the head of a request."""
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


async def told(stream: trio.SocketStream, *words: bytes) -> bytes:
    """Say words and return all that comes back before the end."""
    answer = b""
    async with stream:
        with contextlib.suppress(trio.BrokenResourceError):
            for word in words:
                await stream.send_all(word)
        with contextlib.suppress(trio.BrokenResourceError):
            async for piece in stream:
                answer += bytes(piece)
    return answer


@contextlib.asynccontextmanager
async def a_gate(
    world: World,
    *,
    asked: tuple[str, ...] = ("pypi.example", "*.data.example"),
    lent: tuple[str, ...] = (ANY,),
    traffic: Traffic | None = None,
) -> AsyncIterator[Guest]:
    """A gate whose listening socket is handed over as a sandbox does."""
    async with opened_gate(asked, lent, world) as gate:
        if traffic is not None:
            gate.traffic = traffic
        with (
            socket.create_server(("127.0.0.1", 0), backlog=64) as listener,
            socket.socket(fileno=socket.dup(gate.door)) as door,
        ):
            socket.send_fds(door, [b"listening"], [listener.fileno()])
            port = listener.getsockname()[1]
        yield Guest(gate=gate, port=port)
