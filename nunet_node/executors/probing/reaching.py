"""Whether a process reaches the domains it is given, and nothing else: tried for real.

Rule: a provider lends its address only after a guest in the real sandbox, behind the
real proxy, reached what it may and failed at all the rest. What it reaches is a server
of ours on this machine, which a stand-in for the Internet dials; the names and the
public address that lead there are never looked up or dialled.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import trio

from nunet_node.errors import PeerError
from nunet_node.executors.jobdir import JobDir
from nunet_node.executors.port import RunEnd, RunOrder
from nunet_node.executors.proxy.outside import Outside

ALLOWED: Final = "reached.example"
"""The name that the guest may reach."""
INWARD: Final = "inward.example"
"""One that it may reach too, but that leads to this machine."""
DOMAINS: Final = (ALLOWED, INWARD)
SERVED: Final = b"it was reached"
GUEST_S: Final = 20
"""Longest run of the guest; it takes a tenth of a second."""

_ADDRESSES: Final = {ALLOWED: "1.1.1.1", INWARD: "127.0.0.1"}
_SOURCE: Final = "192.0.2.1"
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(SERVED) + SERVED
_HERE: Final = "127.0.0.1"
_SAID_BYTES_MAX: Final = 4096
"""Most that the guest says, to us or to the server; it says a few lines."""
_BROKEN: Final = "broken: "
_REACHED: Final = "reached"
_DONE: Final = "done"

GUEST: Final = r"""
port=$1 net=$2 allowed=$3 inward=$4 proxy=${http_proxy##*:}
ask() {
  exec 3<>/dev/tcp/127.0.0.1/$proxy || return
  printf '%s\r\nHost: %s\r\n\r\n' "$1" "$2" >&3
  cat <&3
  exec 3>&-
}
refused() {
  case $(ask "$1" "$2") in
    "HTTP/1.1 403 "*) ;;
    *) echo "broken: $3" ;;
  esac
}

case $(ask "GET http://$allowed/ HTTP/1.1" "$allowed") in
  *"it was reached") echo reached ;;
  *) echo "broken: it did not reach what it may" ;;
esac
refused "GET http://other.example/ HTTP/1.1" other.example "it reached another domain"
refused "CONNECT other.example:443 HTTP/1.1" other.example:443 "it got another tunnel"
refused "CONNECT 127.0.0.1:$port HTTP/1.1" "127.0.0.1:$port" "it reached an address"
refused "CONNECT $allowed:22 HTTP/1.1" "$allowed:22" "it reached another port"
refused "GET http://$inward/ HTTP/1.1" "$inward" "a name led to this machine"
(: <>"/dev/tcp/127.0.0.1/$port") 2>&- && echo "broken: it reached a port of the host"
[ "$(readlink /proc/self/ns/net)" = "$net" ] && echo "broken: it shares the network"
echo done
"""
"""For bash, which connects by itself; its errors are of no interest."""


class Runner(Protocol):
    """What runs the guest: the executors that are tried."""

    async def open_job(self, job_id: str, attempt: int) -> JobDir:
        """Make the directory of a run."""
        ...

    async def run_reaching(
        self,
        order: RunOrder,
        job_dir: JobDir,
        *,
        lent: tuple[str, ...],
        outside: Outside | None,
    ) -> RunEnd:
        """Run an order to its end, with a way to what is lent."""
        ...

    async def remove(self, job_dir: JobDir) -> None:
        """Delete the directory."""
        ...


class _StandIn:
    """An Internet of two names, whose one server listens on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def addresses(self, name: str, _port: int) -> Sequence[str]:
        """See `Outside`."""
        return (_ADDRESSES[name],)

    def source(self, _address: str, _port: int) -> str:
        """See `Outside`."""
        return _SOURCE

    async def dial(self, _address: str, _port: int) -> trio.SocketStream:
        """See `Outside`."""
        return await trio.open_tcp_stream(_HERE, self.port)


async def why_not_reaching(runner: Runner) -> str:
    """Return why processes cannot be given domains to reach; nothing if they can."""
    why = ""
    try:
        async with trio.open_nursery() as serving:
            listeners = await serving.start(
                partial(trio.serve_tcp, _serve, 0, host=_HERE)
            )
            why = judged(await _said(runner, listeners[0].socket.getsockname()[1]))
            serving.cancel_scope.cancel()
    except* (PeerError, OSError, trio.TooSlowError) as group:
        why = f"it could not be tried: {group.exceptions[0]!r}"
    return why


def judged(said: str) -> str:
    """Return what the guest's words mean: why it may not be offered, or nothing."""
    *lines, last = said.splitlines() or [""]
    broken = [line.removeprefix(_BROKEN) for line in lines if line.startswith(_BROKEN)]
    if broken:
        return ", ".join(broken)
    return "" if (lines, last) == ([_REACHED], _DONE) else "the guest did not finish"


async def _said(runner: Runner, port: int) -> str:
    job_dir = await runner.open_job("probe", 1)
    try:
        with trio.fail_after(2 * GUEST_S):
            await runner.run_reaching(
                _order(port), job_dir, lent=DOMAINS, outside=_StandIn(port)
            )
        return job_dir.stdout_path.read_text("utf-8", "replace")
    finally:
        await runner.remove(job_dir)


def _order(port: int) -> RunOrder:
    aims = (str(port), str(Path("/proc/self/ns/net").readlink()), ALLOWED, INWARD)
    return RunOrder(
        job="probe",
        engine="process",
        argv=("bash", "-c", GUEST, "probe", *aims),
        cpu_millis=1000,
        memory_bytes=48 << 20,
        disk_bytes=1 << 20,
        wall_s=GUEST_S,
        output_bytes_max=0,
        log_bytes_max=_SAID_BYTES_MAX,
        domains=DOMAINS,
    )


async def _serve(stream: trio.SocketStream) -> None:
    heard = b""
    with suppress(trio.BrokenResourceError):
        while b"\r\n\r\n" not in heard and len(heard) < _SAID_BYTES_MAX:
            piece = await stream.receive_some(_SAID_BYTES_MAX)
            if not piece:
                return
            heard += piece
        await stream.send_all(_ANSWER)
