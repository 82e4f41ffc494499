"""A whole peer: the node, its driver and everything that it drives.

`open_peer` is the one place where the parts meet. A submitting command opens a peer
for as long as it works; `nunet-node up` opens one that provides, gossips and looks
after the orders of its home. Rule: nothing here decides; effects are handed to the
part that carries them out, and what happens comes back as an input.
"""

import contextlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final

import trio

from nunet_node.executors.port import Executors
from nunet_node.identity.did import VOUCHED, Did
from nunet_node.identity.keys import Signer
from nunet_node.jobs.secrets import SecretSource
from nunet_node.jobs.specification import SALT_BYTES, JobId, JobSpec
from nunet_node.market.table import AdvertTable
from nunet_node.network.opening import open_host
from nunet_node.network.port import Host, HostSettings, lone_error
from nunet_node.protocol.effects import Drained, News
from nunet_node.protocol.inputs import (
    AddressesChanged,
    AdvertsHeard,
    DrainBegan,
    Input,
    NodeStarted,
)
from nunet_node.protocol.node import Node
from nunet_node.protocol.opening import open_revocations
from nunet_node.protocol.order import Order
from nunet_node.protocol.provider.custody import Job
from nunet_node.runtime.clock import Clock
from nunet_node.runtime.driver import Driver
from nunet_node.runtime.exchange.fetching import Transfers
from nunet_node.runtime.exchange.neighbours import Joined, Neighbours
from nunet_node.runtime.home import RunningNode
from nunet_node.runtime.ledger import Ledger
from nunet_node.runtime.naming.documents import WebDocuments
from nunet_node.runtime.naming.frames import Frames
from nunet_node.runtime.orders import Orders
from nunet_node.runtime.settings import (
    PeerSettings,
    addresses,
    bootstrap,
    executors,
    host_settings,
    listen_hosts,
    node_settings,
)
from nunet_node.runtime.store.upkeep import DiskCare
from nunet_node.runtime.wallet import tokens
from nunet_node.runtime.wallet.keyring import Keyring
from nunet_node.runtime.wallet.reading import may_use
from nunet_node.runtime.wallet.secrets import Unsealer
from nunet_node.runtime.work.custody import Custody, LogHeads
from nunet_node.runtime.work.scratch import held_scratch, sweep_others
from nunet_node.runtime.world import Surroundings, World
from nunet_node.storage.blocks import BlockStore
from nunet_node.storage.lock import exclusive
from nunet_node.storage.read_tree import Source
from nunet_node.wire.cid import Cid

GOODBYE_S: Final = 0.5
"""How long the last frames and adverts of a drained node get to leave."""

KILL_S: Final = 20
"""How long killing and storing may take after the grace is over; then a crash is
simulated, which the next start recovers from."""

OpenNetwork = Callable[[HostSettings], AbstractAsyncContextManager[Host]]

_log = logging.getLogger("nunet_node.runtime.peer")


