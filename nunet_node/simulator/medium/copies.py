"""Copies of results on their way between machines: handed over, audited, let go.

Rule: as with inputs, nothing is taken that a node does not expect from this very
machine, and nothing is read without the leave that it gave.
"""

from collections.abc import Callable
from typing import TypeVar

from nunet_node.protocol import inputs as ins
from nunet_node.protocol.replicas import events as rp
from nunet_node.simulator.medium.links import Paths
from nunet_node.simulator.medium.whereabouts import Whereabouts
from nunet_node.simulator.world.agenda import Agenda
from nunet_node.simulator.world.machine import Machine

_O = TypeVar("_O", rp.DeliverReplica, rp.TakeSample)

Give = Callable[[Machine, ins.Input], None]


class Copies:
    """The copies on all machines."""

    def __init__(
        self,
        agenda: Agenda,
        paths: Paths,
        peers: Whereabouts,
        give: Give,
    ) -> None:
        self._agenda = agenda
        self._paths = paths
        self._peers = peers
        self._give = give

    def expect(self, machine: Machine, order: rp.ExpectReplica) -> None:
        """Note what may be handed over."""
        machine.handing[order.job] = order

    def deliver(self, machine: Machine, order: rp.DeliverReplica) -> None:
        """Carry a result to a holder."""
        self._later(machine, order, self._delivered)

    def sample(self, machine: Machine, order: rp.TakeSample) -> None:
        """Look at a holder's copy."""
        self._later(machine, order, self._sampled)

    def drop(self, machine: Machine, order: rp.DropReplica) -> None:
        """Let go of a copy."""
        machine.copies.discard((order.owner, order.job))

    def drop_result(self, machine: Machine, order: rp.DropResult) -> None:
        """Let go of a result; what a simulated one is made of stays nowhere."""

    def _later(
        self,
        machine: Machine,
        order: _O,
        then: Callable[[tuple[Machine, int, Machine, _O]], None],
    ) -> None:
        other = self._peers.reached(machine, order.peer_id)
        after_ns = 2 * self._paths.delay_ns(machine, other)
        self._agenda.after(after_ns, then, (machine, machine.boot, other, order))

    def _delivered(
        self, about: tuple[Machine, int, Machine, rp.DeliverReplica]
    ) -> None:
        machine, boot, other, order = about
        if not machine.up or machine.boot != boot:
            return
        expected = other.handing.get(order.job) if other.up else None
        given: ins.Input = rp.ReplicaNotDelivered(
            job=order.job, holder=order.holder, reason="it was not expected"
        )
        if expected is not None and (expected.peer_id, expected.root) == (
            machine.peer_id,
            order.root,
        ):
            if not other.traits.forgets:
                other.copies.add((expected.owner, order.job))
            arrived = rp.ReplicaArrived(
                job=order.job, owner=expected.owner, root=order.root
            )
            self._give(other, arrived)
            if other.up and not other.disk_full:
                given = rp.ReplicaDelivered(job=order.job, holder=order.holder)
        self._give(machine, given)

    def _sampled(self, about: tuple[Machine, int, Machine, rp.TakeSample]) -> None:
        machine, boot, other, order = about
        if not machine.up or machine.boot != boot:
            return
        granted = (machine.peer_id, order.root) in other.grants
        here = any(job == order.job for _, job in other.copies)
        fault = "" if granted and here else "it has no block"
        taken = rp.SampleTaken(
            job=order.job,
            holder=order.holder,
            fault=fault if other.up else "it is gone",
            silent=not other.up,
        )
        self._give(machine, taken)
