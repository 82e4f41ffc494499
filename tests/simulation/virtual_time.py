"""The real shell under virtual time: driver, timers and sessions on hosts in memory.

Trio's mock clock alone is not deterministic, because trio turns each batch of runnable
tasks around by the throw of a coin. `run_in_virtual_time` is the one place that touches
the private hook by which that coin is seeded; it fails loudly if trio moves it. Seeds
then also explore schedules. A thread would let the clock jump while it runs, so what
the shell gives to threads runs inline here.
"""

import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

import trio
import trio._core._run as scheduling
import trio.testing

from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.jobs.specification import Engine, JobSpec, job_id_of
from nunet_node.market.offers import EngineOffer
from nunet_node.network.memory import MemoryNetwork
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.node import Node, NodeSettings
from nunet_node.protocol.opening import open_frame
from nunet_node.quantities import ResourceVector
from nunet_node.runtime.clock import Clock
from nunet_node.runtime.driver import Driver
from nunet_node.runtime.exchange.control import Sessions
from nunet_node.simulator.world.keys import Nonces
from nunet_node.storage.errors import LedgerUnwritableError
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record

START_S = 1_700_000_000

_in_thread = trio.to_thread.run_sync


async def _inline(work, *args, **_):
    await trio.lowlevel.checkpoint()
    return work(*args)


def run_in_virtual_time(main: Callable, *args, seed: int):
    """Run an async function to its end, the same for the same seed."""
    assert hasattr(scheduling, "_ALLOW_DETERMINISTIC_SCHEDULING")
    assert hasattr(scheduling, "_r")
    clock = trio.testing.MockClock(autojump_threshold=0)
    with (
        mock.patch.object(scheduling, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        mock.patch.object(trio.to_thread, "run_sync", _inline),
    ):
        scheduling._r.seed(seed)
        return trio.run(main, *args, clock=clock)


@contextmanager
def real_time():
    """Let time pass by itself and threads be threads, for what needs both to end.

    A result is written while its blocks come. What follows is no longer the same for
    the same seed.
    """
    clock = trio.lowlevel.current_clock()
    clock.autojump_threshold, clock.rate = math.inf, 1.0
    try:
        with mock.patch.object(trio.to_thread, "run_sync", _in_thread):
            yield
    finally:
        clock.autojump_threshold, clock.rate = 0, 0.0


@dataclass
class Journal:
    """A disk that takes everything, or nothing while it is full."""

    facts: list = field(default_factory=list)
    full: bool = False

    def append(self, facts):
        if self.full:
            raise LedgerUnwritableError("no space left")
        self.facts += facts

    def relieve(self):
        return False

    def has_room(self):
        return True

    def is_writable(self):
        return not self.full


class Shell:
    """One node in its real shell; only its jobs are make-believe."""

    def __init__(
        self, network: MemoryNetwork, name: str, trace: list, *, cpus: int = 0
    ):
        self.key = SigningKey(name.encode().ljust(32, b"-"))
        self.user = SigningKey(f"user of {name}".encode().ljust(32, b"-"))
        self.peer_id = peer_id_of(self.key.did)
        self.network, self.name, self.trace, self.cpus = network, name, trace, cpus
        self.journal = Journal()
        self.boots = 0
        self.run_s = 3.0

    async def live(self, others=(), *, task_status=trio.TASK_STATUS_IGNORED):
        """Run until cancelled; each call is a new process with the old journal."""
        self.boots += 1
        self.node = Node(
            NodeSettings(
                signer=self.key,
                peer_id=self.peer_id,
                users={self.user.did: self.user},
                provides=self.cpus > 0,
                price_micro_ntx=0,
                boot=self.boots.to_bytes(16, "big"),
                nonce=Nonces(f"{self.name}:{self.boots}"),
            )
        )
        for fact in self.journal.facts:
            self.node.apply(fact)
        async with (
            self.network.open_host(self.peer_id) as host,
            trio.open_nursery() as tasks,
        ):
            self.clock = Clock(lambda: START_S + int(trio.current_time() - self.began))
            self.began = trio.current_time()
            self.driver = Driver(self.node, self.journal, self.clock)
            self.tasks = tasks
            self.sessions = Sessions(
                host, self.driver.post, self._open, self._addresses, tasks
            )
            self.sessions.serve()
            tasks.start_soon(self.driver.run, self._perform)
            await self._introduce(host, others)
            task_status.started()

    async def _introduce(self, host, others):
        post = self.driver.post
        await post(ins.AddressesChanged(addresses=tuple(host.addresses())))
        if self.cpus:
            total = ResourceVector(
                cpu_millis=self.cpus * 1000, memory_bytes=8 << 30, disk_bytes=8 << 30
            )
            offer = EngineOffer(engine=Engine.PROCESS, isolation="process")
            await post(ins.CapacityProbed(total=total, engines=(offer,)))
        await post(ins.NodeStarted())
        for other in others:
            await host.connect(other)
        for peer in sorted(host.connected_peers()):
            await post(ins.NeighbourFound(peer_id=peer))

    async def submit(self, number: int):
        spec = JobSpec(
            name=f"job-{number}",
            engine=Engine.PROCESS,
            command=("true",),
            resources=ResourceVector(
                cpu_millis=1000, memory_bytes=1 << 20, disk_bytes=1 << 20
            ),
        )
        salt = number.to_bytes(16, "big")
        job = job_id_of(self.user.did, Cid.of_dag_cbor(encode_record(spec)), salt)
        await self.driver.tell(ins.OrderWanted(job=job, spec=spec, salt=salt))
        return job

    async def ended(self, job, within_s=600):
        with trio.fail_after(within_s):
            while not self.node.orders[job].ended:
                await trio.sleep(0.5)
        return self.node.orders[job]

    def _open(self, session, data, documents):
        opened = open_frame(
            session,
            data,
            now_s=self.clock.now().unix_s,
            audiences={self.key.did, self.user.did},
            own_did=self.key.did,
            documents=documents,
        )
        what = type(getattr(opened, "body", opened)).__name__
        self.trace.append((round(trio.current_time() - self.began, 6), self.name, what))
        return opened

    async def _addresses(self, peer_id, known):
        return known

    def _perform(self, effect):
        match effect:
            case fx.OpenSession():
                self.sessions.open(effect)
            case fx.CloseSession():
                self.sessions.close(effect)
            case fx.Send():
                self.sessions.send(effect)
            case fx.SetTimer():
                self.driver.timers.set(effect.name, effect.at_ns)
            case fx.CancelTimer():
                self.driver.timers.cancel(effect.name)
            case fx.StartJob():
                self.tasks.start_soon(self._run, effect)
            case fx.StoreResult():
                self.tasks.start_soon(self._store, effect)
            case fx.Tell():
                self.driver.publish(effect.news)
            case _:
                pass

    async def _run(self, order):
        post = self.driver.post
        await post(ins.JobStarted(job=order.job, attempt=order.attempt))
        await trio.sleep(self.run_s)
        await post(ins.JobExited(job=order.job, attempt=order.attempt, exit_code=0))

    async def _store(self, order):
        root = Cid.of_raw(order.job.encode())
        await self.driver.post(
            ins.ResultStored(
                job=order.job, attempt=order.attempt, root=root, size_bytes=1
            )
        )
