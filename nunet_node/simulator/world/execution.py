"""What a machine does with jobs and bytes: runs, results and transfers, in time.

Nothing is computed: a job is the time that it takes and the code that it ends with,
which its own words say. A result is the content id of what an honest run would have
left, so that a lie shows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nunet_node.jobs.specification import JobId, JobSpec
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.simulator.medium.links import Paths
from nunet_node.simulator.plan import NS_PER_MS, NS_PER_S
from nunet_node.simulator.world.agenda import Agenda
from nunet_node.simulator.world.machine import Machine
from nunet_node.wire.cid import Cid

START_NS: Final = 12 * NS_PER_MS
"""From the order to start until the first process runs: a sandbox and a spawn, as
measured beside real processes (`docs/calibration.md`)."""

KILL_NS: Final = 20 * NS_PER_MS
"""Until a process tree is gone."""

STORE_NS: Final = 12 * NS_PER_MS
"""Collecting and syncing a small result."""

Give = Callable[[Machine, ins.Input], None]


def honest_result(job: JobId) -> Cid:
    """Return what an honest run of this job leaves."""
    return Cid.of_raw(f"the result of {job}".encode())


@dataclass(frozen=True, slots=True)
class Execution:
    """The executors and stores of every machine."""

    agenda: Agenda
    paths: Paths
    give: Give
    result_bytes: int

    def start(self, machine: Machine, order: fx.StartJob) -> None:
        """Run a job: it starts, it ends by itself or by its time limit."""
        machine.running[order.job] = order
        begun_ns = START_NS * machine.traits.slow_times + self._handled_ns(machine)
        started = ins.JobStarted(job=order.job, attempt=order.attempt)
        self._later(machine, begun_ns, order, started)
        run_ns, exit_code = _words(order.spec)
        run_ns *= machine.traits.slow_times
        limit_ns = order.spec.timeouts.run_s * NS_PER_S
        over = run_ns > limit_ns
        exited = ins.JobExited(
            job=order.job,
            attempt=order.attempt,
            exit_code=None if over else exit_code or int(machine.traits.overstates),
            limit="wall" if over else "",
            isolation="process",
            cpu_ms=min(run_ns, limit_ns) // NS_PER_MS,
        )
        self._later(machine, begun_ns + min(run_ns, limit_ns), order, exited)

    def stop(self, machine: Machine, order: fx.StopJob) -> None:
        """Kill a job, if it runs."""
        running = machine.running.pop(order.job, None)
        if running is None:
            return
        exited = ins.JobExited(
            job=order.job, attempt=order.attempt, exit_code=None, limit="cancelled"
        )
        about = (machine, machine.boot, exited)
        self.agenda.after(KILL_NS, self._arrive, about)

    def store(self, machine: Machine, order: fx.StoreResult) -> None:
        """Store what a job left, or what a liar says that it left."""
        machine.storing[order.job] = order
        root = honest_result(order.job)
        if machine.traits.lies:
            root = Cid.of_raw(root.to_bytes() + machine.name.encode())
        stored = ins.ResultStored(
            job=order.job,
            attempt=order.attempt,
            root=root,
            size_bytes=self.result_bytes,
        )
        about = (machine, machine.boot, order, stored)
        self.agenda.after(STORE_NS + self._handled_ns(machine), self._stored, about)

    def discard(self, machine: Machine, order: fx.DiscardScratch) -> None:
        """Forget what a job left, and end its storing."""
        machine.storing.pop(order.job, None)

    def _handled_ns(self, machine: Machine) -> int:
        """Return what the processors need for it, if they are shared."""
        cost_us = self.paths.links.start_us
        return self.paths.handled_ns(self.agenda.now_ns, cost_us, machine)

    def _later(
        self, machine: Machine, after_ns: int, order: fx.StartJob, given: ins.Input
    ) -> None:
        about = (machine, machine.boot, order, given)
        self.agenda.after(after_ns, self._ran, about)

    def _ran(self, about: tuple[Machine, int, fx.StartJob, ins.Input]) -> None:
        machine, boot, order, given = about
        if machine.stalls(self._ran, about):
            return
        if machine.boot != boot or machine.running.get(order.job) is not order:
            return
        if isinstance(given, ins.JobExited):
            del machine.running[order.job]
        self.give(machine, given)

    def _stored(self, about: tuple[Machine, int, fx.StoreResult, ins.Input]) -> None:
        machine, boot, order, given = about
        if machine.stalls(self._stored, about):
            return
        if machine.boot == boot and machine.storing.get(order.job) is order:
            del machine.storing[order.job]
            self.give(machine, given)

    def _arrive(self, about: tuple[Machine, int, ins.Input]) -> None:
        machine, boot, given = about
        if machine.boot == boot:
            self.give(machine, given)


def job_words(run_ms: int, exit_code: int) -> tuple[str, ...]:
    """Return the command of a job that takes so long and ends so."""
    return ("work", str(run_ms), str(exit_code))


def _words(spec: JobSpec) -> tuple[int, int]:
    _, run_ms, exit_code = spec.command
    return int(run_ms) * NS_PER_MS, int(exit_code)
