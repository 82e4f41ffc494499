"""Fetching the document of a did:web: HTTPS, one host, one file, and little patience.

Rule: only public addresses are dialled, and exactly those that were looked at, so a
name that points inward, or changes its mind between two look-ups, leads nowhere.
Nothing is followed: a redirect is an answer like any other that is not the document.
"""

import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from nunet_node.identity.document import Did, DidDocument
from nunet_node.identity.methods.did_web import Place, place_of, read_web_document
from nunet_node.identity.methods.w3c import DOCUMENT_BYTES_MAX
from nunet_node.network.port import NetworkError

FETCH_S: Final = 5
"""How long everything may take: a name, a dial, a handshake and 64 KiB."""

HEAD_BYTES_MAX: Final = 16 << 10
"""Longest head of an answer, as of most web servers' own limits."""

_CHUNK_BYTES: Final = 16 << 10


class FetchError(NetworkError):
    """The document of a did:web cannot be had."""

    code = "network.fetch"


async def fetch_document(
    did: Did,
    *,
    context: ssl.SSLContext | None = None,
    allow_private: bool = False,
) -> DidDocument:
    """Fetch and read the document of a did:web.

    Args:
        did: whose document.
        context: which certificates to trust; the system's unless given.
        allow_private: dial addresses of this machine and its network too; for tests.

    Raises:
        FetchError: it cannot be had within the limits.
        InvalidDidError: not a did:web, or what lies there is not its document.
        InvalidKeyError: a key in it is not valid.
    """
    place = place_of(did)
    context = context or ssl.create_default_context()
    try:
        with trio.fail_after(FETCH_S):
            data = await _fetch(place, context, allow_private=allow_private)
    except trio.TooSlowError:
        raise FetchError(f"{place.host} did not answer within {FETCH_S} s") from None
    except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
        raise FetchError(f"{place.host} cannot be asked: {error}") from None
    return read_web_document(did, data)


def web_fetch() -> Callable[[Did], Awaitable[DidDocument]]:
    """Return `fetch_document` for a process that fetches many; reads the disk once."""
    return partial(fetch_document, context=ssl.create_default_context())


async def _fetch(
    place: Place, context: ssl.SSLContext, *, allow_private: bool
) -> bytes:
    address = await _address(place, allow_private=allow_private)
    tcp = await trio.open_tcp_stream(address, place.port)
    stream = trio.SSLStream(tcp, context, server_hostname=place.host)
    async with stream:
        port = "" if place.port == ssl_port() else f":{place.port}"
        await stream.send_all(
            f"GET {place.path} HTTP/1.1\r\nHost: {place.host}{port}\r\n"
            "Accept: application/did+json, application/json\r\n"
            "Accept-Encoding: identity\r\nConnection: close\r\n\r\n".encode()
        )
        return await _answer(stream)


def ssl_port() -> int:
    """Return the port of HTTPS."""
    return 443


async def _address(place: Place, *, allow_private: bool) -> str:
    found = await trio.socket.getaddrinfo(
        place.host, place.port, type=trio.socket.SOCK_STREAM
    )
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses:
        raise FetchError(f"{place.host} has no address")
    if not allow_private:
        for text in addresses:
            if not ipaddress.ip_address(text.partition("%")[0]).is_global:
                raise FetchError(f"{place.host} leads to {text}, which is not public")
    return addresses[0]


async def _answer(stream: trio.SSLStream) -> bytes:
    head, body = b"", b""
    while b"\r\n\r\n" not in head:
        more = await _some(stream)
        head += more
        if not more or len(head) > HEAD_BYTES_MAX + _CHUNK_BYTES:
            raise FetchError("the server's answer has no end of its head")
    head, _, body = head.partition(b"\r\n\r\n")
    length = _check_head(head)
    while length is None or len(body) < length:
        more = await _some(stream)
        if not more:
            break
        body += more
        if len(body) > DOCUMENT_BYTES_MAX:
            raise FetchError(f"the document is larger than {DOCUMENT_BYTES_MAX} bytes")
    if length is not None and len(body) != length:
        raise FetchError("the server's answer is cut short, or too long")
    return body


async def _some(stream: trio.SSLStream) -> bytes:
    try:
        return bytes(await stream.receive_some(_CHUNK_BYTES))
    except trio.BrokenResourceError:
        # Many servers end TLS without a word; a cut shows in the length or the JSON.
        return b""


def _check_head(head: bytes) -> int | None:
    """Check the status; return the length that the head states, if it does."""
    lines = head.decode("latin-1").split("\r\n")
    status = lines[0].split(" ")
    if not status[0].startswith("HTTP/1.") or status[1:2] != ["200"]:
        raise FetchError(f"the server answered {lines[0][:80]!r}")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    if "transfer-encoding" in fields:
        raise FetchError("the server sends the document in pieces, which is not read")
    stated = fields.get("content-length")
    if stated is None:
        return None
    if not stated.isdecimal() or int(stated) > DOCUMENT_BYTES_MAX:
        raise FetchError(f"the document is larger than {DOCUMENT_BYTES_MAX} bytes")
    return int(stated)
