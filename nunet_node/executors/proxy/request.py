"""What a job asks its proxy for, read strictly, and the answer when it gets nothing.

Rule: a request names its host once, in one spelling, or it is refused: where two
readers could see two hosts, one of them would be the wrong one. Only two forms are
known: a tunnel to port 443, and an absolute URI on port 80. Source: RFC 9112, section
3.2; RFC 9110, sections 7.6.1 and 9.3.6. The parsing of messages is h11's.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import h11

from nunet_node.domains import is_name, rule_for

TUNNEL_PORT: Final = 443
PLAIN_PORT: Final = 80
HEADER_BYTES_MAX: Final = 16 << 10
"""Longest head of a request or an answer; servers commonly take 8 KiB."""
REASON_CHARS_MAX: Final = 300
"""Longest reason of a refusal; it holds a name and a list of rules, cut off."""

_HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection "
    b"te trailer transfer-encoding upgrade expect host".split()
)
"""Headers that belong to one connection, or are made anew for the next."""
_URI: Final = re.compile(r"http://([^/?#@]*)((?:/|\?)[!-~]*)?", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"([^:]+)(?::([0-9]{1,5}))?")
_BODY_HEADERS: Final = frozenset((b"content-length", b"transfer-encoding"))

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where a request leads; ``path`` is empty of a tunnel."""

    name: str
    port: int
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The status of an answer that is the proxy's own, and why."""

    status: int
    why: str

    def answer(self) -> tuple[h11.Response, bytes]:
        """Return the answer, whose status line says why, as its body does.

        Programs show the one or the other, and of a refused tunnel the line at most.
        """
        why = self.why[:REASON_CHARS_MAX].encode("ascii", "backslashreplace")
        body = b"nunet-node: " + why + b"\n"
        headers = [
            ("Content-Type", "text/plain"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        return h11.Response(status_code=self.status, headers=headers, reason=why), body


def wanted_by(request: h11.Request) -> Wanted | Refused:
    """Return where a request leads, or why it is none that can be served."""
    target = request.target.decode("ascii", "replace")
    tunnel = request.method == b"CONNECT"
    uri = None if tunnel else _URI.fullmatch(target)
    if not tunnel and uri is None:
        return Refused(status=400, why="ask for an absolute http:// URI, or a tunnel")
    authority, path = (target, "") if uri is None else (uri[1], uri[2] or "/")
    default = 0 if tunnel else PLAIN_PORT
    name, port = _place(authority, default)
    hosts = [value for key, value in request.headers if key == b"host"]
    for host in hosts:
        if _place(host.decode("ascii", "replace"), port) != (name, port):
            return Refused(status=400, why="the Host header names another host")
    if _ambiguous_body(request):
        return Refused(status=400, why="the length of the body is said twice")
    if not is_name(name):
        return Refused(status=403, why=f"{name!r} is not the name of a host")
    if port != (TUNNEL_PORT if tunnel else PLAIN_PORT):
        return Refused(
            status=403, why=f"port {port}: tunnels lead to 443, plain HTTP to 80"
        )
    return Wanted(name=name, port=port, path=_slashed(path))


def why_not_allowed(name: str, asked: Iterable[str], lent: Iterable[str]) -> str:
    """Return why a name is not reached; nothing if the job asked and may."""
    if rule_for(name, asked) is None:
        rules = ", ".join(asked)
        return f"{name} is not among the domains of this job: {rules}"
    if rule_for(name, lent) is None:
        return f"{name} is not among the domains that this provider lets jobs reach"
    return ""


def passed_on(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers that are not the connection's own."""
    given = list(headers)
    named = {
        word.strip().lower()
        for key, value in given
        if key == b"connection"
        for word in value.split(b",")
    }
    return [(k, v) for k, v in given if k not in _HOP_BY_HOP and k not in named]


def asked_onward(request: h11.Request, wanted: Wanted) -> h11.Request:
    """Return the request as the server gets it: its own form, one host, one body."""
    headers = [(b"host", wanted.name.encode()), *passed_on(request.headers)]
    if any(key == b"transfer-encoding" for key, _ in request.headers):
        headers.append((b"transfer-encoding", b"chunked"))
    return h11.Request(
        method=request.method,
        target=wanted.path,
        headers=[*headers, (b"connection", b"close")],
    )


def answered_onward(answer: h11.Response) -> h11.Response:
    """Return a server's answer as the job gets it: one for each connection."""
    return h11.Response(
        status_code=answer.status_code,
        headers=[*passed_on(answer.headers), (b"connection", b"close")],
        reason=answer.reason,
    )


def _place(authority: str, port: int) -> tuple[str, int]:
    """Return the name and port of an authority; what is none has no name."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return authority, port
    return found[1].lower(), int(found[2]) if found[2] else port


def _ambiguous_body(request: h11.Request) -> bool:
    said = [key for key, _ in request.headers if key in _BODY_HEADERS]
    return len(set(said)) > 1


def _slashed(path: str) -> str:
    return f"/{path}" if path.startswith("?") else path
