"""Addresses as people write them, and finding peers: by a list, or close by.

Rule: an address is checked when it is read, with an error that shows a good one; a
listed peer that goes away, or was not there to begin with, is dialled again with
growing pauses for as long as the node runs; the local network is asked only when
somebody wants that. Sources: libp2p's addressing and multiaddr specifications; RFC
6762 and RFC 6763 (multicast DNS and its service discovery).
"""

import errno
import logging
import random
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import psutil
import trio

from nunet_node.identity.errors import IdentityError
from nunet_node.identity.peer_id import did_of_peer_id
from nunet_node.network.port import AddressError, ConnectFailed, Host, PeerGone

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, Zeroconf

RETRY_FIRST_S: Final = 1
"""Pause after a first failed dial; doubled after each further one."""

RETRY_MAX_S: Final = 30
"""Longest pause between dials: a node that comes back is found within it."""

ADDRESSES_MAX: Final = 32
"""Addresses of one peer that are tried: more is not an address list but an attack."""

LOCAL_PEERS_MAX: Final = 64
"""Peers waiting to be dialled that the local network announced: anybody there can
announce any number, and none of them has proved anything yet."""

LOCAL_SERVICE: Final = "_nunet-node._tcp.local."
"""Under which nodes announce themselves; each by its peer id."""

RESOLVED_MAX: Final = 4
"""IP addresses tried for one name: each may take seconds to fail."""