class Peer:
    """An open peer; `open_peer` makes it."""

    def __init__(
        self,
        settings: PeerSettings,
        host: Host,
        ledger: Ledger,
        store: BlockStore,
        custody: Custody | None,
        tasks: trio.Nursery,
    ) -> None:
        self._settings = settings
        self._host = host
        self._keys = Keyring(settings.users.values())
        self.holdings = tokens.holdings(settings.home)
        self.node = Node(node_settings(settings, self._keys.users, self.holdings))
        self.driver = Driver(self.node, ledger, Clock())
        self._orders = Orders(settings.home, ledger, self.driver, self.node, tasks)
        self._neighbours = Neighbours(
            host,
            bootstrap(settings),
            self.driver.post,
            self._peer_gone,
            self.node.adverts,
            self.driver.clock,
        )
        self.executors = executors(settings) if settings.is_node else None
        web = WebDocuments(settings.web, tasks) if settings.web is not None else None
        around = Surroundings(
            host=host,
            store=store,
            node=self.node,
            driver=self.driver,
            frames=Frames(self.did, self._audiences, self.driver.clock, web),
            executors=self.executors,
            gossip=settings.gossip,
            neighbours=self._neighbours,
            custody=custody,
            unsealer=Unsealer(settings.key),
            bitswap=settings.bitswap,
            keys=self._keys,
            changed=self._orders.changed,
        )
        self._world = World(around, tasks)
        self._custody, self._store = custody, store
        self._tasks = tasks
        for fact in ledger.provider_facts():
            self.node.apply(fact)

    @property
    def did(self) -> Did:
        """The peer's own DID."""
        return self._settings.key.did

    @property
    def peer_id(self) -> str:
        """The peer's id on the network."""
        return self._host.peer_id

    @property
    def orders(self) -> Mapping[JobId, Order]:
        """The orders that were loaded or placed here, as they stand."""
        return self.node.orders

    @property
    def jobs(self) -> Mapping[JobId, Job]:
        """The jobs in this node's custody."""
        return self.node.jobs

    @property
    def adverts(self) -> AdvertTable:
        """The nodes heard of."""
        return self.node.adverts

    @property
    def transfers(self) -> Transfers:
        """What moves results and logs that were granted."""
        return self._world.transfers

    @property
    def users(self) -> Mapping[Did, Signer]:
        """Who has a key here, or a program that has it."""
        return self._keys.users

    def addresses(self) -> tuple[str, ...]:
        """Return where others can dial this peer."""
        return addresses(self._settings, self._host.addresses())

    def subscribe(self) -> trio.MemoryReceiveChannel[News]:
        """Return a channel of all news from now on."""
        return self.driver.subscribe()

    async def tell(self, event: Input) -> None:
        """Hand an input to the node; return once what follows is durable and begun.

        Raises:
            PeerError: the disk cannot take it; nothing happened.
        """
        await self.driver.tell(event)

    async def wait_known(self, timeout_s: float) -> Joined:
        """Wait until the named peers have said which providers they know.

        They are asked again when all that they said is out of date.
        """
        spoke = self._neighbours.all_spoke
        joined = await self._neighbours.wait_settled(timeout_s)
        now_s = self.driver.clock.now().unix_s
        if spoke and not any(self.adverts.fresh(now_s)):
            await self._neighbours.ask_again(timeout_s)
        # Behind this, everything that they said has been taken in.
        await self.driver.tell(AdvertsHeard(adverts=()))
        return joined

    async def connect(self, addresses: Sequence[str]) -> str:
        """Connect to a peer, and return its id.

        Raises:
            NetworkError: an address is wrong, or nobody is there.
        """
        return await self._host.connect(addresses)

    async def place(
        self,
        spec: JobSpec,
        *,
        salt: bytes | None = None,
        owner: Did | None = None,
        secrets_from: tuple[SecretSource, ...] = (),
    ) -> JobId:
        """Place an order, and drive it.

        Args:
            spec: the job; its inputs are in the home's store already.
            salt: `SALT_BYTES` bytes; the same again name the same job.
            owner: whose job it is, the first user's unless said; somebody else's
                needs a delegation that the home holds.
            secrets_from: where its secrets are read.
        """
        owner = owner or next(iter(self._keys.users))
        salt = salt or secrets.token_bytes(SALT_BYTES)
        return await self._orders.place(owner, spec, salt, secrets_from)

    def may(self, order: Order, command: str) -> bool:
        """Tell whether a user, or a delegation held here, may use a command on it."""
        now_s = self.driver.clock.now().unix_s
        return may_use(order, command, self._keys.users, self.holdings, now_s)

    async def load(self, job: JobId) -> Order | None:
        """Return an order of this home as it stands on disk; None if there is none."""
        return await self._orders.load(job)

    async def follow(self, job: JobId) -> bool:
        """Keep an order going, or read along while another process does.

        Either way `OrderChanged` tells of each step. Returns whether we drive it.
        """
        return await self._orders.follow(job)

    async def store_inputs(self, sources: Sequence[Source]) -> tuple[Cid, int]:
        """Read a job's inputs into the home's store; return their id and size."""
        return await self._world.transfers.store_inputs(sources)

    async def drain(self) -> None:
        """Take no more work, let jobs finish or end them, and tell everybody."""
        news = self.subscribe()
        grace_s = self._settings.drain_s
        await self.driver.tell(DrainBegan(kill_after_s=grace_s))
        with trio.move_on_after(grace_s + KILL_S):
            async for each in news:
                if isinstance(each, Drained):
                    break
        await trio.sleep(GOODBYE_S)

    async def start(self) -> None:
        """Begin to live: take inputs, serve peers, join the network, offer room."""
        self._tasks.start_soon(self.driver.run, self._world.perform)
        self._world.serve()
        logs: LogHeads = ()
        if self._custody is not None:
            logs = await trio.to_thread.run_sync(self._custody.log_heads, self.jobs)
            self._tasks.start_soon(DiskCare(self._custody, self._store).run)
        await self.driver.tell(NodeStarted(logs=logs))
        if self._settings.is_node:
            void = await trio.to_thread.run_sync(tokens.voids, self._settings.home)
            own = open_revocations(void.values(), documents=VOUCHED)
            await self.driver.tell(own)
        if self._settings.bulk_port is not None and self._settings.is_node:
            hosts = listen_hosts(self._settings)
            await self._world.open_door(hosts, self._settings.bulk_port)
        if self.executors is not None:
            await self._offer_room(self.executors)
            await self.driver.tell(AddressesChanged(addresses=self.addresses()))
            self._tasks.start_soon(self._orders.pick_up, self._read_users, self.did)
        self._tasks.start_soon(
            partial(
                self._neighbours.run,
                gossip=self._settings.gossip,
                mdns=self._settings.mdns,
            )
        )

    def close(self) -> None:
        """Let go of what other processes of the home may want."""
        self._orders.close()

    def abandon(self) -> None:
        """Remove what jobs left, when no task runs any more. Blocks."""
        self._world.abandon()

    async def _offer_room(self, executors: Executors) -> None:
        provide = self._settings.provide
        if provide is None:
            return
        scratch = self._settings.home.scratch()
        await trio.to_thread.run_sync(executors.sweep)
        await trio.to_thread.run_sync(sweep_others, scratch)
        warm = trio.Event()
        self._tasks.start_soon(_stay_warm, executors, warm)
        await warm.wait()
        # Who provides nothing need not load what runs jobs.
        from nunet_node.runtime.work.offering import offering_of  # noqa: PLC0415

        offering = offering_of(executors, scratch, provide, self.driver)
        await offering.start()
        self._tasks.start_soon(offering.keep_up)

    async def _read_users(self) -> Collection[Did]:
        home = self._settings.home
        known = await trio.to_thread.run_sync(home.identities)
        self._keys.admit(identity.key for identity in known)
        held = await trio.to_thread.run_sync(tokens.holdings, home)
        self.holdings.add(held.all())
        self.holdings.void(held.revoked)
        return self._keys.users.keys() | self.holdings.subjects()

    def _peer_gone(self, peer_id: str) -> None:
        self._world.forget(peer_id)

    def _audiences(self) -> Collection[str]:
        return {self.did, *self._keys.users, *self.holdings.subjects()}


