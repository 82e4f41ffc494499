"""Inputs and results on their way: bytes as time, under the leave that nodes give.

Rule: nothing is served without the grant that the node gave to this very peer, and
no input is taken that the node does not expect.
"""

from collections.abc import Callable

from nunet_node.jobs.specification import JobId
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.simulator.medium.links import Paths
from nunet_node.simulator.medium.whereabouts import Whereabouts
from nunet_node.simulator.world.agenda import Agenda
from nunet_node.simulator.world.machine import Machine

Give = Callable[[Machine, ins.Input], None]


class Transfers:
    """The block streams of all machines."""

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
        self.bytes = 0

    def expect(self, machine: Machine, order: fx.ExpectInputs) -> None:
        """Note what may come; what is there already has arrived."""
        machine.expecting[order.job] = order
        if order.root in machine.store:
            arrived = ins.InputsArrived(job=order.job, attempt=order.attempt)
            about = (machine, machine.boot, arrived)
            self._agenda.after(0, self._arrive, about)

    def deliver(self, machine: Machine, order: fx.DeliverInputs) -> None:
        """Carry a job's inputs to its provider."""
        other = self._peers.reached(machine, order.peer_id)
        expected = other.expecting.get(order.job)
        size = expected.bytes_max if expected is not None else 0
        there_ns = self._paths.delay_ns(machine, other)
        after_ns = 2 * there_ns + self._paths.transfer_ns(size)
        about = (machine, machine.boot, order, other, other.boot)
        self._agenda.after(after_ns, self._delivered, about)

    def grant(self, machine: Machine, order: fx.GrantRead) -> None:
        """Let a peer read a result while it is connected."""
        machine.grants.add((order.peer_id, order.root))

    def end_grants(self, machine: Machine, order: fx.EndGrants) -> None:
        """Take back whatever a peer may read."""
        machine.grants = {g for g in machine.grants if g[0] != order.peer_id}

    def broken(self, machine: Machine) -> None:
        """End the leave that a dead machine had anywhere."""
        for link in machine.sessions.values():
            other, _ = link.other(machine)
            other.grants = {g for g in other.grants if g[0] != machine.peer_id}
            other.expecting = {
                job: order
                for job, order in other.expecting.items()
                if order.peer_id != machine.peer_id
            }

    def fetch(
        self,
        machine: Machine,
        told: fx.ReadGranted,
        size: int,
        done: Callable[[Machine, JobId, bool], None],
    ) -> None:
        """Fetch a result; call ``done`` with whether all of it came."""
        other = self._peers.reached(machine, told.peer_id)
        after_ns = 2 * self._paths.delay_ns(machine, other)
        after_ns += self._paths.transfer_ns(size)
        about = (machine, machine.boot, other, told, size, done)
        self._agenda.after(after_ns, self._fetched, about)

    def _delivered(
        self, about: tuple[Machine, int, fx.DeliverInputs, Machine, int]
    ) -> None:
        machine, boot, order, other, other_boot = about
        if any(end.stalls(self._delivered, about) for end in (machine, other)):
            return
        if not machine.up or machine.boot != boot:
            return
        expected = other.expecting.get(order.job)
        held = other.up and other.boot == other_boot and expected is not None
        joined = self._paths.joined(machine, other)
        if not held or not joined or not _hand_over(machine, other, expected):
            failed = ins.InputsNotDelivered(
                job=order.job, attempt=order.attempt, reason="the connection was lost"
            )
            self._give(machine, failed)
            return
        self.bytes += expected.bytes_max if expected is not None else 0
        arrived = ins.InputsArrived(job=order.job, attempt=order.attempt)
        self._give(other, arrived)
        if other.up and other.boot == other_boot and not other.disk_full:
            done: ins.Input = ins.InputsDelivered(job=order.job, attempt=order.attempt)
        else:
            done = ins.InputsNotDelivered(
                job=order.job, attempt=order.attempt, reason="it could not keep them"
            )
        about_end = (machine, boot, done)
        self._agenda.after(
            self._paths.delay_ns(other, machine), self._arrive, about_end
        )

    def _fetched(
        self,
        about: tuple[
            Machine,
            int,
            Machine,
            fx.ReadGranted,
            int,
            Callable[[Machine, JobId, bool], None],
        ],
    ) -> None:
        machine, boot, other, told, size, done = about
        if any(end.stalls(self._fetched, about) for end in (machine, other)):
            return
        if not machine.up or machine.boot != boot:
            return
        granted = (machine.peer_id, told.receipt.result) in other.grants
        served = other.up and granted and self._paths.joined(machine, other)
        served = served and not other.traits.withholds
        self.bytes += size if served else 0
        done(machine, told.job, served)

    def _arrive(self, about: tuple[Machine, int, ins.Input]) -> None:
        machine, boot, given = about
        if machine.boot == boot:
            self._give(machine, given)


def _hand_over(
    machine: Machine, other: Machine, expected: fx.ExpectInputs | None
) -> bool:
    if expected is None or expected.peer_id != machine.peer_id:
        return False
    other.store.add(expected.root)
    return True