_KINDS: Final = {socket.AF_INET: "ip4", socket.AF_INET6: "ip6"}
_FAMILIES: Final = {
    "dns": socket.AF_UNSPEC,
    "dns4": socket.AF_INET,
    "dns6": socket.AF_INET6,
}
_ADDRESS: Final = re.compile(
    r"/(?P<kind>ip4|ip6|dns|dns4|dns6)/(?P<host>[0-9A-Za-z.:_-]{1,253})"
    r"/tcp/(?P<port>[0-9]{1,5})(?:/p2p/(?P<peer>[1-9A-HJ-NP-Za-km-z]{8,128}))?"
)
_EXAMPLE: Final = "/ip4/192.0.2.7/tcp/4040/p2p/12D3KooW…"
_LISTEN_EXAMPLE: Final = "/ip4/0.0.0.0/tcp/4040"
_ANNOUNCED_EXAMPLE: Final = "/ip4/192.0.2.7/tcp/4040"
_log = logging.getLogger("nunet_node.network")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A place to dial or to listen on, and who should be there."""

    kind: str
    host: str
    port: int
    peer_id: str | None

    def transport(self) -> str:
        """Return the multiaddr without the peer."""
        return f"/{self.kind}/{self.host}/tcp/{self.port}"

    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        if self.kind.startswith("dns"):
            return self.host == "localhost"
        return ip_address(self.host).is_loopback

    def __str__(self) -> str:
        """Return the whole multiaddr."""
        return self.transport() + (f"/p2p/{self.peer_id}" if self.peer_id else "")


def parse_multiaddr(text: str) -> Address:
    """Read where a peer can be dialled, with its peer id.

    Raises:
        AddressError: it is no such address; shows one.
    """
    address = _parse(text, _EXAMPLE)
    if address.peer_id is None:
        raise AddressError(
            f"no peer id in {text!r}; expected e.g. {_EXAMPLE}"
            " (the other node prints its address when it starts)"
        )
    if address.port == 0:
        raise AddressError(f"nobody can be dialled on port 0: {text!r}")
    return address


def parse_node_address(text: str) -> Address:
    """Read where a node can be dialled; its peer id must be one that nodes have.

    Raises:
        AddressError: it is no such address; shows one.
    """
    address = parse_multiaddr(text)
    try:
        did_of_peer_id(str(address.peer_id))
    except IdentityError as error:
        raise AddressError(f"{address.peer_id!r} in {text!r}: {error}") from None
    return address


def parse_listen_address(text: str) -> Address:
    """Read where to listen; port 0 lets the system choose.

    Raises:
        AddressError: it is no such address; shows one.
    """
    address = _parse(text, _LISTEN_EXAMPLE)
    if address.peer_id is not None or address.kind.startswith("dns"):
        raise AddressError(
            f"cannot listen on {text!r}; expected e.g. {_LISTEN_EXAMPLE}"
        )
    return address


def parse_announced_address(text: str) -> Address:
    """Read where others are to dial this node, whatever it listens on itself.

    Raises:
        AddressError: it is no such address; shows one.
    """
    address = _parse(text, _ANNOUNCED_EXAMPLE)
    if address.peer_id is not None or address.port == 0:
        raise AddressError(
            f"nobody can be told to dial {text!r}; expected e.g. {_ANNOUNCED_EXAMPLE}"
        )
    return address


def one_peer(addrs: Sequence[str]) -> tuple[str, tuple[Address, ...]]:
    """Read addresses that must all belong to one peer.

    Raises:
        AddressError: one is no address, there is none, or they name several peers.
    """
    if not 0 < len(addrs) <= ADDRESSES_MAX:
        raise AddressError(f"{len(addrs)} addresses; from 1 to {ADDRESSES_MAX} will do")
    parsed = tuple(map(parse_multiaddr, addrs))
    peers = {address.peer_id for address in parsed}
    if len(peers) > 1:
        raise AddressError(f"addresses of {len(peers)} different peers, not of one")
    return str(parsed[0].peer_id), parsed


def reachable_addresses(address: Address) -> tuple[Address, ...]:
    """Return where an address to listen on is reached: each interface for 0.0.0.0."""
    if not ip_address(address.host).is_unspecified:
        return (address,)
    version = 4 if address.kind == "ip4" else 6
    hosts = sorted(_interface_hosts(version), key=_by_reach)
    return tuple(
        Address(kind=address.kind, host=host, port=address.port, peer_id=None)
        for host in hosts
    )


async def resolve(address: Address) -> tuple[Address, ...]:
    """Return the IP addresses of an address by name; itself if it is one.

    The system's resolver is asked, so that names that only this machine or this
    network knows work, too. Nothing is returned for a name without an address.
    """
    family = _FAMILIES.get(address.kind)
    if family is None:
        return (address,)
    try:
        found = await trio.socket.getaddrinfo(
            address.host, address.port, family, socket.SOCK_STREAM
        )
    except OSError:
        return ()
    return tuple(
        replace(address, kind=_KINDS[entry[0]], host=str(entry[4][0]))
        for entry in found[:RESOLVED_MAX]
        if entry[0] in _KINDS
    )


async def stay_connected(
    host: Host,
    peers: Sequence[Sequence[str]],
    report: Callable[[str, ConnectFailed], Awaitable[None]] | None = None,
) -> None:
    """Keep a connection to each of these peers; never returns.

    Each entry is one peer's addresses. ``report`` learns of the first failure to
    reach a peer after each time it was there, with the peer's id.

    Raises:
        AddressError: an entry is not the addresses of one peer.
    """
    listed = {peer_id: addrs for addrs in peers for peer_id in [one_peer(addrs)[0]]}
    listed.pop(host.peer_id, None)
    gone = {peer_id: trio.Event() for peer_id in listed}
    events = host.peer_events()
    async with trio.open_nursery() as nursery:
        for peer_id, addrs in listed.items():
            nursery.start_soon(_stay_with, host, peer_id, addrs, gone, report)
        async for event in events:
            if isinstance(event, PeerGone) and event.peer_id in gone:
                gone[event.peer_id].set()


async def find_local_peers(
    host: Host, interfaces: Sequence[str], addresses: Sequence[str]
) -> None:
    """Announce ourselves on the local network and connect to who else does.

    ``interfaces`` are the IP addresses of the network interfaces to use and
    ``addresses`` what is announced. Returns only where multicast does not work.
    """
    from zeroconf import Error  # noqa: PLC0415 - slow to import

    try:
        await _announce_and_meet(host, interfaces, addresses)
    except (OSError, Error) as error:
        _log.warning("cannot look for peers on the local network: %s", error)


async def _announce_and_meet(
    host: Host, interfaces: Sequence[str], addresses: Sequence[str]
) -> None:
    from zeroconf import ServiceBrowser, Zeroconf  # noqa: PLC0415 - slow to import

    names, found = trio.open_memory_channel[str](LOCAL_PEERS_MAX)
    token = trio.lowlevel.current_trio_token()

    def notice(name: str, **_: object) -> None:
        token.run_sync_soon(_send_if_room, names, name)

    zeroconf = await trio.to_thread.run_sync(lambda: Zeroconf(list(interfaces)))
    try:
        own = _local_service(host.peer_id, addresses)
        await trio.to_thread.run_sync(zeroconf.register_service, own)
        ServiceBrowser(zeroconf, LOCAL_SERVICE, handlers=[notice])
        async for name in found:
            if not name.startswith(host.peer_id):
                await _meet(host, zeroconf, name)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(zeroconf.close)


async def _meet(host: Host, zeroconf: "Zeroconf", name: str) -> None:
    info = await trio.to_thread.run_sync(
        zeroconf.get_service_info, LOCAL_SERVICE, name, 2_000
    )
    text = (info.properties.get(b"addresses") if info else None) or b""
    try:
        await host.connect(text.decode(errors="replace").split(" "))
    except (AddressError, ConnectFailed) as error:
        _log.info("a peer on the local network: %s", error)


def _local_service(peer_id: str, addresses: Sequence[str]) -> "ServiceInfo":
    from zeroconf import ServiceInfo  # noqa: PLC0415 - slow to import

    return ServiceInfo(
        LOCAL_SERVICE,
        f"{peer_id}.{LOCAL_SERVICE}",
        port=parse_multiaddr(addresses[0]).port,
        # A TXT string holds 255 bytes: an address with a peer id takes some 90.
        properties={"addresses": " ".join(addresses[:2])},
        server=f"{peer_id}.local.",
        parsed_addresses=[parse_multiaddr(addresses[0]).host],
    )


def _send_if_room(names: trio.MemorySendChannel[str], name: str) -> None:
    with suppress(trio.WouldBlock, trio.BrokenResourceError):
        names.send_nowait(name)


async def _stay_with(
    host: Host,
    peer_id: str,
    addrs: Sequence[str],
    gone: dict[str, trio.Event],
    report: Callable[[str, ConnectFailed], Awaitable[None]] | None,
) -> None:
    pause_s = float(RETRY_FIRST_S)
    told = False
    while True:
        gone[peer_id] = trio.Event()
        try:
            await host.connect(addrs)
        except ConnectFailed as error:
            _log.info("%s", error)
            if report is not None and not told:
                told = True
                await report(peer_id, error)
            # Spread, so that a node that returns is not dialled by all at once.
            await trio.sleep(pause_s * random.uniform(0.75, 1.25))  # noqa: S311
            pause_s = min(pause_s * 2, RETRY_MAX_S)
        else:
            pause_s, told = float(RETRY_FIRST_S), False
            with trio.move_on_after(RETRY_MAX_S):
                await gone[peer_id].wait()


def why_not(address: Address) -> str:
    """Return why a port cannot be opened, by trying it once more, and what to do."""
    family = socket.AF_INET6 if address.kind == "ip6" else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                f"port {address.port} on {address.host} is in use by another program;"
                f" stop it, or listen elsewhere: {address.transport()} with another"
                " port, or port 0 for any free one"
            )
        return (
            f"cannot listen on {address.transport()}: {error.strerror}; "
            "name another address or port with --listen"
        )
    return f"cannot listen on {address.transport()}"


def _parse(text: str, example: str) -> Address:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:  # noqa: PLR2004 - TCP's ports
        raise AddressError(f"not a multiaddr: {text!r}; expected e.g. {example}")
    if match["kind"] in ("ip4", "ip6"):
        try:
            right = f"ip{ip_address(match['host']).version}" == match["kind"]
        except ValueError:
            right = False
        if not right:
            raise AddressError(
                f"not an {match['kind']} address: {match['host']!r} in {text!r};"
                f" expected e.g. {example}"
            )
    return Address(
        kind=match["kind"],
        host=match["host"],
        port=int(match["port"]),
        peer_id=match["peer"],
    )


def _interface_hosts(version: int) -> set[str]:
    hosts = set()
    for interface in psutil.net_if_addrs().values():
        for entry in interface:
            try:
                address = ip_address(entry.address)
            except ValueError:
                continue
            # A link-local address means nothing without the interface's name.
            if address.version == version and not address.is_link_local:
                hosts.add(str(address))
    return hosts


def _by_reach(host: str) -> tuple[bool, bool, str]:
    address = ip_address(host)
    return address.is_loopback, address.is_private, host
