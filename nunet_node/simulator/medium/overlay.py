"""Gossip among machines, transmission by transmission, as gossipsub does it.

Each machine keeps a mesh of `DEGREE` of its connections and forwards there, at once
and once, whatever it has not seen; its own messages go to every connection (flood
publishing). At its next heartbeat it tells `LAZY` others that it has the message, and
who has not asks for it; so lost messages arrive late, not never. Source: libp2p's
gossipsub v1.0 and v1.1, with the parameters of `nunet_node.network.libp2p.gossip`.

Rule: a heartbeat costs an event only where there is something to say or to mend.
"""

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, Final

from nunet_node.simulator.medium.links import Paths
from nunet_node.simulator.plan import NS_PER_S, WARM_UP_NS
from nunet_node.simulator.world.agenda import Agenda
from nunet_node.simulator.world.machine import Machine

DEGREE: Final = 6
"""Peers in a mesh, as in production."""

DEGREE_MAX: Final = 12
"""A mesh is pruned to `DEGREE` when it is larger: gossipsub's own figure."""

LAZY: Final = 6
"""Peers outside the mesh that are told what there is."""

HEARTBEAT_NS: Final = NS_PER_S

ID_BYTES: Final = 40
"""What it costs to name one message."""

SEEN_NS: Final = 120 * NS_PER_S
"""How long a message is remembered, so that no late copy of it spreads again."""

MESSAGES_MAX: Final = 200_000
"""Messages remembered in all; at 10 000 machines each costs about 10 KB."""


class Message:
    """One gossiped message, and who has seen it."""

    __slots__ = (
        "arrive",
        "at_ns",
        "data",
        "due",
        "given",
        "lacking",
        "origin",
        "seen",
        "topic",
    )

    def __init__(self, origin: int, topic: str, data: bytes, at_ns: int) -> None:
        self.origin, self.topic, self.data, self.at_ns = origin, topic, data, at_ns
        self.seen = bytearray()
        """By machine, whether it has it; empty once nobody remembers."""
        self.lacking = 0
        """How many machines do not have it."""
        self.due: array[int] = array("q")
        """By machine, when the first copy on its way arrives, or arrived."""
        self.arrive: Callable[[int], None] = _nowhere
        """What a copy's arrival at a machine does."""
        self.given: Any = None
        """What it was opened as, kept by whoever opens it."""


REACHES_MAX: Final = 2_000_000
"""Arrivals whose time is kept for the measures: some 80 MB."""

NEVER_NS: Final = 1 << 62

Deliver = Callable[[Machine, Message], None]


