"""Submitting peers that ask for others' jobs: to read them, and to end them.

They know what a link tells, which is no secret, and command with keys of their own;
so all that is between them and the job is that the provider asks who commands.
"""

from collections.abc import Callable
from typing import Final

from nunet_node.identity.did import Did
from nunet_node.jobs.specification import JobId
from nunet_node.protocol import inputs as ins
from nunet_node.simulator.plan import NS_PER_S
from nunet_node.simulator.world.agenda import Agenda
from nunet_node.simulator.world.machine import Machine

Give = Callable[[Machine, ins.Input], None]

FIRST_NS: Final = NS_PER_S
"""From the acceptance of a job until a stranger asks for it."""

AGAIN_NS: Final = 20 * NS_PER_S
"""Until it asks again: what was queued may run by then, and what ran have a result."""

TIMES: Final = 3
"""How often one job is asked for."""


class Strangers:
    """Everybody who asks for what is not theirs."""

    def __init__(self, machines: list[Machine], agenda: Agenda, give: Give) -> None:
        self._agenda = agenda
        self._give = give
        self._machines = {each.did: each for each in machines if not each.original}
        self._prying = [machine for machine in machines if machine.traits.pries]
        self._jobs: set[JobId] = set()

    def accepted(self, machine: Machine, job: JobId, provider: Did) -> None:
        """Let a stranger hear of somebody's job, the first time that it is accepted."""
        if job in self._jobs or not self._prying:
            return
        stranger = self._prying[len(self._jobs) % len(self._prying)]
        self._jobs.add(job)
        if stranger is not machine:
            about = (stranger, job, provider, TIMES)
            self._agenda.after(FIRST_NS, self._ask, about)

    def _ask(self, about: tuple[Machine, JobId, Did, int]) -> None:
        stranger, job, provider, times = about
        custodian = self._machines[provider]
        link = ins.CustodianNamed(
            job=job, provider=provider, peer_id=custodian.peer_id, addresses=()
        )
        for wish in (link, ins.ReadWanted(job=job), ins.LogsWanted(job=job)):
            self._give(stranger, wish)
        self._give(stranger, ins.CancelWanted(job=job))
        if times > 1:
            self._agenda.after(AGAIN_NS, self._ask, (*about[:3], times - 1))
