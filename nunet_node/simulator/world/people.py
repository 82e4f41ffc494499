"""What the users at the machines do: submit, cancel, wait, and fetch.

A user's program that lost its node takes its orders up again when the node is back,
as `nunet-node wait` does; a result that cannot be had now is asked for again.
"""

from dataclasses import dataclass, field
from typing import Final

from nunet_node.identity.did import Did
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import (
    Engine,
    JobId,
    JobSpec,
    Retry,
    RetryCause,
    Timeouts,
    job_id_of,
)
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.order import Order
from nunet_node.protocol.replicas.choosing import NEAREST_MAX, nearest
from nunet_node.protocol.replicas.events import ReplicaWanted
from nunet_node.quantities import ResourceVector
from nunet_node.simulator.plan import NS_PER_S, Cancelled, Placed
from nunet_node.simulator.scenario import Work
from nunet_node.simulator.world.execution import honest_result, job_words
from nunet_node.simulator.world.machine import GIB, Machine
from nunet_node.simulator.world.strangers import Strangers
from nunet_node.simulator.world.world import World
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record

READ_AGAIN_NS: Final = 10 * NS_PER_S
"""Pause before a result is asked for again."""

READS_MAX: Final = 60
"""Times that a result is asked for: ten minutes, and whoever withholds it that long
will not give it."""


