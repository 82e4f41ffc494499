"""What we say to a container engine: Docker's HTTP API over a Unix socket.

Rule: an engine's answer is read within bounds, and an answer that is not the expected
one is an `EngineError` with the engine's own words. Nothing is ever pulled from a
registry. Source: Docker Engine API 1.41, which podman speaks too.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

import httpx

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

Document = dict[str, Any]
Pieces = AsyncGenerator[bytes, None]


class EngineApi:
    """An open connection to one engine; `open_api` makes it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def info(self) -> Document:
        """Return what the engine says about itself."""
        return await self._json("GET", "/info")

    async def is_podman(self) -> bool:
        """Tell whether it is podman, which reads some options in a way of its own."""
        version = await self._json("GET", "/version")
        parts = version.get("Components") or ()
        return any("podman" in str(part.get("Name")).lower() for part in parts)

    async def image_id(self, name: str) -> str | None:
        """Return the id of an image that the engine has; None if it has none."""
        answer = await self._client.get(f"/images/{quote(name, safe='')}/json")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return str(_checked(answer).json()["Id"])

    async def import_root(self, tar: AsyncIterator[bytes], tag: str) -> None:
        """Make an image of a root file system, named ``localhost/nunet-node:tag``."""
        answer = await self._json(
            "POST", "/images/create", params={"fromSrc": "-"}, content=tar
        )
        image = str(answer.get("status", "")).removeprefix("sha256:")
        if not image.isalnum():
            raise EngineError(f"the image was not taken: {str(answer)[:200]}")
        where = {"repo": "localhost/nunet-node", "tag": tag}
        await self._send("POST", f"/images/{image}/tag", params=where)

    async def create(self, document: Document) -> str:
        """Make a container, and return its id."""
        made = await self._json("POST", "/containers/create", json=document)
        return str(made["Id"])

    async def start(self, container: str) -> None:
        """Start it."""
        await self._send("POST", f"/containers/{container}/start")

    async def inspect(self, container: str) -> Document:
        """Return what the engine says of it."""
        return await self._json("GET", f"/containers/{container}/json")

    async def wait(self, container: str) -> int:
        """Return its exit code once it has ended, however long that takes."""
        answer = await self._client.post(f"/containers/{container}/wait", timeout=None)
        return int(_checked(answer).json()["StatusCode"])

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
        filters = f'{{"label":["{label}"]}}'
        found = await self._client.get(
            "/containers/json", params={"all": "true", "filters": filters}
        )
        return [str(each["Id"]) for each in _checked(found).json()]

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

    async def _json(self, method: str, url: str, **more: Any) -> Document:
        answer = await self._client.request(method, url, **more)
        # An import answers with one document a line; the last one says how it went.
        text = _checked(answer).text.strip().rpartition("\n")[2]
        found = httpx.Response(200, text=text).json()
        if not isinstance(found, dict):
            raise EngineError("the engine did not answer with a document")
        return found

    async def _send(self, method: str, url: str, **more: Any) -> None:
        _checked(await self._client.request(method, url, **more))


@asynccontextmanager
async def open_api(socket: Path) -> AsyncIterator[EngineApi]:
    """Speak to the engine behind ``socket``.

    Raises:
        EngineError: it refused something, or is not there.
    """
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
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


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code >= _OK:
        try:
            said = str(answer.json()["message"])
        except (ValueError, KeyError, TypeError):
            said = answer.text
        raise EngineError(f"the container engine: {said[:MESSAGE_CHARS_MAX]}")
    return answer
