"""What lies between machines: delay, loss, partitions, and sessions over them.

A session is a stream over TCP: its frames arrive in order or not at all. So a lost
frame costs a retransmission's time, and a path that stays cut ends the session when
the liveness probe notices (`nunet_node.network.liveness`: eight to twenty seconds).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import Final

from nunet_node.simulator.plan import NS_PER_MS, NS_PER_S, Parted
from nunet_node.simulator.scenario import Faults, Links
from nunet_node.simulator.world.machine import Machine

NS_PER_US: Final = 1_000

RETRANSMIT_NS: Final = 200 * NS_PER_MS
"""First retransmission timeout, doubled each time (RFC 6298; Linux's least)."""

RETRANSMITS_MAX: Final = 6
"""Losses in a row after which a stream counts as broken: 12.6 seconds of silence."""

DETECT_NS_MIN: Final = 8 * NS_PER_S
DETECT_NS_MAX: Final = 20 * NS_PER_S
"""When a silent peer is noticed: a ping's interval, and its answer's patience."""

JITTERS: Final = 16_381
"""Jitter is drawn so often, and then over again: a logarithm for each packet would
take longer than all else about it. A prime, so that no pattern of traffic meets the
same draws each time round."""

CONNECT_ROUND_TRIPS: Final = 6
"""What a new connection takes: TCP, noise, yamux, and agreeing on the two; as measured
through the proxy, see `docs/calibration.md`."""

STREAM_ROUND_TRIPS: Final = 2
"""What a new stream takes: multistream-select asks for itself and for the protocol."""

DIAL_NS: Final = 10 * NS_PER_S
"""Patience of a dial that nobody answers."""


@dataclass(slots=True)
class Paths:
    """How long things take, and whether they get through at all."""

    links: Links
    faults: Faults
    chance: Random
    healed: bool = False
    cuts: list[tuple[Parted, dict[int, int]]] = field(default_factory=list)
    """Each partition under way, with the side of every machine; the bridge has 2."""

    _bases_ns: list[list[int]] = field(default_factory=list)
    _free_ns: dict[int, int] = field(default_factory=dict)
    """When each machine has nothing left to handle, where processors are shared."""
    _risky: bool = False
    jitter_ns: Callable[[], int] = field(init=False)
    """What comes on top of the least delay of the next packet."""

    def __post_init__(self) -> None:
        links, regions = self.links, range(self.links.regions)
        faults = self.faults
        self._risky = bool(faults.loss_permille or faults.duplicate_permille)
        apart = [min(gap, links.regions - gap) for gap in regions]
        least_ns = [(links.near_us + gap * links.far_us) * NS_PER_US for gap in apart]
        self._bases_ns = [[least_ns[abs(a - b)] for b in regions] for a in regions]
        mean_ns = links.jitter_us * NS_PER_US
        drawn = [int(self.chance.expovariate(1) * mean_ns) for _ in range(JITTERS)]
        self.jitter_ns = cycle(drawn).__next__

    def delay_ns(self, sender: Machine, receiver: Machine) -> int:
        """Return how long one small packet takes."""
        return self._bases_ns[sender.region][receiver.region] + self.jitter_ns()

    def from_region_ns(self, region: int) -> list[int]:
        """Return the least delays from one region to each."""
        return self._bases_ns[region]

    def least_ns(self, one: Machine, other: Machine) -> int:
        """Return the delay without jitter, which a shortest path is made of."""
        return self._bases_ns[one.region][other.region]

    def mean_ns(self, one: Machine, other: Machine) -> int:
        """Return the delay with as much jitter as there is on the whole."""
        return self.least_ns(one, other) + self.links.jitter_us * NS_PER_US

    def transfer_ns(self, size_bytes: int) -> int:
        """Return how long bytes take besides the delay."""
        return size_bytes * NS_PER_S // self.links.bandwidth_bytes_per_s

    def frame_ns(self, sender: Machine, receiver: Machine, size: int) -> int | None:
        """Return how long a frame takes; None if its stream breaks."""
        after_ns = self.delay_ns(sender, receiver) + self.transfer_ns(size)
        if self.healed:
            return after_ns
        faults, chance = self.faults, self.chance
        lost = 0
        while faults.loss_permille and chance.randrange(1000) < faults.loss_permille:
            after_ns += RETRANSMIT_NS << lost
            lost += 1
            if lost > RETRANSMITS_MAX:
                return None
        if faults.delay_permille and chance.randrange(1000) < faults.delay_permille:
            after_ns += chance.randrange(faults.delay_ms_max + 1) * NS_PER_MS
        return after_ns

    def handled_ns(self, now_ns: int, cost_us: int, machine: Machine) -> int:
        """Return how long it takes until a machine has handled what costs so much.

        Each handles one thing at a time. Where processors are shared, they are shared
        alike by all that have something to do, as processes share them.
        """
        cost_ns, cores, index = cost_us * NS_PER_US, self.links.cores, machine.index
        if not cores or not cost_ns:
            return cost_ns
        begins_ns = max(now_ns, self._free_ns.get(index, 0))
        busy = sum(free_ns > now_ns for free_ns in self._free_ns.values())
        shares = max(cores, busy + (begins_ns == now_ns))
        done_ns = begins_ns + cost_ns * shares // cores
        self._free_ns[index] = done_ns
        return done_ns - now_ns

    @property
    def calm(self) -> bool:
        """Whether gossip goes through once and for certain."""
        return not self.cuts and (self.healed or not self._risky)

    def loses_gossip(self) -> bool:
        """Tell whether a gossiped message is lost on its way."""
        faults = self.faults
        if self.healed or not faults.loss_permille:
            return False
        return self.chance.randrange(1000) < faults.loss_permille

    def doubles_gossip(self) -> bool:
        """Tell whether a gossiped message arrives twice."""
        faults = self.faults
        if self.healed or not faults.duplicate_permille:
            return False
        return self.chance.randrange(1000) < faults.duplicate_permille

    def passes(self, sender: Machine, receiver: Machine) -> bool:
        """Tell whether anything gets through in this direction."""
        for cut, sides in self.cuts:
            one, other = sides[sender.index], sides[receiver.index]
            across = one != other and 2 not in (one, other)  # noqa: PLR2004 - bridge
            if across and (cut.kind != "one-way" or one == 0):
                return False
        return True

    def joined(self, one: Machine, other: Machine) -> bool:
        """Tell whether a connection between two machines can live."""
        return not self.cuts or (self.passes(one, other) and self.passes(other, one))

    def notice_ns(self) -> int:
        """Return how long a silent peer goes unnoticed."""
        return self.chance.randrange(DETECT_NS_MIN, DETECT_NS_MAX)

    def cut(self, parted: Parted, machines: int) -> None:
        """Begin a partition; who is on which side follows from its salt."""
        sides = list(range(machines))
        Random(parted.salt).shuffle(sides)
        side = {machine: at * 2 // machines for at, machine in enumerate(sides)}
        if parted.kind == "bridge":
            side[sides[0]] = 2
        self.cuts.append((parted, side))

    def mend(self, parted: Parted) -> None:
        """End a partition."""
        self.cuts = [each for each in self.cuts if each[0] is not parted]
