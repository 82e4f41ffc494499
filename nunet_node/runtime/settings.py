"""What kind of peer to open: a command's, for a moment, or a home's node.

Everything that a peer is made of stands here, so that `peer` only puts it together.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nunet_node.capability.held.holdings import Holdings
from nunet_node.executors.port import Executors
from nunet_node.executors.proxy.outside import Outside
from nunet_node.executors.sandbox.devices import Device
from nunet_node.executors.sandbox.nvml import usable_devices
from nunet_node.identity.did import Did
from nunet_node.identity.keys import Signer, SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.network.discovery import parse_listen_address
from nunet_node.network.port import HostSettings
from nunet_node.protocol.node import NodeSettings
from nunet_node.protocol.trust.admission import Admission
from nunet_node.quantities import ResourceVector
from nunet_node.runtime.home import Home, cache_directory
from nunet_node.runtime.naming.documents import Fetch

BOOT_BYTES: Final = 16
"""Length of the random name of a process, which voids challenges of an earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provide:
    """How to provide: what the owner offers of what the machine has, at what price."""

    offer: Callable[[ResourceVector], ResourceVector] = lambda detected: detected
    price_micro_ntx: int = 0
    devices: Callable[[], tuple[Device, ...]] = usable_devices
    """Finds the graphics processors to offer; blocks."""
    domains: tuple[str, ...] = ()
    """What jobs may be let reach over HTTP; nothing if empty."""
    outside: Outside | None = None
    """How they reach it; as this machine does, when None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """What kind of peer to open."""

    home: Home
    key: SigningKey
    """The peer's own key: the home's node key for `up`, a fresh one for a command."""
    users: Mapping[Did, Signer] = field(default_factory=dict)
    """Who may place orders here; the first is the one who does."""
    listen: tuple[str, ...] = ()
    announce: tuple[str, ...] = ()
    """Where others are told to dial instead, without the peer id."""
    bulk_port: int | None = None
    """The port of a node's bulk door: 0 for any, None for no door."""
    bitswap: bool = False
    """Whether a node lets anybody fetch public results by Bitswap."""
    bootstrap: tuple[str, ...] = ()
    is_node: bool = False
    """Whether this is the home's `up`: it holds the home's lock and its ledger, and
    looks after its orders."""
    provide: Provide | None = None
    gossip: bool = False
    mdns: bool = False
    drain_s: int = 60
    admission: Admission = field(default_factory=Admission)
    """Whose jobs are taken, by a node that provides."""
    web: Fetch | None = None
    """Fetches the documents of did:webs that sign what a node is sent; None where such
    identities are not taken."""
    store_bytes: int = 0
    """Room for copies of others' results."""
    backend: Callable[[Path, Did], Executors] | None = None
    """Makes what runs jobs on a cluster, from a scratch directory and our own DID;
    None where this machine runs them."""


def node_settings(
    settings: PeerSettings, users: Mapping[Did, Signer], holdings: Holdings
) -> NodeSettings:
    """Return what the protocol's node is made of."""
    provide = settings.provide
    return NodeSettings(
        signer=settings.key,
        peer_id=peer_id_of(settings.key.did),
        users=users,
        provides=provide is not None,
        price_micro_ntx=provide.price_micro_ntx if provide is not None else 0,
        store_bytes=settings.store_bytes,
        domains=provide.domains if provide is not None else (),
        boot=secrets.token_bytes(BOOT_BYTES),
        nonce=secrets.token_bytes,
        admission=settings.admission,
        holdings=holdings,
    )


def host_settings(settings: PeerSettings) -> HostSettings:
    """Return how the peer stands on the network."""
    return HostSettings(
        seed=settings.key.seed,
        listen=settings.listen,
        gossip=settings.gossip,
        mdns=settings.mdns,
    )


def executors(settings: PeerSettings) -> Executors:
    """Return what runs jobs for the settings' home, on this machine or a cluster.

    Raises:
        ConfigError: a file that the configuration names cannot be read.
        ScratchError: the scratch directory is somebody else's.
    """
    if settings.backend is not None:
        return settings.backend(settings.home.scratch(), settings.key.did)
    from nunet_node.executors.container.find import find_socket  # noqa: PLC0415
    from nunet_node.executors.local import LocalExecutors  # noqa: PLC0415

    provide = settings.provide or Provide()
    return LocalExecutors(
        settings.home.scratch(),
        cache_directory(),
        container_socket=find_socket(),
        lent=provide.domains,
        outside=provide.outside,
    )


def addresses(settings: PeerSettings, listening: tuple[str, ...]) -> tuple[str, ...]:
    """Return where others can dial the peer: as its owner says, or where it listens."""
    peer_id = peer_id_of(settings.key.did)
    return tuple(f"{each}/p2p/{peer_id}" for each in settings.announce) or listening


def bootstrap(settings: PeerSettings) -> tuple[str, ...]:
    """Return whom to start from: those named, and the node that runs on this home."""
    running = None if settings.is_node else settings.home.running_node()
    return (*settings.bootstrap, *(running.addresses if running is not None else ()))


def listen_hosts(settings: PeerSettings) -> tuple[str, ...]:
    """Return the numeric addresses that the peer listens on, each once.

    Raises:
        AddressError: one is no address to listen on.
    """
    parsed = map(parse_listen_address, settings.listen)
    return tuple(dict.fromkeys(each.host for each in parsed))
