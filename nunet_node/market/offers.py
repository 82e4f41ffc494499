"""What providers offer: adverts on gossip, bids on streams, and why not.

An advert is the newest statement of what a node has in all and has free now;
the latest sequence number of a peer wins. A bid answers one call with a price
and a start; it promises no room and holds nothing, so that free identities
cannot pin capacity. A refusal says why, in words and in a stable code.
"""

from typing import Annotated, Final

import msgspec

from nunet_node.domains import DOMAINS_MAX, Domain
from nunet_node.identity.challenge import DidText
from nunet_node.quantities import Count, ResourceVector
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record

ADVERT: Final = "advert"
CALL: Final = "call"
BID: Final = "bid"
REFUSAL: Final = "refusal"
"""Kinds of statement; each is part of what is signed."""

ADVERT_TOPIC: Final = "/nunet/capacity/1"

ADDRESSES_MAX: Final = 8
"""Addresses in one advert: two families, a few interfaces, one relay."""

ENGINES_MAX: Final = 16
"""Engines in one advert; four exist."""

REFRESH_S_MIN: Final = 8
"""Shortest time between a node's unchanged adverts."""

REFRESH_S_MAX: Final = 60
"""Longest: at 10 000 nodes this is 167 adverts a second for everyone."""

NODES_PER_REFRESH_S: Final = 20
"""Known nodes that stretch the refresh by a second, so traffic stays bounded."""

LIFETIMES_PER_REFRESH: Final = 3
"""An advert outlives two lost refreshes; 24 s in a small network."""

CALL_ID_BYTES: Final = 16

CALL_ID_BYTES_MAX: Final = 64
"""Longest id of a call: it is repeated in every bid, and ours have 16 bytes."""

LARGEST_MAX: Final = 8
"""Kinds of machine in one advert: of those of a cluster, only what no other machine
has more of in every dimension is told, and clusters are bought by the rack."""

ANCHORS_MAX: Final = 4
"""Anchors named in one advert; a provider may trust more than it tells."""


CallId = Annotated[bytes, msgspec.Meta(max_length=CALL_ID_BYTES_MAX)]

LEVELS: Final = {"wasm": "wasm", "bwrap": "process", "container": "container"}
"""The level of isolation that the first of an engine's barriers stands for."""


def level_of(isolation: str) -> str:
    """Return the level of isolation that barriers joined by ``+`` amount to."""
    return LEVELS.get(isolation.partition("+")[0], "")


class EngineOffer(Record):
    """An engine that a probe found working, and how well it isolates."""

    engine: str
    isolation: str
    ready: bool = True
    """False while it is still being prepared: no room yet, not never."""
    secrets: bool = False
    """Whether it can hand a job secrets, in memory alone."""
    http: bool = False
    """Whether jobs can be let reach domains over HTTP, from the provider's address;
    which, a bid or a refusal tells."""


GPUS_MAX: Final = 16
"""GPUs told of in one advert; the largest single machines have that many."""


class Gpu(Record):
    """One graphics processor."""

    vendor: Annotated[str, msgspec.Meta(max_length=16)]
    model: Annotated[str, msgspec.Meta(max_length=64)]
    memory_bytes: Count = 0


class Figures(Record):
    """How fast a machine is, in MiB a second; 0 where it was not measured."""

    integer_mib_s: Count = 0
    """SHA-256 on one processor."""
    memory_mib_s: Count = 0
    """Copying in memory."""
    disk_mib_s: Count = 0
    """Writing until it is on the disk."""


class Machine(Record):
    """What kind of machine a node is; its own word, like all of an advert."""

    architecture: Annotated[str, msgspec.Meta(max_length=32)] = ""
    gpus: Annotated[tuple[Gpu, ...], msgspec.Meta(max_length=GPUS_MAX)] = ()
    figures: Figures | None = None


class Advert(Record):
    """What one node has, and where to reach it."""

    peer_id: Annotated[str, msgspec.Meta(max_length=128)]
    addresses: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=256)], ...],
        msgspec.Meta(max_length=ADDRESSES_MAX),
    ]
    sequence: Count
    """Unix milliseconds, and always more than the one before."""
    engines: Annotated[
        tuple[EngineOffer, ...], msgspec.Meta(max_length=ENGINES_MAX)
    ] = ()
    total: ResourceVector = ResourceVector()
    free: ResourceVector = ResourceVector()
    price_micro_ntx: Count = 0
    """Price of one CPU-hour, in millionths of an NTX."""
    queued: Count = 0
    leaving: bool = False
    """The node is going away: forget it."""
    admission: Annotated[str, msgspec.Meta(max_length=16)] = ""
    """Whose jobs it takes: ``allow`` or ``capability``; empty is anybody's."""
    anchors: Annotated[tuple[DidText, ...], msgspec.Meta(max_length=ANCHORS_MAX)] = ()
    """From whom a chain of delegations has to lead to an owner to be admitted."""
    machine: Machine | None = None
    largest: Annotated[
        tuple[ResourceVector, ...], msgspec.Meta(max_length=LARGEST_MAX)
    ] = ()
    """What one job can have at most, if that is less than `total`: one for each kind
    of machine of a cluster."""
    run_s_max: Count = 0
    """The longest that one job may run, where a cluster sets an end; 0 is for ever."""
    store_bytes: Count = 0
    """Room for copies of others' results in all; 0 of a node that keeps none."""
    store_free_bytes: Count = 0

    @property
    def rooms(self) -> tuple[ResourceVector, ...]:
        """What one job can have at most; a job fits if it fits one of them."""
        return self.largest or (self.total,)


class CallForBids(Record):
    """Who will run this? Enough to price it, nothing of its content."""

    call: CallId
    spec: Cid
    engine: str
    resources: ResourceVector
    run_s: Count
    inputs_bytes: Count = 0
    price_micro_ntx_max: Count | None = None
    isolation: str = ""
    """The level that the job demands; any if empty."""
    secrets: bool = False
    """Whether the job names secrets."""
    http: Annotated[tuple[Domain, ...], msgspec.Meta(max_length=DOMAINS_MAX)] = ()
    """The domains that the job is to reach; it reaches nothing if empty."""


class Bid(Record):
    """A price and a start for one call."""

    call: CallId
    price_micro_ntx: Count
    starts_in_s: Count = 0
    """Seconds until it could start; 0 if there is room now."""
    isolation: str = ""
    """The barriers, joined by ``+``; the first names the level (`level_of`)."""
    queue_position: Count = 0


class Refusal(Record):
    """Why not. ``code`` is for programs, ``reason`` for people."""

    code: str
    reason: Annotated[str, msgspec.Meta(max_length=500)]
    dimension: str = ""
    """The resource that is too small, if that is why."""
    largest: ResourceVector | None = None
    """All that this provider could ever give one job."""
    never: bool = False
    """True if waiting would not help."""


def refresh_s(nodes_known: int) -> int:
    """Return how long a node waits before repeating an unchanged advert."""
    return min(REFRESH_S_MAX, max(REFRESH_S_MIN, nodes_known // NODES_PER_REFRESH_S))


def lifetime_s(nodes_known: int) -> int:
    """Return how long an advert counts after it was made."""
    return LIFETIMES_PER_REFRESH * refresh_s(nodes_known)
