"""The limits of a provider's tables, checked from outside at everything it takes.

Rule: as in the promises, the books are made from facts alone. A limit for each owner
holds one name back, and the limit of the queue all names together; who comes with many
names is held back by the second alone, unless the provider asks who admits them.
"""

from collections import Counter
from typing import Final

from nunet_node.identity.did import Did
from nunet_node.jobs.lifecycle import HOLDING, is_final
from nunet_node.jobs.scheduler import QUEUE_MAX, QUEUE_PER_OWNER_MAX
from nunet_node.protocol import facts as ft
from nunet_node.protocol.inputs import Input
from nunet_node.protocol.provider.submission import JOBS_KEPT_MAX
from nunet_node.protocol.turn import Batch
from nunet_node.simulator.watch.promises import BrokenPromiseError
from nunet_node.simulator.world.machine import Machine

KNOWN: Final = "L1"
"""The name of this promise in the list."""


class Limits:
    """A watcher that raises as soon as a provider takes more than it may."""

    idle_too = False

    def __init__(self) -> None:
        self._kept: dict[int, dict[str, Did]] = {}
        """The owner of each job that a machine has in its ledger."""
        self._waiting: dict[int, dict[str, Did]] = {}
        """The owner of each job that waits at a machine."""
        self.longest = 0
        """The longest queue that was seen at one machine."""

    def turned(self, now_ns: int, machine: Machine, given: Input, batch: Batch) -> None:
        """Check one turn.

        Raises:
            BrokenPromiseError: a table of the machine is longer than it may be.
        """
        del given
        for fact in batch.facts:
            if isinstance(fact, ft.JobAccepted | ft.JobMoved | ft.JobForgotten):
                self._note(machine, fact)
            if isinstance(fact, ft.JobAccepted):
                why = self._why_too_many(machine, fact.owner)
                if why:
                    said = f"{machine.name} took {fact.job}, and has {why}"
                    raise BrokenPromiseError(KNOWN, now_ns, said)

    def booted(self, now_ns: int, machine: Machine) -> None:
        """Note what a copied home has; else what was kept is kept."""
        del now_ns
        if machine.original is not None and machine.is_new_copy:
            for table in (self._kept, self._waiting):
                table[machine.index] = dict(table.get(machine.original.index, {}))

    def _note(
        self, machine: Machine, fact: ft.JobAccepted | ft.JobMoved | ft.JobForgotten
    ) -> None:
        kept = self._kept.setdefault(machine.index, {})
        waiting = self._waiting.setdefault(machine.index, {})
        if isinstance(fact, ft.JobAccepted):
            kept[fact.job] = waiting[fact.job] = fact.owner
            self.longest = max(self.longest, len(waiting))
        elif isinstance(fact, ft.JobForgotten):
            kept.pop(fact.job, None)
        elif fact.state in HOLDING or is_final(fact.state):
            waiting.pop(fact.job, None)
        elif fact.job in kept:
            waiting[fact.job] = kept[fact.job]

    def _why_too_many(self, machine: Machine, owner: Did) -> str:
        waiting = self._waiting[machine.index]
        of_owner = Counter(waiting.values())[owner]
        kept = len(self._kept[machine.index])
        if of_owner > QUEUE_PER_OWNER_MAX:
            return f"{of_owner} jobs of one owner waiting"
        if len(waiting) > QUEUE_MAX:
            return f"{len(waiting)} jobs waiting"
        return f"{kept} jobs in its ledger" if kept > JOBS_KEPT_MAX else ""
