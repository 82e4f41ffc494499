"""One simulated machine: a production node, its disk, and what else it is made of.

Rule: what survives a crash is `journal` and `store`, and nothing else; a booted
machine is a new node that applied every fact of the journal.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from nunet_node.errors import MisuseError
from nunet_node.identity.did import Did
from nunet_node.identity.keys import Signer
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.jobs.specification import Engine, JobId
from nunet_node.market.offers import EngineOffer
from nunet_node.market.table import AdvertTable
from nunet_node.protocol import effects as fx
from nunet_node.protocol.facts import Fact
from nunet_node.protocol.inputs import CapacityProbed, Input, SessionId
from nunet_node.protocol.node import Node, NodeSettings
from nunet_node.protocol.order import Order
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.replicas.events import ExpectReplica
from nunet_node.protocol.replicas.record import Replica, ReplicaKey
from nunet_node.quantities import ResourceVector
from nunet_node.simulator.world.keys import Nonces
from nunet_node.wire.cid import Cid

GIB: Final = 1 << 30

Ledgers = tuple[dict[JobId, Job], dict[JobId, Order], dict[ReplicaKey, Replica]]
"""What survives a crash of a node."""

Act = tuple[Callable[[Any], None], Any]
"""What to call, and with what."""

STALLED_MAX: Final = 1_000_000
"""Happenings that wait for one stopped process: a minute of gossip from ten thousand
machines. More means that a stop does not end."""

INBOUND_FIRST: Final = 2
"""Number of the first session that others dial; even, as in production."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """How a machine differs from an honest one."""

    slow_times: int = 1
    lies: bool = False
    withholds: bool = False
    mute: bool = False
    equivocates: bool = False
    overstates: bool = False
    forgets: bool = False
    """It keeps no block of the copies that it takes."""
    replays: bool = False
    pries: bool = False
    unreachable: bool = False
    trickles: bool = False
    """It reads what it is sent at a trickle."""

    @property
    def honest(self) -> bool:
        """Tell whether whoever relies on this machine may expect all it promised."""
        bad = self.lies or self.withholds or self.mute or self.overstates
        return not (bad or self.equivocates or self.unreachable or self.trickles)


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Machine:
    """One node and its surroundings."""

    # What every message looks at comes first, so that it lies together in memory.
    index: int
    node: Node = field(init=False)
    up: bool = False
    stalled: list[Act] | None = None
    """What waits for its process, which is stopped; nothing is that for one that
    runs."""
    offset_s: int = 0
    """How wrong its wall clock is."""
    boot: int = 0
    name: str
    key: Signer
    users: dict[Did, Signer]
    region: int
    run_name: str
    """The seed, as text, which nonces are made from."""
    cpus: int = 0
    """Processors that it offers; none is a submitting peer."""
    price_micro_ntx: int = 0
    store_bytes: int = 0
    """Room for copies of others' results."""
    traits: Traits = field(default_factory=Traits)
    original: "Machine | None" = None
    """Whose home this one began as a copy of."""
    copied: bool = False
    """Another machine has, or had, the same key."""
    peer_id: str = ""
    journal: list[Fact] = field(default_factory=list)
    store: set[Cid] = field(default_factory=set)
    """Roots of the input trees whose blocks are all on disk."""
    copies: set[tuple[Did, JobId]] = field(default_factory=set)
    """The copies of results whose blocks are all on disk, by owner and job."""
    gone: bool = False
    """It never returns."""
    died_as: Ledgers | None = None
    """What its node knew when it went down last: jobs, orders and copies."""
    booted_ns: int = 0
    joined_ns: int = 0
    """When it has a neighbour to gossip with."""
    disk_full: bool = False
    doom: tuple[int, int, bool] | None = None
    """The step, the time down and the silence of a crash that is due."""
    sessions: dict[SessionId, "Link"] = field(default_factory=dict)
    next_inbound: int = INBOUND_FIRST
    timers: dict[str, int] = field(default_factory=dict)
    running: dict[JobId, fx.StartJob] = field(default_factory=dict)
    storing: dict[JobId, fx.StoreResult] = field(default_factory=dict)
    expecting: dict[JobId, fx.ExpectInputs] = field(default_factory=dict)
    handing: dict[JobId, ExpectReplica] = field(default_factory=dict)
    grants: set[tuple[str, Cid]] = field(default_factory=set)
    held: list[Input] = field(default_factory=list)
    """Inputs that wait for a disk with room."""
    audiences: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.peer_id = peer_id_of(self.key.did)
        self.audiences = frozenset((self.key.did, *self.users))

    @property
    def did(self) -> Did:
        """The node's DID."""
        return self.key.did

    @property
    def address(self) -> str:
        """Where it can be dialled; a copy is somewhere else."""
        host = "10.0.0.1" if self.original is None else "10.0.0.2"
        return f"/ip4/{host}/tcp/4001/p2p/{self.peer_id}"

    @property
    def is_new_copy(self) -> bool:
        """Whether it runs for the first time, with a copy of another's home."""
        return self.original is not None and self.boot == 1

    @property
    def provides(self) -> bool:
        """Whether it offers to run jobs."""
        return self.cpus > 0

    @property
    def capacity(self) -> ResourceVector:
        """What it really has."""
        return ResourceVector(
            cpu_millis=self.cpus * 1000,
            memory_bytes=self.cpus * 4 * GIB,
            disk_bytes=self.cpus * 64 * GIB,
        )

    @property
    def offered(self) -> ResourceVector:
        """What it says it has."""
        total = self.capacity
        for _ in range(2 if self.traits.overstates else 0):
            total += total
        return total

    def stalls(self, act: Callable[[Any], None], about: Any) -> bool:
        """Put something off if the process is stopped; tell whether it is."""
        if self.stalled is None:
            return False
        if len(self.stalled) >= STALLED_MAX:
            raise MisuseError(f"{self.name} is stopped, and {STALLED_MAX} things wait")
        self.stalled.append((act, about))
        return True

    def probed(self, *, ready: bool = True) -> CapacityProbed:
        """Return what a look at the machine tells its node."""
        offer = EngineOffer(engine=Engine.PROCESS, isolation="process", ready=ready)
        return CapacityProbed(total=self.offered, engines=(offer,))

    def boot_node(self, table: AdvertTable) -> None:
        """Become a new process with the old disk."""
        if self.boot:
            node = self.node
            self.died_as = (dict(node.jobs), dict(node.orders), dict(node.replicas))
        self.boot += 1
        self.up, self.disk_full, self.doom = True, False, None
        self.timers = {}
        self.next_inbound = INBOUND_FIRST
        self.node = Node(
            NodeSettings(
                signer=self.key,
                peer_id=self.peer_id,
                users=self.users,
                provides=self.provides,
                price_micro_ntx=self.price_micro_ntx,
                store_bytes=self.store_bytes,
                # What is new for each process is not copied with a home.
                boot=((self.original is not None) << 64 | self.boot).to_bytes(16),
                nonce=Nonces(f"{self.run_name}:{self.name}:{self.boot}"),
                adverts=table,
            )
        )
        for fact in self.journal:
            self.node.apply(fact)

    def lose_memory(self) -> None:
        """Forget everything that is not on disk."""
        self.up, self.stalled = False, None
        self.sessions.clear()
        self.running.clear()
        self.storing.clear()
        self.expecting.clear()
        self.handing.clear()
        self.grants.clear()
        self.held.clear()


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Link:
    """One session between two machines, at whose boots it was opened."""

    dialler: Machine
    listener: Machine
    ours: SessionId
    theirs: SessionId
    boots: tuple[int, int]
    free_ns: list[int] = field(default_factory=lambda: [0, 0])
    """When the last frame arrives, by direction; the next may not overtake it."""
    open: bool = True

    def other(self, machine: Machine) -> tuple[Machine, SessionId]:
        """Return the machine at the other end, and its number of the session."""
        if machine is self.dialler:
            return self.listener, self.theirs
        return self.dialler, self.ours

    def has(self, machine: Machine) -> bool:
        """Tell whether this end is open."""
        session = self.ours if machine is self.dialler else self.theirs
        return self.alive(machine) and machine.sessions.get(session) is self

    def alive(self, machine: Machine) -> bool:
        """Tell whether the process that held this end still runs."""
        boot = self.boots[0] if machine is self.dialler else self.boots[1]
        return machine.up and machine.boot == boot
