"""What happens to the world from outside: the plan's happenings, and their end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from nunet_node.identity.statement import seal, topic_audience
from nunet_node.jobs.specification import Engine
from nunet_node.market.offers import ADVERT, ADVERT_TOPIC, Advert, EngineOffer
from nunet_node.protocol import inputs as ins
from nunet_node.quantities import ResourceVector
from nunet_node.simulator import plan as p
from nunet_node.simulator.medium.sessions import unix_s
from nunet_node.simulator.world.keys import Nonces
from nunet_node.simulator.world.machine import GIB, Act, Machine
from nunet_node.simulator.world.people import People
from nunet_node.simulator.world.world import CRASH_WITHIN_NS, World

SPAM_TTL_S: Final = 60

SPAM_PROMISES: Final = ResourceVector(
    cpu_millis=1_000_000, memory_bytes=4_000 * GIB, disk_bytes=64_000 * GIB
)
"""What spam offers, so that it looks better than every honest advert."""


@dataclass(slots=True, repr=False)
class Trouble:
    """Carries out a plan."""

    world: World
    people: People
    healed: bool = False
    stops: int = 0
    """Processes that were stopped."""
    missed: int = 0
    """Those that somebody gave up before they went on."""
    _forsaken: set[int] = field(default_factory=set)
    """Stopped machines that somebody gave up."""

    def begin(self) -> None:
        """Enter every happening of the plan."""
        acts = self._acts()
        for happening in self.world.plan.happenings:
            act = acts[type(happening)]
            self.world.agenda.at(happening.at_ns, act, happening)
        scenario = self.world.plan.scenario
        spammers = scenario.machines + scenario.faults.spammers
        for machine in self.world.machines[scenario.machines : spammers]:
            spam = (machine, Nonces(machine.name), 1)
            self.world.agenda.at(p.WARM_UP_NS, self._spam, spam)

    def heal(self) -> None:
        """End every fault; who went for good stays away, and liars go on lying."""
        self.healed = True
        world = self.world
        world.paths.healed = True
        world.paths.cuts.clear()
        for twin in world.twins.values():
            self._end_copy(twin)
        for machine in world.machines:
            machine.offset_s, machine.doom = 0, None
            if machine.stalled is not None:
                self._continue(machine)
            world.disk_has_room(machine)
            if machine.provides and machine.up:
                world.give(machine, machine.probed())
            if not machine.up and not machine.gone:
                world.boot(machine)
                world.returned(machine)

    def _acts(self) -> dict[type, Callable[[Any], None]]:
        return {
            p.Placed: self.people.submit,
            p.Cancelled: self.people.cancel,
            p.Crashed: self._crash,
            p.Vanished: self._vanish,
            p.Parted: self._part,
            p.ClockJumped: self._jump,
            p.DiskFilled: self._fill,
            p.Stopped: self._stop,
            p.Copied: self._copy,
            p.EngineLost: self._lose_engine,
        }

    def _crash(self, crash: p.Crashed) -> None:
        machine = self.world.machines[crash.machine]
        if self.healed or not machine.up:
            return
        machine.doom = (crash.step, crash.down_ns, crash.silent)
        about = (machine, machine.boot)
        self.world.agenda.after(CRASH_WITHIN_NS, self._crash_now, about)

    def _crash_now(self, about: tuple[Machine, int]) -> None:
        machine, boot = about
        if machine.up and machine.boot == boot and machine.doom is not None:
            self.world.die(machine)

    def _vanish(self, vanished: p.Vanished) -> None:
        machine = self.world.machines[vanished.machine]
        machine.gone = True
        self.world.kill(machine, silent=True)

    def _part(self, parted: p.Parted) -> None:
        if not self.healed:
            world = self.world
            world.paths.cut(parted, len(world.machines))
            world.wires.break_paths(world.machines)
            world.agenda.after(parted.for_ns, world.paths.mend, parted)

    def _jump(self, jump: p.ClockJumped) -> None:
        machine = self.world.machines[jump.machine]
        if not self.healed:
            machine.offset_s = jump.by_s
            self.world.agenda.after(jump.for_ns, self._set_clock, machine)

    def _set_clock(self, machine: Machine) -> None:
        machine.offset_s = 0

    def _fill(self, filled: p.DiskFilled) -> None:
        machine = self.world.machines[filled.machine]
        if machine.up and not self.healed:
            machine.disk_full = True
            about = (machine, machine.boot)
            self.world.agenda.after(filled.for_ns, self._empty, about)

    def _empty(self, about: tuple[Machine, int]) -> None:
        machine, boot = about
        if machine.up and machine.boot == boot:
            self.world.disk_has_room(machine)

    def _stop(self, stopped: p.Stopped) -> None:
        world = self.world
        machine = world.machines[stopped.machine]
        if self.healed or not machine.up or machine.stalled is not None:
            return
        stalled = machine.stalled = []
        self.stops += 1
        self._forsaken.discard(machine.index)
        about = (machine, stalled)
        for other in world.near(machine):
            notice_ns = world.paths.notice_ns()
            world.agenda.after(notice_ns, self._miss, (*about, other))
        world.agenda.after(stopped.for_ns, self._wake, about)

    def _wake(self, about: tuple[Machine, list[Act]]) -> None:
        machine, stalled = about
        if machine.stalled is stalled:
            self._continue(machine)

    def _continue(self, machine: Machine) -> None:
        self.world.go_on(machine)
        if machine.index in self._forsaken:
            self._forsaken.remove(machine.index)
            self.world.overlay.returned(machine.index)
            self.world.join(machine)

    def _miss(self, about: tuple[Machine, list[Act], Machine]) -> None:
        """Let a peer notice that a process does not answer, if it still does not."""
        machine, stalled, other = about
        if machine.stalled is not stalled or not other.up or other.stalled is not None:
            return
        world = self.world
        if machine.index not in self._forsaken:
            self._forsaken.add(machine.index)
            self.missed += 1
        world.overlay.forsaken(machine.index, other.index)
        world.wires.forsake(machine, other)
        world.give(other, ins.PeerGone(peer_id=machine.peer_id))
        world.give(machine, ins.PeerGone(peer_id=other.peer_id))

    def _copy(self, copied: p.Copied) -> None:
        """Start a copy of a machine's home elsewhere, as it is on disk now."""
        world = self.world
        original, twin = world.machines[copied.machine], world.twins[copied.machine]
        if self.healed or original.gone or twin.copied:
            return
        original.copied = twin.copied = True
        twin.journal = list(original.journal)
        twin.store, twin.copies = set(original.store), set(original.copies)
        world.boot(twin)
        world.returned(twin)

    def _end_copy(self, twin: Machine) -> None:
        """Let somebody find out that a home runs twice, and end the copy of it."""
        twin.gone = True
        self.world.kill(twin, silent=False)

    def _lose_engine(self, lost: p.EngineLost) -> None:
        machine = self.world.machines[lost.machine]
        if not self.healed:
            self.world.give(machine, machine.probed(ready=False))
            self.world.agenda.after(lost.for_ns, self._find_engine, machine)

    def _find_engine(self, machine: Machine) -> None:
        self.world.give(machine, machine.probed())

    def _spam(self, about: tuple[Machine, Nonces, int]) -> None:
        machine, nonces, sequence = about
        world = self.world
        if self.healed:
            return
        now_s = unix_s(machine, world.agenda.now_ns)
        advert = Advert(
            peer_id=machine.peer_id,
            addresses=(),
            sequence=now_s * 1000 + sequence,
            engines=(EngineOffer(engine=Engine.PROCESS, isolation="process"),),
            total=SPAM_PROMISES,
            free=SPAM_PROMISES,
        )
        data = seal(
            advert,
            kind=ADVERT,
            signer=machine.key,
            audience=topic_audience(ADVERT_TOPIC),
            now_s=now_s,
            ttl_s=SPAM_TTL_S,
            nonce=nonces(16),
        )
        world.overlay.publish(machine, ADVERT_TOPIC, data)
        pause_ns = p.NS_PER_S // world.plan.scenario.faults.spam_per_s
        world.agenda.after(pause_ns, self._spam, (machine, nonces, sequence + 1))
