"""Whole peers under virtual time: driver, ledger, stores and streams, on a real disk.

Only three things are make-believe: the hosts are in memory, chance comes from the
seed, and a job is the time that it takes. `virtual_time.run_in_virtual_time` holds the
scheduler; what a peer gives to threads runs inline, so the clock cannot jump past it.
"""

import random
import secrets
from contextlib import asynccontextmanager
from functools import partial
from unittest import mock

import trio

from nunet_node.client import open_client
from nunet_node.executors.local import LocalExecutors
from nunet_node.executors.port import Capability, RunEnd
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.specification import Engine, JobSpec
from nunet_node.network.memory import MemoryNetwork
from nunet_node.quantities import ResourceVector
from nunet_node.runtime import clock
from nunet_node.runtime.home import open_home
from nunet_node.runtime.peer import open_peer
from nunet_node.runtime.settings import PeerSettings, Provide
from tests.runtime_kit import memory_opener
from tests.simulation.virtual_time import START_S, run_in_virtual_time

ROOM = ResourceVector(cpu_millis=2000, memory_bytes=2 << 30, disk_bytes=2 << 30)
RUN_S = 3


class VirtualExecutors(LocalExecutors):
    """Job directories as ever; a run is a pause, and writes what its command says."""

    def __init__(self, scratch, _did):
        super().__init__(scratch, scratch / "cache")
        self.running = set()

    async def prepare(self):
        await trio.lowlevel.checkpoint()

    async def probe(self, *, thorough=False):
        await trio.lowlevel.checkpoint()
        return (
            Capability(engine="process", isolation="process", ready=True, detail=""),
        )

    @asynccontextmanager
    async def warmed(self):
        yield

    async def run(self, order, job_dir, on_started=None, on_log=None):
        on_started()
        self.running.add(order.job)
        try:
            await trio.sleep(RUN_S)
            said = " ".join(order.argv).encode()
            on_log("stdout", said)
            job_dir.stdout_path.write_bytes(said)
        finally:
            self.running.discard(order.job)
        return RunEnd(exit_code=0, isolation="process")


class City:
    """A network in memory, homes on disk, and a record of all news."""

    def __init__(self, top):
        self.top, self.network = top, MemoryNetwork()
        self.began = trio.current_time()
        self.trace, self.backends, self.addresses = [], {}, ()

    @asynccontextmanager
    async def provider(self, name="provider", **changes):
        home = open_home(self.top / name)

        def backend(scratch, did):
            made = self.backends[name] = VirtualExecutors(scratch, did)
            return made

        settings = PeerSettings(
            home=home,
            key=home.node_key(),
            is_node=True,
            provide=Provide(offer=lambda _: ROOM),
            gossip=True,
            bootstrap=self.addresses,
            backend=backend,
            **changes,
        )
        async with self._joined(name, settings) as peer:
            yield peer

    @asynccontextmanager
    async def store(self, name, store_bytes):
        """Run a node that keeps copies, and provides nothing else."""
        home = open_home(self.top / name)
        settings = PeerSettings(
            home=home,
            key=home.node_key(),
            is_node=True,
            gossip=True,
            bootstrap=self.addresses,
            store_bytes=store_bytes,
        )
        async with self._joined(name, settings) as peer:
            yield peer

    @asynccontextmanager
    async def client(self, name="user", **changes):
        """Act for a user of its home, as a command does."""
        async with open_client(
            open_home(self.top / name),
            bootstrap=self.addresses,
            network=memory_opener(self.network),
            **changes,
        ) as client:
            yield client

    @asynccontextmanager
    async def user(self, name="user"):
        home = open_home(self.top / name)
        if "me" not in home.identity_names():
            home.new_identity("me")
        me = home.identity("me")
        settings = PeerSettings(
            home=home,
            key=SigningKey(secrets.token_bytes(32)),
            users={me.did: me.key},
            bootstrap=self.addresses,
        )
        async with self._open(name, settings) as peer:
            await peer.wait_known(10)
            yield peer

    @asynccontextmanager
    async def _joined(self, name, settings):
        async with self._open(name, settings) as peer:
            self.addresses = self.addresses or peer.addresses()
            yield peer

    @asynccontextmanager
    async def _open(self, name, settings):
        async with (
            open_peer(settings, network=memory_opener(self.network)) as peer,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._write_down, name, peer.subscribe())
            yield peer
            nursery.cancel_scope.cancel()

    async def _write_down(self, name, news):
        async for each in news:
            at_s = round(trio.current_time() - self.began, 6)
            self.trace.append((at_s, name, type(each).__name__))


def spec(number):
    return JobSpec(
        name=f"job-{number}",
        engine=Engine.PROCESS,
        command=("work", str(number)),
        resources=ResourceVector(
            cpu_millis=1000, memory_bytes=1 << 20, disk_bytes=1 << 20
        ),
    )


async def ended(peer, job, within_s=10**5):
    with trio.fail_after(within_s):
        while not peer.orders[job].ended:
            await trio.sleep(0.5)
    return peer.orders[job]


def play(story, top, *args, seed):
    """Run a story of a city to its end, the same for the same seed."""
    chance = random.Random(f"peers:{seed}")

    async def main():
        city = City(top)

        def wall_s():
            return START_S + int(trio.current_time() - city.began)

        with mock.patch.object(clock, "_wall_s", wall_s):
            wall = partial(clock.Clock, wall_s)
            with mock.patch("nunet_node.runtime.peer.Clock", wall):
                return await story(city, *args)

    random.seed(seed)
    with (
        mock.patch.object(secrets, "token_bytes", chance.randbytes),
        mock.patch.object(secrets, "token_hex", lambda n: chance.randbytes(n).hex()),
    ):
        return run_in_virtual_time(main, seed=seed)
