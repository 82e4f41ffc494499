"""What the rest of the node may ask of a network, whatever carries it.

Rule: no py-libp2p type and no py-libp2p error crosses this module, so that the
library can be replaced and tests can run on `memory.MemoryNetwork`. Peer ids are
libp2p's text form (``12D3Koo…``), addresses are multiaddrs as text.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import trio

from nunet_node.errors import PeerError
from nunet_node.network.stream import Stream

CONNECTIONS_MAX: Final = 300
"""Connections of one node: a megabyte each with gossip, and some 4 ms of processor
time for each message that is gossiped to them."""


class NetworkError(PeerError):
    """The network, or a peer on it, did not do what was asked."""

    code = "network"


class AddressError(NetworkError):
    """A text is not an address that this node can dial or listen on."""

    code = "network.address"


class ConnectFailed(NetworkError):  # noqa: N818 - read as a fact: the dial failed
    """No connection came about; names the addresses and the causes."""

    code = "network.connect"


class ListenFailed(NetworkError):  # noqa: N818 - read as a fact: no port was opened
    """A port could not be opened; names it and what to do."""

    code = "network.listen"


class NotConnected(NetworkError):  # noqa: N818 - read as a fact about a peer
    """There is no connection to this peer, or it went away just now."""

    code = "network.not-connected"


class ProtocolRefused(NetworkError):  # noqa: N818 - the peer's answer, as a fact
    """The peer is there but does not open a stream for this protocol."""

    code = "network.protocol"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """How a host joins the network; ``seed`` is the node's Ed25519 key, 32 bytes.

    A host without gossip is cheap to join with: a command that asks one peer for one
    thing needs none. ``mdns`` looks for peers on the local network, and only does so
    when an address beyond this machine is listened on.
    """

    seed: bytes = field(repr=False)
    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)
    gossip: bool = True
    mdns: bool = False
    connections_max: int = CONNECTIONS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConnected:
    """A first connection to this peer is up."""

    peer_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerGone:
    """The last connection to this peer is gone, or it stopped answering."""

    peer_id: str


PeerEvent = PeerConnected | PeerGone


class GossipMessage(NamedTuple):
    """One message of a topic: its signed author, not who forwarded it."""

    from_peer: str
    data: bytes


StreamHandler = Callable[[Stream], Awaitable[None]]
"""Serves one incoming stream. What it raises resets that stream and harms no other."""

Validator = Callable[[bytes], bool]
"""Judges a gossiped message by its bytes alone: the verdict is remembered for minutes
and shared by all forwarders, so it may depend on neither the clock nor the sender."""


class Host(Protocol):
    """One peer on the network."""

    @property
    def peer_id(self) -> str:
        """Return this host's own peer id."""

    def addresses(self) -> tuple[str, ...]:
        """Return where others can dial this host, each ending in ``/p2p/…``."""

    async def connect(self, addrs: Sequence[str]) -> str:
        """Connect to the one peer at these addresses; return its peer id.

        Raises:
            AddressError: one is no address, or they name different peers.
            ConnectFailed: none led to that peer.
        """

    async def open_stream(self, peer_id: str, protocol: str) -> Stream:
        """Open a stream to a connected peer.

        Raises:
            NotConnected: there is no live connection to it.
            ProtocolRefused: it does not speak this protocol, or did not answer.
        """

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Serve incoming streams of this protocol; a second call replaces the first."""

    def connected_peers(self) -> frozenset[str]:
        """Return the peers with at least one live connection."""

    def ip_of(self, peer_id: str) -> str | None:
        """Return the numeric address at which a connected peer is reached, if any."""

    async def disconnect(self, peer_id: str) -> None:
        """Close every connection to this peer; nothing happens if there is none."""

    async def publish(self, topic: str, data: bytes) -> None:
        """Sign and gossip a message.

        The same bytes published again within two minutes go nowhere: messages are
        known by their content.

        Raises:
            MisuseError: it is over `GOSSIP_BYTES_MAX`, or gossip is off.
        """

    async def subscribe(
        self,
        topic: str,
        validate: Validator,
    ) -> trio.MemoryReceiveChannel[GossipMessage]:
        """Join a topic; one subscription for each topic. Our own messages come, too.

        The channel is bounded and drops its oldest message when full, so a slow
        reader loses old news and holds nobody up. Messages over `GOSSIP_BYTES_MAX`,
        and those that ``validate`` refuses, are neither delivered nor forwarded.
        """

    async def unsubscribe(self, topic: str) -> None:
        """Leave a topic and end its channel."""

    def peer_events(self) -> trio.MemoryReceiveChannel[PeerEvent]:
        """Return a new channel of peers that come and go from now on.

        It is bounded and drops its oldest event when full; `connected_peers` is the
        truth, the events say when to look.
        """


def lone_error(error: BaseException) -> BaseException:
    """Return the one exception in nested groups; the group if there are several."""
    seen = error
    while isinstance(seen, BaseExceptionGroup) and len(seen.exceptions) == 1:
        seen = seen.exceptions[0]
    return error if isinstance(seen, BaseExceptionGroup) else seen
