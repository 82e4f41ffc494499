"""One run from beginning to end: work and faults, healing, and what must follow.

Rule: after the faults stop, everything that was promised has to come true within
`Scenario.settle_s` (I10): each job has ended, and each result of an honest provider
that is still there has been fetched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from nunet_node.errors import MisuseError
from nunet_node.identity.did import Did
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import JobId
from nunet_node.protocol.replicas.placing import (
    AUDIT_AGAIN_S,
    AUDIT_S,
    SILENCES_MAX,
)
from nunet_node.simulator.medium.oracle import UNREACHED_NS, shortest_ns
from nunet_node.simulator.plan import NS_PER_S, WARM_UP_NS, Plan, make_plan
from nunet_node.simulator.watch.copies import CopyPromises
from nunet_node.simulator.watch.limits import Limits
from nunet_node.simulator.watch.measures import Measures, percentiles
from nunet_node.simulator.watch.promises import BrokenPromiseError, Promises
from nunet_node.simulator.watch.trace import Trace
from nunet_node.simulator.watch.watcher import Watcher
from nunet_node.simulator.world.execution import honest_result
from nunet_node.simulator.world.machine import Machine
from nunet_node.simulator.world.people import People
from nunet_node.simulator.world.population import SYBIL
from nunet_node.simulator.world.trouble import Trouble
from nunet_node.simulator.world.world import World

STEP_NS: Final = NS_PER_S
"""Between two looks at the progress."""

SETTLE_STEP_NS: Final = 10 * NS_PER_S
"""Between two looks at whether everything has ended."""

BOUND_MACHINES_MAX: Final = 3_000
"""Machines up to which shortest paths are laid beside simulated gossip."""

BOUND_ORIGINS: Final = 30
"""Machines from which they are looked for: some milliseconds each."""

Progress = Callable[[int, int], None]
"""Called with the virtual seconds done, and those to do."""


AUDITED_NS: Final = (AUDIT_S + (SILENCES_MAX + 1) * AUDIT_AGAIN_S) * NS_PER_S
"""Time in which every copy is audited, and one that is gone counts no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    digest: str
    events: int
    inputs: int
    virtual_s: int
    measures: dict[str, Any]
    broken: BrokenPromiseError | None = None
    """The promise that was broken, if one was."""
    waits_us: list[int] = field(default_factory=list)
    reach_us: list[int] = field(default_factory=list)