@dataclass(slots=True, repr=False)
class People:
    """The users of all machines."""

    world: World
    placed: dict[int, tuple[Machine, JobId]] = field(default_factory=dict)
    """Each job by its number: whose it is."""
    placed_ns: dict[JobId, int] = field(default_factory=dict)
    fetched: dict[JobId, Cid] = field(default_factory=dict)
    """The results that arrived, whole."""
    withheld: set[JobId] = field(default_factory=set)
    _reads: dict[JobId, int] = field(default_factory=dict)
    _strangers: Strangers = field(init=False)

    def __post_init__(self) -> None:
        world = self.world
        self._strangers = Strangers(world.machines, world.agenda, world.give)

    def submit(self, wanted: Placed) -> None:
        """Submit a job, unless the machine is down."""
        world = self.world
        scenario = world.plan.scenario
        machine = world.machines[scenario.fleet.providers + wanted.submitter]
        if not machine.up:
            return
        owner = list(machine.users)[wanted.user]
        spec = _spec(scenario.work, wanted)
        salt = wanted.number.to_bytes(16, "big")
        job = job_id_of(owner, Cid.of_dag_cbor(encode_record(spec)), salt)
        self.placed[wanted.number] = (machine, job)
        self.placed_ns.setdefault(job, world.agenda.now_ns)
        self._order(machine, owner, job, (spec, salt))

    def cancel(self, wanted: Cancelled) -> None:
        """Cancel a job, if it was submitted and its machine is up."""
        machine, job = self.placed.get(wanted.number, (None, None))
        if machine is not None and job is not None and machine.up:
            self.world.give(machine, ins.CancelWanted(job=job))

    def told(self, machine: Machine, news: fx.News) -> None:
        """Act on news as a waiting user does."""
        if type(news) is fx.ProviderHeard:
            return
        match news:
            case fx.OrderChanged(notice=notice) if notice is not None:
                if notice.state is State.COMPLETED:
                    self._read(machine, news.job)
            case fx.OrderAccepted():
                self._strangers.accepted(machine, news.job, Did(news.provider))
            case fx.ReadGranted():
                size = news.receipt.result_bytes
                self.world.transfers.fetch(machine, news, size, self._fetched)
            case (
                fx.ProviderUnreachable()
                | fx.CommandRefused(command="/nunet/result/read")
            ):
                self._read_later(machine, news.job)
            case _:
                pass

    def returned(self, machine: Machine) -> None:
        """Take everything up again at a machine that is back."""
        for job, order in list(machine.node.orders.items()):
            unsure = order.cancel_wanted and order.confirmation is None
            if not (order.ended or order.spec is None) or unsure:
                self.world.give(machine, ins.FollowWanted(job=job))
            elif order.state is State.COMPLETED and job not in self.fetched:
                self._read(machine, job)

    def _order(
        self, machine: Machine, owner: Did, job: JobId, work: tuple[JobSpec, bytes]
    ) -> None:
        wanted = ins.OrderWanted(job=job, spec=work[0], salt=work[1], owner=owner)
        self.world.give(machine, wanted)

    def _read(self, machine: Machine, job: JobId) -> None:
        reads = self._reads.get(job, 0)
        self._reads[job] = reads + 1
        if reads < READS_MAX:
            about = (machine, machine.boot, job)
            self.world.agenda.after(0, self._ask, about)
        else:
            self.withheld.add(job)

    def _ask(self, about: tuple[Machine, int, JobId]) -> None:
        machine, boot, job = about
        order = machine.node.orders.get(job) if machine.boot == boot else None
        if order is not None and machine.up and job not in self.fetched:
            self.world.give(machine, self._reading(machine, order))

    def _reading(self, machine: Machine, order: Order) -> ins.Input:
        """Ask the provider, and the nodes that may have a copy, in turn."""
        reads = self._reads.get(order.job, 0)
        if not order.spec or not order.spec.replicas or reads % 2:
            return ins.ReadWanted(job=order.job)
        offers = (
            heard
            for heard in machine.node.adverts.fresh(self.world.now(machine).unix_s)
            if heard.payload.store_bytes
        )
        holders = nearest(order.job, offers, NEAREST_MAX)
        if not holders:
            return ins.ReadWanted(job=order.job)
        heard = holders[reads // 2 % len(holders)]
        return ReplicaWanted(
            job=order.job,
            holder=heard.issuer,
            peer_id=heard.payload.peer_id,
            addresses=heard.payload.addresses,
        )

    def _read_later(self, machine: Machine, job: JobId) -> None:
        order = machine.node.orders.get(job)
        if order is None or order.state is not State.COMPLETED:
            return
        if job not in self.fetched:
            about = (machine, machine.boot, job)
            self.world.agenda.after(READ_AGAIN_NS, self._again, about)

    def _again(self, about: tuple[Machine, int, JobId]) -> None:
        machine, boot, job = about
        if machine.up and machine.boot == boot and job not in self.fetched:
            self._read(machine, job)

    def _fetched(self, machine: Machine, job: JobId, whole: bool) -> None:  # noqa: FBT001 - called back
        order = machine.node.orders[job]
        if not whole or order.result is None:
            self._read_later(machine, job)
            return
        self.fetched[job] = order.result
        path = "right" if order.result == honest_result(job) else "wrong"
        self.world.give(machine, ins.ResultWritten(job=job, path=path))


def _spec(work: Work, wanted: Placed) -> JobSpec:
    # Every job has inputs of its own, so that none are there already.
    inputs = Cid.of_raw(f"the inputs of {wanted.number}".encode())
    return JobSpec(
        name=f"job-{wanted.number}",
        engine=Engine.PROCESS,
        command=job_words(wanted.run_ms, wanted.exit_code),
        resources=ResourceVector(
            cpu_millis=wanted.cpus * 1000,
            memory_bytes=wanted.cpus * GIB,
            disk_bytes=wanted.cpus * 8 * GIB,
        ),
        inputs=inputs if wanted.has_inputs else None,
        inputs_bytes=work.inputs_bytes if wanted.has_inputs else 0,
        timeouts=Timeouts(run_s=work.run_s_max, queue_s=work.queue_s),
        retry=Retry(
            attempts=work.attempts,
            on=(RetryCause.LOST,),
        ),
        price_micro_ntx_max=work.price_micro_ntx_max,
        replicas=work.replicas,
        retention_s=work.retention_s,
    )