class Overlay:
    """Who is connected with whom, and what travels there."""

    def __init__(
        self, machines: Sequence[Machine], agenda: Agenda, paths: Paths, chance: Random
    ) -> None:
        self._machines = machines
        self._agenda = agenda
        self._paths = paths
        self._chance = chance
        self.deliver: Deliver = _drop
        self.sent = 0
        self.sent_bytes = 0
        self.reach_ns: list[int] = []
        """How long each first copy took, of what was said when all had joined."""
        self.connected: list[list[int]] = [[] for _ in machines]
        self.mesh: list[list[int]] = [[] for _ in machines]
        self._waiting: list[list[Message]] = [[] for _ in machines]
        self._regions = [machine.region for machine in machines]
        self._least_ns = [paths.from_region_ns(region) for region in self._regions]
        self._cost_us = paths.links.gossip_us
        self._never = array("q", [NEVER_NS]) * len(machines)
        self._recent: deque[Message] = deque()

    def connect(self, degree: int) -> None:
        """Connect everybody at random, and choose the meshes."""
        count = len(self._machines)
        wanted = min(count - 1, max(1, degree // 2))
        # One object for each number: a flood looks at them millions of times, and
        # they are to stay near.
        numbers = list(range(count))
        for machine in numbers:
            for other in self._chance.sample(numbers, min(count, wanted + 1)):
                self._join(machine, other)
        for machine in numbers:
            self._mend(machine)

    def publish(self, origin: Machine, topic: str, data: bytes) -> None:
        """Send a machine's own message to all its connections."""
        now_ns, machines = self._agenda.now_ns, len(self._machines)
        message = Message(origin.index, topic, data, now_ns)
        message.seen, message.due = bytearray(machines), self._never[:]
        message.seen[origin.index], message.due[origin.index] = 1, now_ns
        message.lacking = machines - 1
        message.arrive = partial(self._arrive, message)
        self._remember(message)
        self._spread(origin.index, self.connected[origin.index], message)

    def left(self, machine: int, *, silently: bool) -> None:
        """Forget a machine that died.

        Args:
            machine: the one that died.
            silently: its neighbours do not know yet, so whatever they send it goes
                nowhere until each of them gives it up.
        """
        for other in () if silently else self.connected[machine]:
            self.forsaken(machine, other)
        self.mesh[machine] = []

    def forsaken(self, machine: int, other: int) -> None:
        """Let one neighbour that gave a machine up mend its mesh."""
        if machine in self.mesh[other]:
            self.mesh[other].remove(machine)
            self._beat(other)
        if other in self.mesh[machine]:
            self.mesh[machine].remove(other)

    def returned(self, machine: int) -> None:
        """Let a machine that is back find its place again."""
        self._mend(machine)

    def _join(self, one: int, other: int) -> None:
        if one != other and other not in self.connected[one]:
            self.connected[one].append(other)
            self.connected[other].append(one)

    def _mend(self, machine: int) -> None:
        """Fill up a mesh that is too small."""
        mesh = self.mesh[machine]
        if len(mesh) >= DEGREE or not self._machines[machine].up:
            return
        free = [o for o in self.connected[machine] if o not in mesh]
        self._chance.shuffle(free)
        for other in free:
            if len(mesh) >= DEGREE:
                return
            theirs = self.mesh[other]
            # Who has not noticed that it was away has it in its mesh still.
            known = machine in theirs
            if self._machines[other].up and (known or len(theirs) < DEGREE_MAX):
                mesh.append(other)
                theirs.extend([] if known else [machine])

    def _remember(self, message: Message) -> None:
        recent, oldest_ns = self._recent, self._agenda.now_ns - SEEN_NS
        recent.append(message)
        while recent[0].at_ns < oldest_ns or len(recent) > MESSAGES_MAX:
            old = recent.popleft()
            old.seen, old.due, old.given = bytearray(), array("q"), None

    def _spread(self, sender: int, receivers: list[int], message: Message) -> None:
        """Send a message on, wherever it has not come from."""
        if not self._paths.calm:
            self._spread_in_storm(sender, receivers, message)
            return
        # Whose message it is has it, and is not sent it again.
        sent = len(receivers) - (message.origin in receivers)
        self.sent += sent
        self.sent_bytes += sent * len(message.data)
        now_ns, due = self._agenda.now_ns, message.due
        without = [receiver for receiver in receivers if due[receiver] > now_ns]
        if not without:
            return
        enter, arrive, regions = self._agenda.at, message.arrive, self._regions
        jitter, least_ns = self._paths.jitter_ns, self._least_ns[sender]
        for receiver in without:
            due_ns = now_ns + least_ns[regions[receiver]] + jitter()
            # A copy behind another one changes nothing, so it costs no event.
            if due_ns < due[receiver]:
                due[receiver] = due_ns
                enter(due_ns, arrive, receiver)

    def _spread_in_storm(
        self, sender: int, receivers: list[int], message: Message
    ) -> None:
        sent = 0
        for receiver in receivers:
            sent += message.due[receiver] > message.at_ns
            self._risk(sender, receiver, message)
        self.sent += sent
        self.sent_bytes += sent * len(message.data)

    def _risk(self, sender: int, receiver: int, message: Message) -> None:
        """Send one copy over a path that may lose it, or double it."""
        paths, now_ns = self._paths, self._agenda.now_ns
        one, other = self._machines[sender], self._machines[receiver]
        if paths.loses_gossip() or (paths.cuts and not paths.passes(one, other)):
            return
        due_ns = now_ns + paths.delay_ns(one, other)
        if due_ns < message.due[receiver]:
            message.due[receiver] = due_ns
            self._agenda.at(due_ns, message.arrive, receiver)
        if paths.doubles_gossip():
            late_ns = 2 * due_ns - now_ns
            self._agenda.at(late_ns, self._again, (receiver, message))

    def _again(self, about: tuple[int, Message]) -> None:
        """Deliver a copy later, or once more: the node itself has to cope."""
        receiver, message = about
        machine = self._machines[receiver]
        if machine.up and not machine.stalls(self._again, about):
            self.deliver(machine, message)

    def _arrive(self, message: Message, receiver: int) -> None:
        seen = message.seen
        if not seen or seen[receiver]:
            return
        machine = self._machines[receiver]
        if not machine.up:
            message.due[receiver] = NEVER_NS
            return
        if machine.stalled is not None:
            machine.stalls(message.arrive, receiver)
            return
        seen[receiver] = 1
        message.lacking -= 1
        if message.at_ns >= WARM_UP_NS and len(self.reach_ns) < REACHES_MAX:
            self.reach_ns.append(self._agenda.now_ns - message.at_ns)
        self._spread(receiver, self.mesh[receiver], message)
        waiting = self._waiting[receiver]
        waiting.append(message)
        if len(waiting) == 1:
            self._beat(receiver)
        if self._cost_us:
            now_ns, cost_us = self._agenda.now_ns, self._cost_us
            after_ns = self._paths.handled_ns(now_ns, cost_us, machine)
            self._agenda.after(after_ns, self._again, (receiver, message))
        else:
            self.deliver(machine, message)

    def _beat(self, machine: int) -> None:
        """Act at the machine's next heartbeat; each has its own phase."""
        now_ns = self._agenda.now_ns
        phase_ns = machine * 7_919_000 % HEARTBEAT_NS
        due_ns = now_ns - (now_ns - phase_ns) % HEARTBEAT_NS + HEARTBEAT_NS
        self._agenda.at(due_ns, self._heartbeat, machine)

    def _heartbeat(self, machine: int) -> None:
        if self._machines[machine].stalls(self._heartbeat, machine):
            return
        self._mend(machine)
        told, self._waiting[machine] = self._waiting[machine], []
        others = [o for o in self.connected[machine] if o not in self.mesh[machine]]
        if not told or not others or not self._machines[machine].up:
            return
        chosen = self._chance.sample(others, min(LAZY, len(others)))
        self.sent += len(chosen)
        self.sent_bytes += len(chosen) * ID_BYTES * len(told)
        spreading = [message for message in told if message.lacking]
        for other in chosen:
            self._tell(machine, other, spreading)

    def _tell(self, machine: int, other: int, told: list[Message]) -> None:
        """Name what there is; whoever lacks some of it asks and is sent it."""
        one, two = self._machines[machine], self._machines[other]
        paths = self._paths
        if not two.up or paths.loses_gossip() or not paths.joined(one, two):
            return
        for message in told:
            if message.seen and not message.seen[other]:
                self.sent += 1
                self.sent_bytes += ID_BYTES
                asked_ns = paths.delay_ns(one, two) + paths.delay_ns(two, one)
                self._agenda.after(asked_ns, self._wanted, (machine, other, message))

    def _wanted(self, about: tuple[int, int, Message]) -> None:
        sender, receiver, message = about
        if self._machines[sender].stalls(self._wanted, about):
            return
        if message.seen:
            self._spread(sender, [receiver], message)


def _nowhere(machine: int) -> None:
    """Stand in until the message is sent."""


def _drop(machine: Machine, message: Message) -> None:
    """Stand in until somebody listens."""
