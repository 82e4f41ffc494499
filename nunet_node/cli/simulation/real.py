"""A scenario on real processes, to be laid beside its simulation.

Each provider is a ``nunet-node up`` on loopback and each submitting peer a client in a
process of its own; a proxy stands before every provider and gives the links the
scenario's delays, losses and cuts. Rule: what a real process cannot be made to do from
outside (lie, jump its clock, fill its disk) is left out of both sides, so that what
differs is what the simulation leaves out: this machine.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import trio

from nunet_node.cli.simulation.processes import START_S, Child, Processes, RealNodeError
from nunet_node.cli.simulation.proxy import Proxy
from nunet_node.cli.simulation.sockets import holder_of
from nunet_node.cli.simulation.user import Joining, Working
from nunet_node.jobs.specification import JobId
from nunet_node.runtime.home import open_home
from nunet_node.simulator import plan as p
from nunet_node.simulator.medium.links import Paths
from nunet_node.simulator.watch.course import Seen
from nunet_node.simulator.watch.measures import percentiles
from nunet_node.simulator.world.machine import Machine
from nunet_node.simulator.world.population import populate

KNOWN_S: Final = 60
"""How long the nodes may take until all know each other."""

BEGIN_NS: Final = 2 * p.NS_PER_S
"""From the last word to the submitting peers until the first job."""

BOOTSTRAP: Final = 3
"""Providers that everybody is told of: one may vanish."""

Say = Callable[[str], None]

Trouble = p.Crashed | p.Vanished | p.Parted | p.Stopped
"""What is done to the processes, and to what is between them."""


@dataclass(slots=True)
class RealRun:
    """A plan being carried out by processes."""

    plan: p.Plan
    homes: Path
    say: Say
    machines: list[Machine] = field(init=False)
    proxy: Proxy = field(init=False)
    processes: Processes = field(init=False)
    seen: Seen = field(default_factory=Seen)
    ready_ns: dict[str, int] = field(default_factory=dict)
    """When each provider was ready, by its peer id."""
    boots_ns: dict[int, int] = field(default_factory=dict)
    begun_ns: int = 0
    fetched: int = 0
    stops: int = 0
    traffic: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _addresses: list[str] = field(default_factory=list)
    _ports: dict[int, int] = field(default_factory=dict)
    _paused: set[int] = field(default_factory=set)
    _known: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        scenario = self.plan.scenario
        self.machines = populate(scenario, self.plan.seed)
        chance = Random(f"{self.plan.seed}:real")  # noqa: S311 - the links' jitter
        paths = Paths(scenario.links, scenario.faults, chance)
        self.proxy = Proxy(paths, self._machine_of)

    @property
    def providers(self) -> list[Machine]:
        """The machines that run jobs."""
        return [machine for machine in self.machines if machine.provides]

    async def play(self) -> Mapping[str, Any]:
        """Carry the plan out; return what was measured.

        Raises:
            RealNodeError: a process did not start, or did not come to its end.
        """
        begun_ns = time.monotonic_ns()
        async with trio.open_nursery() as nursery:
            self.processes = Processes(self.homes, self._said, nursery)
            try:
                await self._gather(nursery)
                users = await self._users()
                await self._work(users, nursery)
            finally:
                with trio.CancelScope(shield=True):
                    await self.processes.stop()
            nursery.cancel_scope.cancel()
        for index, at_ns in self.boots_ns.items():
            self.boots_ns[index] = at_ns - begun_ns
        self.begun_ns -= begun_ns
        return self._measures()

    async def _gather(self, nursery: trio.Nursery) -> None:
        """Start the providers one by one; the last when the others know each other."""
        *others, last = self.providers
        for machine in self.providers:
            self._ports[machine.index] = await self.proxy.open(machine, nursery)
        for machine in others:
            await self._up(machine)
            self.say(f"{machine.name} is up")
        await self._until_known(len(others))
        await self._up(last)
        await self._until_known(len(others) + 1)
        self.say("all know each other")

    async def _up(self, machine: Machine) -> None:
        port = self._ports[machine.index]
        home = self.homes / machine.name
        words = ["nunet_node", "--home", str(home), "--json", "up", "--no-mdns"]
        words += ["--listen", "/ip4/127.0.0.1/tcp/0"]
        words += ["--announce", f"/ip4/127.0.0.1/tcp/{port}"]
        words += ["--cpus", str(machine.cpus), "--memory", f"{machine.cpus}GiB"]
        words += ["--disk", f"{machine.cpus}GiB"]
        words += ["--price", f"{machine.price_micro_ntx / 10**6:.6f}"]
        for address in self._addresses[:BOOTSTRAP]:
            words += ["--bootstrap", address]
        child = await self.processes.begin(machine, words)
        ready = await child.until("ready", START_S)
        at_ns, machine.up = time.monotonic_ns(), True
        running = await trio.to_thread.run_sync(lambda: open_home(home).running_node())
        if running is not None:
            listening = running.addresses[0]
            self.proxy.ports[machine.index] = int(listening.split("/")[4])
        if machine.index not in self.boots_ns:
            self.boots_ns[machine.index] = at_ns
            machine.peer_id = ready["peer_id"]
            self.ready_ns[machine.peer_id] = at_ns
            self._addresses.append(ready["addresses"][0])

    async def _users(self) -> list[Child]:
        users = []
        for machine in self.machines[len(self.providers) :]:
            child = await self.processes.begin(
                machine, ["nunet_node.cli.simulation.user"]
            )
            joining = Joining(
                home=str(self.homes / machine.name),
                bootstrap=tuple(self._addresses[:BOOTSTRAP]),
                providers=len(self.providers),
            )
            await self.processes.tell(child, joining)
            await child.until("ready", START_S)
            self.boots_ns[machine.index] = time.monotonic_ns()
            await child.until("knows", KNOWN_S)
            self.say(f"{machine.name} is up")
            users.append(child)
        return users

    async def _work(self, users: list[Child], nursery: trio.Nursery) -> None:
        plan, found = self.plan, self.plan.happenings
        first_ns = found[0].at_ns if found else 0
        self.begun_ns = time.monotonic_ns() + BEGIN_NS - first_ns
        for number, child in enumerate(users):
            own = [
                each
                for each in found
                if isinstance(each, p.Placed | p.Cancelled) and each.submitter == number
            ]
            working = Working(
                begin_ns=self.begun_ns,
                work=plan.scenario.work,
                happenings=tuple(own),
            )
            await self.processes.tell(child, working)
        for happening in found:
            if isinstance(happening, Trouble):
                await trio.sleep_until(self._moment(happening.at_ns))
                nursery.start_soon(self._trouble, happening)
        last_ns = found[-1].at_ns if found else 0
        await trio.sleep_until(self._moment(last_ns))
        self.proxy.heal()
        for machine in self.providers:
            self.processes.go_on(machine)
        for child in users:
            over = await child.until("over", plan.scenario.settle_s)
            self.traffic[child.machine.index] = over

    def _moment(self, at_ns: int) -> float:
        left_ns = self.begun_ns + at_ns - time.monotonic_ns()
        return trio.current_time() + left_ns / p.NS_PER_S

    async def _trouble(self, happening: Trouble) -> None:
        if isinstance(happening, p.Parted):
            self.proxy.cut(happening, len(self.machines))
            await trio.sleep(happening.for_ns / p.NS_PER_S)
            self.proxy.mend(happening)
            return
        machine = self.machines[happening.machine]
        if isinstance(happening, p.Stopped):
            await self._pause(machine, happening.for_ns)
            return
        if machine.gone or (isinstance(happening, p.Crashed) and not machine.up):
            return
        machine.up, machine.gone = False, isinstance(happening, p.Vanished)
        if isinstance(happening, p.Vanished) or happening.silent:
            self.proxy.darken(machine)
        self.processes.kill(machine)
        self.say(f"{machine.name} was killed")
        if isinstance(happening, p.Crashed):
            await trio.sleep(happening.down_ns / p.NS_PER_S)
            await self._return(machine)

    async def _pause(self, machine: Machine, for_ns: int) -> None:
        """Stop a process for a while, unless it is down or stopped already."""
        if not machine.up or machine.index in self._paused:
            return
        self._paused.add(machine.index)
        self.stops += 1
        self.processes.pause(machine)
        self.say(f"{machine.name} was stopped")
        await trio.sleep(for_ns / p.NS_PER_S)
        self._paused.discard(machine.index)
        self.processes.go_on(machine)

    async def _return(self, machine: Machine) -> None:
        if machine.gone:
            return
        self.proxy.lighten(machine)
        try:
            await self._up(machine)
        except RealNodeError:
            # It may have vanished while it was starting.
            if not machine.gone:
                raise

    async def _until_known(self, count: int) -> None:
        with trio.move_on_after(KNOWN_S):
            while len(self.seen.heard) < count * (count - 1):
                await self._known.wait()

    def _said(self, machine: Machine, document: Mapping[str, Any], at_ns: int) -> None:
        match document:
            case {"event": "peer", "peer_id": about}:
                self.seen.heard.setdefault((machine.peer_id, about), at_ns)
                known, self._known = self._known, trio.Event()
                known.set()
            case {"event": "told", "number": number, "moment": moment}:
                state = document.get("state", "")
                job = JobId(str(number))
                self.seen.note(moment, job, document["at_ns"], state)
            case {"event": "ended", "number": number}:
                self.fetched += document["fetched"]
                self.say(f"job {number} is {document['state']}")
            case _:
                pass

    def _machine_of(self, port: int) -> Machine | None:
        pid = holder_of(port, self.processes.pids())
        return None if pid is None else self.processes.machine_at(pid)

    def _measures(self) -> Mapping[str, Any]:
        gone = {machine.index for machine in self.machines if machine.gone}
        noticed = [
            after_ns // 1000
            for by, about, after_ns in self.proxy.notices_ns
            if about in gone and by not in gone
        ]
        return {
            "frames": sum(each["frames"] for each in self.traffic.values()),
            "frame_bytes": sum(each["bytes"] for each in self.traffic.values()),
            "connections": self.proxy.connections,
            "wire_bytes": self.proxy.carried_bytes,
            "fetched": self.fetched,
            "stops": self.stops,
            "gone_noticed_us": percentiles(noticed),
        }
