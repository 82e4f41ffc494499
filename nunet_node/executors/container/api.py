"""What we say to a container engine: Docker's HTTP API over a Unix socket.

Rule: an engine's answer is read within bounds, and an answer that is not the expected
one is an `EngineError` with the engine's own words. Nothing is ever pulled from a
registry. Source: Docker Engine API 1.41, which podman speaks too.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote

import httpx
import msgspec

from nunet_node.executors.port import EngineError

ANSWER_S: Final = 120
"""Longest wait for one answer; importing a large image takes tens of seconds."""
MESSAGE_CHARS_MAX: Final = 500
"""Most of an engine's words that a reason repeats."""
FRAME_BYTES_MAX: Final = 1 << 20
"""Largest piece of output; engines send what a pipe holds, 64 KiB."""
_HEAD_BYTES: Final = 8
_STREAMS: Final = {1: "stdout", 2: "stderr"}
_OK: Final = 400

HELLO_S: Final = 10
"""Longest wait for the first answer: an engine that is there has it at once."""

Document = dict[str, Any]
Pieces = AsyncGenerator[bytes, None]
_Answer = TypeVar("_Answer")


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """Something of the engine's, by its id."""

    id: str = msgspec.field(name="Id")


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a container ended."""

    code: int = msgspec.field(name="StatusCode")


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How a container is: its first process here, and whether memory ran out."""

    pid: int = msgspec.field(name="Pid", default=0)
    starved: bool = msgspec.field(name="OOMKilled", default=False)


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A container as the engine made it."""

    state: State = msgspec.field(name="State")
    config: Document = msgspec.field(name="Config")
    host: Document = msgspec.field(name="HostConfig")


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says about itself."""

    security: tuple[str, ...] | None = msgspec.field(
        name="SecurityOptions", default=None
    )

    @property
    def rootless(self) -> bool:
        """Whether it has no rights of its own."""
        return any("rootless" in each for each in self.security or ())


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    name: str = msgspec.field(name="Name", default="")


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    components: tuple[_Part, ...] | None = msgspec.field(
        name="Components", default=None
    )


class _Imported(msgspec.Struct, frozen=True, kw_only=True):
    status: str = ""


class EngineApi:
    """An open connection to one engine; `open_api` makes it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def info(self) -> About:
        """Return what the engine says about itself."""
        return await self._told(About, "GET", "/info")

    async def is_podman(self) -> bool:
        """Tell whether it is podman, which reads some options in a way of its own."""
        version = await self._told(_Version, "GET", "/version")
        return any("podman" in each.name.lower() for each in version.components or ())

    async def image_id(self, name: str) -> str | None:
        """Return the id of an image that the engine has; None if it has none."""
        answer = await self._client.get(f"/images/{quote(name, safe='')}/json")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return _read(Named, answer).id

    async def import_root(self, tar: AsyncIterator[bytes], tag: str) -> None:
        """Make an image of a root file system, named ``localhost/nunet-node:tag``."""
        answer = await self._told(
            _Imported, "POST", "/images/create", params={"fromSrc": "-"}, content=tar
        )
        image = answer.status.removeprefix("sha256:")
        if not image.isalnum():
            raise EngineError(f"the image was not taken: {answer.status[:200]}")
        where = {"repo": "localhost/nunet-node", "tag": tag}
        await self._send("POST", f"/images/{image}/tag", params=where)

    async def create(self, document: Document) -> str:
        """Make a container, and return its id."""
        made = await self._told(Named, "POST", "/containers/create", json=document)
        return made.id

    async def start(self, container: str) -> None:
        """Start it."""
        await self._send("POST", f"/containers/{container}/start")

    async def inspect(self, container: str) -> Made:
        """Return what the engine says of it."""
        return await self._told(Made, "GET", f"/containers/{container}/json")

    async def wait(self, container: str) -> int:
        """Return its exit code once it has ended, however long that takes."""
        url = f"/containers/{container}/wait"
        return (await self._told(Ended, "POST", url, timeout=None)).code

    async def kill(self, container: str) -> None:
        """Kill all of it; one that has ended is left alone."""
        await self._client.post(f"/containers/{container}/kill")

    async def remove(self, container: str) -> None:
        """Kill it if need be, and remove every trace; what is gone is no error."""
        answer = await self._client.delete(
            f"/containers/{container}", params={"force": "true", "v": "true"}
        )
        if answer.status_code != httpx.codes.NOT_FOUND:
            _checked(answer)

    async def labelled(self, label: str) -> list[str]:
        """Return the ids of all containers with this label, living or dead."""
        found = await self._client.get(
            "/containers/json",
            params={"all": "true", "filters": f'{{"label":["{label}"]}}'},
            timeout=HELLO_S,
        )
        return [each.id for each in _read(tuple[Named, ...], found)]

    @asynccontextmanager
    async def output(
        self, container: str
    ) -> AsyncIterator[AsyncIterator[tuple[str, bytes]]]:
        """Open its two streams, before it starts; yields (stream, bytes)."""
        wanted = {"stream": "true", "stdout": "true", "stderr": "true"}
        url = f"/containers/{container}/attach"
        async with self._client.stream(
            "POST", url, params=wanted, timeout=None
        ) as answer:
            if answer.status_code >= _OK:
                await answer.aread()
            _checked(answer)
            async with (
                aclosing(cast("Pieces", answer.aiter_raw())) as pieces,
                aclosing(frames(pieces)) as both,
            ):
                yield both

    async def _told(
        self, kind: type[_Answer], method: str, url: str, **more: Any
    ) -> _Answer:
        return _read(kind, await self._client.request(method, url, **more))

    async def _send(self, method: str, url: str, **more: Any) -> None:
        _checked(await self._client.request(method, url, **more))


@asynccontextmanager
async def open_api(socket: Path) -> AsyncIterator[EngineApi]:
    """Speak to the engine behind ``socket``.

    Raises:
        EngineError: it refused something, or is not there.
    """
    # No TLS on a socket of this machine: loading its authorities takes 0.1 s.
    transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=False)
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://engine/v1.41", timeout=ANSWER_S
        ) as client:
            yield EngineApi(client)
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise EngineError(f"the container engine does not answer: {why}") from None


async def frames(
    pieces: AsyncIterator[bytes],
) -> AsyncGenerator[tuple[str, bytes], None]:
    """Take apart the one stream in which an engine sends two.

    Raises:
        EngineError: it is not that format, or a frame is too large.
    """
    waiting = b""
    async for piece in pieces:
        waiting += piece
        while len(waiting) >= _HEAD_BYTES:
            size = int.from_bytes(waiting[4:_HEAD_BYTES], "big")
            stream = _STREAMS.get(waiting[0])
            if stream is None or size > FRAME_BYTES_MAX:
                raise EngineError("the engine's output is not in frames")
            if len(waiting) < _HEAD_BYTES + size:
                break
            yield stream, waiting[_HEAD_BYTES : _HEAD_BYTES + size]
            waiting = waiting[_HEAD_BYTES + size :]


def _read(kind: type[_Answer], answer: httpx.Response) -> _Answer:
    """Return an answer as what it has to be.

    Raises:
        EngineError: it is a refusal, or nothing of the kind.
    """
    # An import answers with one document a line; the last one says how it went.
    text = _checked(answer).content.strip().rpartition(b"\n")[2]
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EngineError(f"the container engine answers strangely: {error}") from None


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code >= _OK:
        try:
            said = str(answer.json()["message"])
        except (ValueError, KeyError, TypeError):
            said = answer.text
        raise EngineError(f"the container engine: {said[:MESSAGE_CHARS_MAX]}")
    return answer
