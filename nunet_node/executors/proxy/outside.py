"""Looking up a name, judging its addresses, and dialling the very one that was judged.

Rule: a name that a stranger chose must not lead into the provider's own network. So it
is looked up once, every address that it has must be public and not the provider's or
its neighbour's, and what is dialled is such an address, never the name. Sources: RFC
6890 and the IANA registries of special addresses, as `ipaddress` knows them; RFC 4291,
section 2.4, for the part of IPv6 that is routed at all.
"""

import socket
from collections.abc import Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Protocol

import trio

LOOKUPS_MAX: Final = 8
"""Names looked up at once for all jobs: each holds a thread until the resolver has
given up."""

NEAR_BITS: Final = {4: 24, 6: 48}
"""Leading bits in common with our own address that make a neighbour: the smallest
network that is routed in IPv4, and the largest that is given to a site in IPv6."""

_ROUTED_V6: Final = ip_network("2000::/3")
_RELAYS_V4: Final = ip_network("192.88.99.0/24")


class Outside(Protocol):
    """How the world is reached; an argument, so that a test can bring its own."""

    async def addresses(self, name: str, port: int) -> Sequence[str]:
        """Return every address of a name, the one to try first in front.

        Raises:
            OSError: it has none, or the resolver does not answer.
        """
        ...

    def source(self, address: str, port: int) -> str:
        """Return the address of ours from which this one would be dialled.

        Raises:
            OSError: there is no way to it.
        """
        ...

    async def dial(self, address: str, port: int) -> trio.SocketStream:
        """Connect to an address.

        Raises:
            OSError: nobody answers.
        """
        ...


class Internet:
    """The world as this machine sees it."""

    def __init__(self) -> None:
        """Look up a few names at a time."""
        self._lookups = trio.CapacityLimiter(LOOKUPS_MAX)

    async def addresses(self, name: str, port: int) -> Sequence[str]:
        """See `Outside`."""
        # Not trio's own: that would let slow names take the threads of everybody else.
        found = await trio.to_thread.run_sync(  # type: ignore[call-arg]  # old stubs
            lambda: socket.getaddrinfo(name, port, type=socket.SOCK_STREAM),
            abandon_on_cancel=True,
            limiter=self._lookups,
        )
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def source(self, address: str, port: int) -> str:
        """See `Outside`; connecting a datagram socket sends nothing."""
        with socket.socket(_family(address), socket.SOCK_DGRAM) as asking:
            asking.connect((address, port))
            return str(asking.getsockname()[0])

    async def dial(self, address: str, port: int) -> trio.SocketStream:
        """See `Outside`."""
        connection = trio.socket.socket(_family(address), socket.SOCK_STREAM)
        try:
            await connection.connect((address, port))
        except BaseException:
            connection.close()
            raise
        return trio.SocketStream(connection)


@cache
def internet() -> Internet:
    """Return the one of this process, whose jobs share its look-ups."""
    return Internet()


def why_not_dialled(text: str, source: str) -> str:
    """Return why an address must not be dialled from ours; nothing if it may."""
    address = ip_address(text)
    if not _is_public(address):
        return f"{text} is not a public address"
    own = ip_address(source)
    far = address.max_prefixlen - NEAR_BITS[address.version]
    if own.version == address.version and int(own) >> far == int(address) >> far:
        return f"{text} is in the provider's own network"
    return ""


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return address not in _RELAYS_V4
    # What embeds an IPv4 address may lead to a private one.
    embeds = address.sixtofour or address.teredo
    return address in _ROUTED_V6 and not embeds


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
