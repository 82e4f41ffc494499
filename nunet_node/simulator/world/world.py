"""The simulated world: takes each input to its node, and each effect to its place.

Rule: one input at a time. The node decides, its facts go to the journal, whoever
watches looks, and only then its effects are carried out; a crash may fall between any
two of these steps. Nothing here decides what a node would.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from nunet_node.market.table import AdvertTable
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.messages import REVOCATIONS_TOPIC
from nunet_node.protocol.replicas import events as rp
from nunet_node.protocol.turn import Batch
from nunet_node.quantities import Now
from nunet_node.simulator.medium.copies import Copies
from nunet_node.simulator.medium.links import (
    CONNECT_ROUND_TRIPS,
    STREAM_ROUND_TRIPS,
    Paths,
)
from nunet_node.simulator.medium.oracle import Oracle, OracleTable
from nunet_node.simulator.medium.overlay import Message, Overlay
from nunet_node.simulator.medium.reading import (
    Reader,
    StrictReader,
    TrustingReader,
    is_fresh,
    revocations_of,
)
from nunet_node.simulator.medium.sessions import START_S, Wires, unix_s
from nunet_node.simulator.medium.transfers import Transfers
from nunet_node.simulator.medium.whereabouts import Whereabouts
from nunet_node.simulator.plan import NS_PER_S, Plan
from nunet_node.simulator.watch.watcher import Watcher
from nunet_node.simulator.world.agenda import Agenda
from nunet_node.simulator.world.execution import Execution
from nunet_node.simulator.world.machine import Machine
from nunet_node.simulator.world.population import populate, twins

JOIN_MAX: Final = 3
"""Neighbours that a machine asks for what they have heard, when it joins."""

JOIN_SPREAD_NS: Final = NS_PER_S
"""The machines boot within this time."""

CRASH_WITHIN_NS: Final = 5 * NS_PER_S
"""A machine that is to crash in a durable turn, and has none, crashes then."""


class World:
    """Every machine, and all that is between them."""

    def __init__(self, plan: Plan, watchers: Sequence[Watcher] = ()) -> None:
        self.plan = plan
        self.agenda = Agenda()
        scenario = plan.scenario
        chance = Random(f"{plan.seed}:paths")
        self.paths = Paths(scenario.links, scenario.faults, chance)
        self.machines = populate(scenario, plan.seed)
        self.twins = twins(plan, self.machines)
        self.machines += self.twins.values()
        peers = Whereabouts(self.machines)
        self.reader: Reader = (
            StrictReader() if scenario.real_signatures else TrustingReader()
        )
        self.wires = Wires(self.agenda, self.paths, self.reader, peers, self.give)
        size = scenario.work.result_bytes
        self.execution = Execution(self.agenda, self.paths, self.give, size)
        self.transfers = Transfers(self.agenda, self.paths, peers, self.give)
        self.copies = Copies(self.agenda, self.paths, peers, self.give)
        overlay_chance = Random(f"{plan.seed}:overlay")
        self.overlay = Overlay(self.machines, self.agenda, self.paths, overlay_chance)
        self.overlay.deliver = self._heard
        self.overlay.connect(scenario.fleet.degree)
        self.wires.neighbours = self.overlay.connected
        self.oracle = self._make_oracle()
        self.watch(watchers)
        self.inputs = 0
        self.told: Callable[[Machine, fx.News], None] = _ignore
        self.returned: Callable[[Machine], None] = _stay
        self._acts = self._make_acts()

    def watch(self, watchers: Sequence[Watcher]) -> None:
        """Show every turn from now on to these, in this order."""
        self.watchers = list(watchers)
        self._turned = [watcher.turned for watcher in watchers]
        self._idled = [watcher.turned for watcher in watchers if watcher.idle_too]

    def start(self) -> None:
        """Boot every machine; copies come when they are made."""
        boots_ns = dict(enumerate(self.plan.boots_ns))
        machines = [each for each in self.machines if each.original is None]
        for machine in machines:
            at_ns = machine.index * JOIN_SPREAD_NS // len(machines)
            self.agenda.at(boots_ns.get(machine.index, at_ns), self.boot, machine)

    def now(self, machine: Machine) -> Now:
        """Return both clocks of a machine."""
        now_ns = self.agenda.now_ns
        wall_s = START_S + machine.offset_s + now_ns // NS_PER_S
        return Now(unix_s=wall_s, elapsed_ns=now_ns)

    def boot(self, machine: Machine) -> None:
        """Start a machine with what its disk holds, and let it join the others."""
        table = AdvertTable()
        if self.oracle is not None:
            table = OracleTable(self.oracle, machine.index)
        machine.boot_node(table)
        machine.booted_ns = self.agenda.now_ns
        machine.joined_ns = machine.booted_ns + self._joining_ns(machine)
        for watcher in self.watchers:
            watcher.booted(self.agenda.now_ns, machine)
        self.overlay.returned(machine.index)
        self.give(machine, ins.AddressesChanged(addresses=(machine.address,)))
        if machine.provides:
            self.give(machine, machine.probed())
        self.give(machine, ins.NodeStarted())
        self.join(machine)

    def give(self, machine: Machine, given: ins.Input) -> None:
        """Let a machine's node decide about one input, and do what it says."""
        if machine.up and not machine.stalls(
            self._give_late, (machine, machine.boot, given)
        ):
            self._take(machine, given, self.now(machine))

    def go_on(self, machine: Machine) -> None:
        """Let a stopped process go on: all that waited for it comes at once."""
        waiting, machine.stalled = machine.stalled or (), None
        for act, about in waiting:
            act(about)

    def near(self, machine: Machine) -> list[Machine]:
        """Return who has a connection with a machine, by number."""
        links = machine.sessions.values()
        found = {link.other(machine)[0].index for link in links}
        if self.oracle is None:
            found.update(self.overlay.connected[machine.index])
        return [self.machines[index] for index in sorted(found)]

    def _give_late(self, about: tuple[Machine, int, ins.Input]) -> None:
        machine, boot, given = about
        if machine.boot == boot:
            self.give(machine, given)

    def _take(self, machine: Machine, given: ins.Input, now: Now) -> None:
        self.inputs += 1
        now_ns = now.elapsed_ns
        batch = machine.node.handle(given, now)
        effects = batch.effects
        if batch.facts:
            self._decided(machine, given, batch)
        elif len(effects) == 1 and type(effects[0]) is fx.Tell:
            for turned in self._idled:
                turned(now_ns, machine, given, batch)
            self.told(machine, effects[0].news)
        else:
            for turned in self._turned:
                turned(now_ns, machine, given, batch)
            self._perform(machine, effects)

    def _decided(self, machine: Machine, given: ins.Input, batch: Batch) -> None:
        """Keep what was decided, and carry it out; a crash may come in between."""
        if machine.disk_full:
            machine.node.undo()
            self._hold(machine, given)
            return
        steps = None if machine.doom is None else machine.doom[0]
        if steps == 0:
            # What it decided is on no disk, so nobody is ever to hear of it.
            machine.node.undo()
            self.die(machine)
            return
        machine.journal += batch.facts
        for turned in self._turned:
            turned(self.agenda.now_ns, machine, given, batch)
        if steps is None:
            self._perform(machine, batch.effects)
        else:
            self._perform(machine, batch.effects[: steps - 1])
            self.die(machine)

    def die(self, machine: Machine) -> None:
        """Crash a machine that is doomed."""
        _, down_ns, silent = machine.doom or (0, 0, True)
        machine.doom = None
        self.kill(machine, silent=silent)
        if not machine.gone:
            self.agenda.after(down_ns, self._revive, (machine, machine.boot))

    def kill(self, machine: Machine, *, silent: bool) -> None:
        """Stop a machine's process at once; others notice now or later."""
        if not machine.up:
            return
        for act, about in machine.stalled or ():
            self.agenda.after(0, act, about)
        self.transfers.broken(machine)
        heard = self.wires.break_links(machine, silent=silent)
        machine.lose_memory()
        self.overlay.left(machine.index, silently=silent)
        close = {o.index: o for o in heard}
        if self.oracle is None:
            for index in self.overlay.connected[machine.index]:
                close[index] = self.machines[index]
        after_ns = self.paths.notice_ns() if silent else 0
        for other in close.values():
            about = (other, other.boot, machine)
            delay_ns = self.paths.delay_ns(machine, other)
            self.agenda.after(after_ns + delay_ns, self._gone, about)

    def disk_has_room(self, machine: Machine) -> None:
        """Let a journal be written again, and repeat what could not be kept."""
        if not machine.disk_full:
            return
        machine.disk_full = False
        self.give(machine, ins.StoreFilled(full=False))
        held, machine.held = machine.held, []
        for given in held:
            self.give(machine, given)

    def _hold(self, machine: Machine, given: ins.Input) -> None:
        if isinstance(given, ins.FrameReceived | ins.FrameRejected):
            self.wires.close(machine, fx.CloseSession(session=given.session))
        elif not isinstance(given, ins.StoreFilled):
            machine.held.append(given)
        if not isinstance(given, ins.StoreFilled):
            self.give(machine, ins.StoreFilled(full=True))

    def _perform(self, machine: Machine, effects: Sequence[fx.Effect]) -> None:
        acts, boot = self._acts, machine.boot
        for effect in effects:
            if not machine.up or machine.boot != boot:
                return
            acts[type(effect)](machine, effect)

    def _make_acts(self) -> dict[type, Callable[[Machine, Any], None]]:
        return {
            fx.OpenSession: self.wires.open,
            fx.CloseSession: self.wires.close,
            fx.Send: self._send,
            fx.Publish: self._publish,
            fx.SetTimer: self._set_timer,
            fx.CancelTimer: self._cancel_timer,
            fx.StartJob: self.execution.start,
            fx.StopJob: self.execution.stop,
            fx.StoreResult: self.execution.store,
            fx.DiscardScratch: self.execution.discard,
            fx.ExpectInputs: self.transfers.expect,
            fx.DeliverInputs: self.transfers.deliver,
            fx.GrantRead: self.transfers.grant,
            fx.GrantLogs: _pass,
            fx.EndGrants: self.transfers.end_grants,
            rp.ExpectReplica: self.copies.expect,
            rp.DeliverReplica: self.copies.deliver,
            rp.TakeSample: self.copies.sample,
            rp.DropReplica: self.copies.drop,
            rp.DropResult: self.copies.drop_result,
            rp.StoreLogs: _pass,
            fx.Tell: self._tell,
        }

    def _send(self, machine: Machine, effect: fx.Send) -> None:
        if not machine.traits.mute or not machine.node.jobs:
            self.wires.send(machine, effect)

    def _tell(self, machine: Machine, effect: fx.Tell) -> None:
        self.told(machine, effect.news)

    def _set_timer(self, machine: Machine, effect: fx.SetTimer) -> None:
        machine.timers[effect.name] = effect.at_ns
        about = (machine, machine.boot, effect)
        self.agenda.at(effect.at_ns, self._ring, about)

    def _cancel_timer(self, machine: Machine, effect: fx.CancelTimer) -> None:
        machine.timers.pop(effect.name, None)

    def _ring(self, about: tuple[Machine, int, fx.SetTimer]) -> None:
        machine, boot, effect = about
        if machine.stalls(self._ring, about):
            return
        current = machine.timers.get(effect.name) == effect.at_ns
        if machine.up and machine.boot == boot and current:
            del machine.timers[effect.name]
            self.give(machine, ins.TimerFired(name=effect.name))

    def _publish(self, machine: Machine, effect: fx.Publish) -> None:
        if self.oracle is None:
            about = (machine, machine.boot, effect)
            if machine.joined_ns > self.agenda.now_ns:
                self.agenda.at(machine.joined_ns, self._say, about)
            else:
                self._say(about)
            return
        now_s = unix_s(machine, self.agenda.now_ns)
        heard = self.reader.advert(effect.data, now_s)
        if heard is not None:
            self.oracle.publish(machine.index, heard)

    def _say(self, about: tuple[Machine, int, fx.Publish]) -> None:
        machine, boot, effect = about
        if machine.stalls(self._say, about):
            return
        if machine.up and machine.boot == boot:
            self.overlay.publish(machine, effect.topic, effect.data)

    def _heard(self, machine: Machine, message: Message) -> None:
        if message.topic == REVOCATIONS_TOPIC:
            self.give(machine, revocations_of(message.data))
            return
        now, given = self.now(machine), message.given
        if given is None:
            heard = self.reader.advert(message.data, now.unix_s)
            if heard is None:
                return
            # Every machine hears the same of it, so one input serves them all.
            given = message.given = ins.AdvertsHeard(adverts=(heard,))
        if machine.up and is_fresh(given.adverts[0], now.unix_s):
            self._take(machine, given, now)

    def _joining_ns(self, machine: Machine) -> int:
        """Return how long it takes until a first neighbour can be told anything."""
        near = self.overlay.connected[machine.index]
        up = [self.machines[index] for index in near if self.machines[index].up]
        if not up:
            return 0
        rounds = CONNECT_ROUND_TRIPS + STREAM_ROUND_TRIPS
        round_ns = self.paths.delay_ns(machine, up[0])
        cost_us = len(up) * self.plan.scenario.links.connect_us
        costs_ns = self.paths.handled_ns(self.agenda.now_ns, cost_us, machine)
        return rounds * (round_ns + self.paths.delay_ns(up[0], machine)) + costs_ns

    def join(self, machine: Machine) -> None:
        """Let a machine ask its neighbours what they have heard."""
        if self.oracle is not None:
            return
        near = self.overlay.connected[machine.index]
        up = [index for index in near if self.machines[index].up]
        for index in up[:JOIN_MAX]:
            found = ins.NeighbourFound(peer_id=self.machines[index].peer_id)
            self.give(machine, found)

    def _gone(self, about: tuple[Machine, int, Machine]) -> None:
        other, boot, machine = about
        if other.boot == boot and not machine.up:
            self.overlay.forsaken(machine.index, other.index)
            self.give(other, ins.PeerGone(peer_id=machine.peer_id))

    def _revive(self, about: tuple[Machine, int]) -> None:
        machine, boot = about
        if machine.up or machine.boot != boot or machine.gone:
            return
        self.boot(machine)
        self.returned(machine)

    def edges(
        self, delay_ns: Callable[[Machine, Machine], int]
    ) -> list[list[tuple[int, int]]]:
        """Return each machine's connections, with what that function says of them."""
        return [
            [
                (other, delay_ns(machine, self.machines[other]))
                for other in self.overlay.connected[machine.index]
            ]
            for machine in self.machines
        ]

    def _make_oracle(self) -> Oracle | None:
        if self.plan.scenario.links.gossip != "oracle":
            return None
        return Oracle(self.agenda, self.edges(self.paths.least_ns))


def _pass(machine: Machine, effect: fx.GrantLogs | rp.StoreLogs) -> None:
    """Let logs be: what a simulated job writes is nothing."""


def _ignore(machine: Machine, news: fx.News) -> None:
    """Stand in until a user listens."""


def _stay(machine: Machine) -> None:
    """Stand in until a user waits for machines that return."""