@dataclass(slots=True, repr=False)
class Run:
    """A plan being carried out."""

    plan: Plan
    extra: tuple[Watcher, ...] = ()
    world: World = field(init=False)
    people: People = field(init=False)
    trouble: Trouble = field(init=False)
    trace: Trace = field(default_factory=Trace)
    measures: Measures = field(default_factory=Measures)
    promises: Promises = field(init=False)
    copies: CopyPromises = field(init=False)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.world = World(self.plan)
        self.promises = Promises(self.world.machines)
        self.copies = CopyPromises(self.world.machines)
        books = (self.promises, self.copies, self.limits)
        self.world.watch((*self.extra, self.trace, self.measures, *books))
        self.people = People(self.world)
        self.trouble = Trouble(self.world, self.people)
        self.world.told = self.people.told
        self.world.returned = self.people.returned

    def play(self, progress: Progress | None = None) -> Outcome:
        """Carry the plan out, heal the world, and see everything end."""
        try:
            self._play(progress or _no_progress)
        except BrokenPromiseError as error:
            return self._outcome(error)
        except MisuseError as error:
            at_ns = self.world.agenda.now_ns
            said = f"a node failed: {error}"
            return self._outcome(BrokenPromiseError("I2", at_ns, said))
        return self._outcome(None)

    def _play(self, progress: Progress) -> None:
        world, scenario = self.world, self.plan.scenario
        world.start()
        self.trouble.begin()
        last_ns = max((h.at_ns for h in self.plan.happenings), default=WARM_UP_NS)
        until_ns = max(scenario.run_s * NS_PER_S, last_ns)
        while world.agenda.now_ns < until_ns:
            world.agenda.run(min(until_ns, world.agenda.now_ns + STEP_NS))
            progress(world.agenda.now_ns // NS_PER_S, until_ns // NS_PER_S)
        self.trouble.heal()
        deadline_ns = until_ns + scenario.settle_s * NS_PER_S
        while not self._all_ended():
            if world.agenda.now_ns >= deadline_ns:
                raise BrokenPromiseError("I10", deadline_ns, self._what_waits())
            world.agenda.run(world.agenda.now_ns + SETTLE_STEP_NS)
        self.promises.settled(world.agenda.now_ns, world.machines)
        if scenario.work.replicas:
            world.agenda.run(world.agenda.now_ns + AUDITED_NS)
            self.copies.audited(world.agenda.now_ns, world.machines)

    def _all_ended(self) -> bool:
        return not self._open_orders() and not self._unfetched() and not self._kept()

    def _open_orders(self) -> list[JobId]:
        return [
            job
            for machine in self._with_orders()
            for job, order in machine.node.orders.items()
            if order.spec and not order.ended
        ]

    def _with_orders(self) -> list[Machine]:
        """Return the machines whose orders count: a copy's are the original's."""
        return [each for each in self.world.machines if each.original is None]

    def _kept(self) -> list[JobId]:
        return [
            job.job
            for machine in self.world.machines
            if machine.up
            for job in machine.node.jobs.values()
            if not job.ended
        ]

    def _unfetched(self) -> list[JobId]:
        people, machines = self.people, self.world.machines
        names = {each.did: each for each in machines if each.original is None}
        waiting = []
        for machine in self._with_orders():
            for job, order in machine.node.orders.items():
                if order.state is not State.COMPLETED or job in people.fetched:
                    continue
                custodian = names[order.award.provider] if order.award else None
                if custodian is None or custodian.gone or job in people.withheld:
                    continue
                if custodian.traits.honest and not custodian.copied:
                    waiting.append(job)
        return waiting

    def _what_waits(self) -> str:
        orders, kept, results = self._open_orders(), self._kept(), self._unfetched()
        return (
            f"{len(orders)} orders, {len(kept)} jobs and {len(results)} results are "
            f"still open: {', '.join(sorted({*orders, *kept, *results})[:4])}"
        )

    def _outcome(self, broken: BrokenPromiseError | None) -> Outcome:
        world = self.world
        return Outcome(
            digest=self.trace.digest(),
            events=world.agenda.events,
            inputs=world.inputs,
            virtual_s=world.agenda.now_ns // NS_PER_S,
            measures=self._measured(),
            broken=broken,
            waits_us=self.measures.waits_us(),
            reach_us=[ns // 1000 for ns in world.overlay.reach_ns],
        )

    def _gossip_bound_us(self) -> list[int]:
        """Return the shortest paths over mean delays, if gossip was simulated."""
        world, count = self.world, self.plan.scenario.machines
        if not world.overlay.reach_ns or count > BOUND_MACHINES_MAX:
            return []
        edges = world.edges(world.paths.mean_ns)
        origins = range(0, count, -(-count // BOUND_ORIGINS))
        found = (shortest_ns(edges, origin) for origin in origins)
        return [ns // 1000 for taken in found for ns in taken if 0 < ns < UNREACHED_NS]

    def _results_out_of_reach(self) -> int:
        """Return how many are withheld, or at a provider that is gone for good."""
        completed = (
            job
            for machine in self._with_orders()
            for job, order in machine.node.orders.items()
            if order.state is State.COMPLETED
        )
        return sum(job not in self.people.fetched for job in completed)

    def _measured(self) -> dict[str, Any]:
        measures, world = self.measures, self.world
        jobs = max(1, len(measures.times.placed))
        fetched = self.people.fetched
        wrong = sum(root != honest_result(job) for job, root in fetched.items())
        found = {
            "machines": self.plan.scenario.machines,
            "jobs": len(measures.times.placed),
            "states": {str(s): n for s, n in sorted(measures.states.items())},
            "starts": sum(measures.starts.values()),
            "accepted_us": percentiles(measures.accepts_us()),
            "started_us": percentiles(measures.waits_us()),
            "ended_us": percentiles(measures.ends_us()),
            "frames": world.wires.frames,
            "frames_per_job_permille": world.wires.frames * 1000 // jobs,
            "bytes_per_job": world.wires.frame_bytes // jobs,
            "gossip_sent": world.overlay.sent,
            "gossip_bytes": world.overlay.sent_bytes,
            "gossip_reach_us": percentiles(n // 1000 for n in world.overlay.reach_ns),
            "gossip_bound_us": percentiles(self._gossip_bound_us()),
            "fairness_permille": measures.fairness_permille(),
            "starts_by_price": measures.starts_by_price(
                {m.name: m.price_micro_ntx for m in world.machines if m.provides}
            ),
            "waits_by_owner_us": measures.waits_by_owner_us(
                {
                    did: f"{machine.name}, user {number}"
                    for machine in world.machines
                    for number, did in enumerate(machine.users)
                }
            ),
            "results_fetched": len(fetched),
            "results_wrong": wrong,
            "results_withheld": self._results_out_of_reach(),
        }
        if self.trouble.stops:
            found["stops"] = self.trouble.stops
            found["stops_noticed"] = self.trouble.missed
        faults = self.plan.scenario.faults
        if self.world.twins:
            found |= self._copies_measured()
        if faults.sybils:
            found |= self._sybils_measured()
        if faults.trickling_permille:
            found |= self._slow_measured()
        if self.plan.scenario.compare:
            found["waits_of_others_alone_us"] = self._waits_alone_us()
        return found

    def _copies_measured(self) -> dict[str, Any]:
        """Return how many homes ran twice, and how many jobs at both of two."""
        twins = self.world.twins
        pairs = [{number, twin.index} for number, twin in twins.items()]
        ran = self.measures.started_at.values()
        return {
            "copied": sum(twin.copied for twin in twins.values()),
            "ran_at_both": sum(any(pair <= at for pair in pairs) for at in ran),
        }

    def _sybils_measured(self) -> dict[str, Any]:
        """Return how long the others wait, and what one person with many names got."""
        names = self._owners(lambda machine: machine.name.startswith(SYBIL))
        theirs = self.measures.waits_of_us(names, theirs=True)
        others = self.measures.waits_of_us(names, theirs=False)
        owners = self.measures.owners.values()
        return {
            "sybil_names": len(names),
            "sybil_jobs": sum(owner in names for owner in owners),
            "sybil_starts_permille": 1000 * len(theirs) // max(1, len(theirs + others)),
            "waits_of_sybils_us": percentiles(theirs),
            "waits_of_others_us": percentiles(others),
            "queue_longest": self.limits.longest,
        }

    def _slow_measured(self) -> dict[str, Any]:
        """Return what waited for slow readers, and how long all others do."""
        slow = self.world.wires.slow
        names = self._owners(lambda machine: machine.traits.trickles)
        return {
            "slow_readers": sum(m.traits.trickles for m in self.world.machines),
            "unread_longest": slow.longest,
            "slow_readers_reset": slow.resets,
            "waits_of_slow_us": percentiles(
                self.measures.waits_of_us(names, theirs=True)
            ),
            "waits_of_others_us": percentiles(
                self.measures.waits_of_us(names, theirs=False)
            ),
        }

    def _waits_alone_us(self) -> Mapping[str, int]:
        """Return how long the same owners wait when nobody does them any harm."""
        names = self._owners(lambda machine: machine.traits.trickles)
        alone = Run(alone_plan(self.plan))
        alone.play()
        return percentiles(alone.measures.waits_of_us(names, theirs=False))

    def _owners(self, whose: Callable[[Machine], bool]) -> set[Did]:
        """Return the users of those machines."""
        return {
            did for each in self.world.machines if whose(each) for did in each.users
        }


def alone_plan(plan: Plan) -> Plan:
    """Return the same plan, but that nobody has many names or reads at a trickle."""
    scenario = plan.scenario
    faults = replace(scenario.faults, sybils=0, trickling_permille=0)
    calm = replace(scenario, faults=faults, compare=False)
    return replace(make_plan(calm, plan.seed), boots_ns=plan.boots_ns)


def _no_progress(done_s: int, all_s: int) -> None:
    """Show nothing."""