async def _stay_warm(executors: Executors, warm: trio.Event) -> None:
    async with executors.warmed():
        warm.set()
        await trio.sleep_forever()


@asynccontextmanager
async def open_peer(
    settings: PeerSettings,
    *,
    network: OpenNetwork = open_host,
    prepare: Callable[[Peer], None] | None = None,
) -> AsyncIterator[Peer]:
    """Run a peer for as long as the block.

    Args:
        settings: what kind of peer.
        network: opens the host; libp2p unless given.
        prepare: called before the peer takes up what it left when it last ended;
            who subscribes there misses nothing of that.

    Raises:
        PeerError: the home is in use, damaged or cannot be written; an address is
            wrong or a port taken. Nothing was begun.
    """
    try:
        async with contextlib.AsyncExitStack() as stack:
            peer = await _assemble(settings, network, stack)
            if prepare is not None:
                prepare(peer)
            await peer.start()
            yield peer
    except BaseExceptionGroup as group:
        # The nurseries in between are nobody's concern but ours.
        raise lone_error(group) from None


async def _assemble(
    settings: PeerSettings, network: OpenNetwork, stack: contextlib.AsyncExitStack
) -> Peer:
    home = settings.home
    if settings.is_node:
        stack.enter_context(exclusive(home.node_lock))
        if settings.provide is not None:
            stack.enter_context(held_scratch(home))
    ledger = await trio.to_thread.run_sync(
        partial(Ledger.open, home, provides=settings.is_node)
    )
    stack.callback(ledger.close)
    store = await trio.to_thread.run_sync(BlockStore, home.blocks)
    stack.callback(store.close)
    custody: Custody | None = None
    if settings.is_node:
        custody = await trio.to_thread.run_sync(Custody.open, home.kept)
        stack.callback(custody.store.close)
    host = await stack.enter_async_context(network(host_settings(settings)))
    afterwards = stack.enter_context(contextlib.ExitStack())
    tasks = await stack.enter_async_context(trio.open_nursery())
    stack.callback(tasks.cancel_scope.cancel)
    peer = Peer(settings, host, ledger, store, custody, tasks)
    if custody is not None:
        await trio.to_thread.run_sync(custody.begin, peer.jobs, peer.node.replicas)
    afterwards.callback(peer.abandon)
    stack.callback(peer.close)
    if settings.is_node:
        stack.callback(home.unannounce)
        home.announce(
            RunningNode(
                pid=os.getpid(), peer_id=peer.peer_id, addresses=host.addresses()
            )
        )
    return peer
