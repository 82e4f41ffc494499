"""Where each effect of the node goes.

Rule: carrying out an effect never waits: it is handed to the part that does it, and
what takes time runs in that part's own tasks. Every part answers with inputs, all
through the driver's one queue.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio

from nunet_node.errors import MisuseError, PeerError
from nunet_node.executors.port import Executors
from nunet_node.identity.did import Documents
from nunet_node.identity.peer_id import did_of_peer_id
from nunet_node.jobs.lifecycle import State, is_final
from nunet_node.jobs.specification import JobId, ResultKind
from nunet_node.network.discovery import ADDRESSES_MAX
from nunet_node.network.port import Host, NetworkError
from nunet_node.protocol import effects as fx
from nunet_node.protocol.inputs import (
    AdvertsHeard,
    FrameReceived,
    FrameRejected,
    Input,
    InputsArrived,
    SessionFailed,
    SessionId,
)
from nunet_node.protocol.node import Node
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.secrets.events import SealSecrets
from nunet_node.runtime.driver import Driver
from nunet_node.runtime.exchange.blocks import blocks_under
from nunet_node.runtime.exchange.bulk.meeting import Meeting
from nunet_node.runtime.exchange.bulk.serving import BulkServer
from nunet_node.runtime.exchange.control import Sessions
from nunet_node.runtime.exchange.fetching import Transfers
from nunet_node.runtime.exchange.grants import Expected, Grants
from nunet_node.runtime.exchange.handover import BlockServer, Keepers
from nunet_node.runtime.exchange.logs import LogBook, LogServer, Stand, no_records
from nunet_node.runtime.exchange.neighbours import Neighbours
from nunet_node.runtime.exchange.public.bitswap import BitswapServer
from nunet_node.runtime.exchange.public.roots import PublicRoots
from nunet_node.runtime.exchange.public.shelf import Shelf
from nunet_node.runtime.exchange.public.trees import PublicTrees
from nunet_node.runtime.naming.frames import Frames
from nunet_node.runtime.store.packed_logs import LogPacking
from nunet_node.runtime.store.replicas import Replicas
from nunet_node.runtime.wallet.keyring import Keyring
from nunet_node.runtime.wallet.secrets import Unsealer, sealed_for
from nunet_node.runtime.work.custody import Custody
from nunet_node.runtime.work.execution import Execution
from nunet_node.storage.blocks import BlockStore

JOIN_S: Final = 3
"""How long a dial waits for what the peers we join by have to say of it."""

PUBLISHING_MAX: Final = 64
"""Adverts on their way at once; the node makes a few a second."""

_log = logging.getLogger("nunet_node.runtime.world")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a world is made of."""

    host: Host
    store: BlockStore
    node: Node
    driver: Driver
    frames: Frames
    executors: Executors | None
    """None for a peer that runs no jobs."""
    gossip: bool
    neighbours: Neighbours
    custody: Custody | None
    """None for a peer that keeps nothing for others."""
    unsealer: Unsealer
    """Opens the secrets of jobs that start here."""
    bitswap: bool
    """Whether anybody may fetch public results by Bitswap."""
    keys: Keyring
    """Who signs what no key in this process can."""
    changed: Callable[[JobId], None]
    """Called with each order whose record changed."""


class World:
    """Carries out the node's effects."""

    def __init__(self, around: Surroundings, tasks: trio.Nursery) -> None:
        self._around = around
        self._tasks = tasks
        self._publishing = 0
        host, self._custody, find = around.host, around.custody, around.frames.find
        store = self._custody.store if self._custody else around.store
        under = partial(blocks_under, store)
        self._public = PublicTrees(PublicRoots(around.node), under)
        self.grants = Grants(under, self._public)
        self.transfers = Transfers(host, around.store, self.grants.offers)
        self._sessions = Sessions(
            host, self._post, self._open, self._addresses_of, tasks, find
        )
        self._replicas = self._make_replicas()
        self._bulk = BulkServer(
            store, self.grants.reads_any, self.grants.may_read, self.grants.offers
        )
        self._blocks = BlockServer(
            store,
            self.grants,
            self._job_of,
            around.driver.tell,
            self._keepers(),
            Meeting(host, self._bulk.door).channel,
        )
        self._book = LogBook()
        records = self._custody.chains.records if self._custody else no_records
        self._logs = LogServer(self._book, store, self.grants, self._stand, records)
        self._acts: dict[type[Any], Callable[[Any], None]] = {
            fx.OpenSession: self._sessions.open,
            fx.CloseSession: self._sessions.close,
            fx.Send: self._sessions.send,
            fx.Publish: self._publish,
            fx.SetTimer: self._set_timer,
            fx.CancelTimer: self._cancel_timer,
            fx.ExpectInputs: self._expect_inputs,
            fx.GrantRead: self._grant_read,
            fx.GrantLogs: self._grant_logs,
            fx.EndGrants: lambda effect: self.forget(effect.peer_id),
            fx.DeliverInputs: self._deliver_inputs,
            SealSecrets: self._seal_secrets,
            fx.Tell: self._tell,
        }
        self._acts.update(around.keys.desk(self._post, tasks).acts)
        if self._replicas is not None and self._custody is not None:
            packing = LogPacking(self._custody, self._post, tasks)
            self._acts.update({**self._replicas.acts, **packing.acts})
        self._execution = self._make_execution()
        if self._execution is not None:
            self._acts.update(_job_acts(self._execution))

    def _keepers(self) -> Keepers:
        if self._replicas is None:
            return Keepers(inputs=self._keep_inputs)
        return Keepers(inputs=self._keep_inputs, copy=self._replicas.keep)

    def _make_replicas(self) -> Replicas | None:
        if self._custody is None:
            return None
        around, driver = self._around, self._around.driver
        return Replicas(
            around.host,
            self._custody,
            self.grants,
            driver.tell,
            driver.post,
            self._tasks,
        )

    def _make_execution(self) -> Execution | None:
        around = self._around
        if around.executors is None or self._custody is None:
            return None
        return Execution(
            around.executors,
            self._custody,
            self._book,
            around.unsealer,
            self._post,
            self._tasks,
        )

    def serve(self) -> None:
        """Let peers talk to us."""
        self._sessions.serve()
        self._blocks.serve(self._around.host)
        self._bulk.serve(self._around.host)
        self._logs.serve(self._around.host)
        if self._around.bitswap and self._custody is not None:
            shelf = Shelf(self._custody.store, PublicRoots(self._around.node))
            BitswapServer(self._around.host, shelf).serve()

    async def open_door(self, hosts: Sequence[str], port: int) -> None:
        """Let peers fetch by connections of their own, besides streams."""
        try:
            listeners = await self._bulk.door.listen(hosts, port)
        except NetworkError as error:
            if port:
                # A door that was asked for by its number has been told to others.
                raise
            _log.warning("%s; results are fetched by streams", error)
            return
        self._tasks.start_soon(self._bulk.door.run, listeners)

    def forget(self, peer_id: str) -> None:
        """End everything that a peer may read or follow."""
        self.grants.forget(peer_id)
        self._bulk.door.forget(peer_id)

    def perform(self, effect: fx.Effect) -> None:
        """Begin to carry out one effect.

        Raises:
            MisuseError: it is about running jobs, and this peer runs none.
        """
        act = self._acts.get(type(effect))
        if act is None:
            raise MisuseError(f"{type(effect).__name__} at a peer that runs no jobs")
        act(effect)
        self._public.changed()

    def abandon(self) -> None:
        """Remove what jobs left, when no task runs any more. Blocks."""
        if self._execution is not None:
            self._execution.abandon()

    async def _post(self, event: Input) -> None:
        if isinstance(event, SessionFailed):
            self._around.neighbours.settle(event.peer_id)
        await self._around.driver.post(event)

    def _open(
        self, session: SessionId, data: bytes, documents: Documents
    ) -> FrameReceived | FrameRejected:
        opened = self._around.frames.open(session, data, documents)
        if isinstance(opened, FrameReceived) and isinstance(opened.body, AdvertsHeard):
            self._around.neighbours.settle(self._sessions.peer_of(session))
        return opened

    async def _addresses_of(
        self, peer_id: str, known: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return where a peer is by its newest advert, then where it was.

        Those we join by are asked first: a peer that came back elsewhere is found
        through them, or is one of them.
        """
        await self._around.neighbours.wait_findable(peer_id, JOIN_S)
        now_s = self._around.driver.clock.now().unix_s
        provider = did_of_peer_id(peer_id)
        heard = self._around.node.adverts.of_provider(provider, now_s)
        newest = heard.payload.addresses if heard is not None else ()
        return tuple(dict.fromkeys((*newest, *known)))[:ADDRESSES_MAX]

    def _publish(self, effect: fx.Publish) -> None:
        if not self._around.gossip:
            return
        if self._publishing >= PUBLISHING_MAX:
            _log.warning("an advert is not gossiped: too many are on their way")
            return
        self._publishing += 1
        self._tasks.start_soon(self._gossip, effect)

    async def _gossip(self, effect: fx.Publish) -> None:
        try:
            await self._around.host.publish(effect.topic, effect.data)
        except NetworkError as error:
            _log.info("an advert was not gossiped: %s", error)
        finally:
            self._publishing -= 1

    def _set_timer(self, effect: fx.SetTimer) -> None:
        self._around.driver.timers.set(effect.name, effect.at_ns)

    def _cancel_timer(self, effect: fx.CancelTimer) -> None:
        self._around.driver.timers.cancel(effect.name)

    def _grant_read(self, effect: fx.GrantRead) -> None:
        self.grants.allow_read(effect.peer_id, effect.root)

    def _grant_logs(self, effect: fx.GrantLogs) -> None:
        self.grants.allow_logs(effect.peer_id, effect.job, effect.attempt)

    def _expect_inputs(self, effect: fx.ExpectInputs) -> None:
        expected = Expected(root=effect.root, bytes_max=effect.bytes_max)
        self.grants.expect(effect.peer_id, effect.job, effect.attempt, expected)
        self._tasks.start_soon(self._look_for_inputs, effect)

    async def _look_for_inputs(self, effect: fx.ExpectInputs) -> None:
        if await trio.to_thread.run_sync(self._has_inputs, effect):
            await self._post(InputsArrived(job=effect.job, attempt=effect.attempt))

    def _has_inputs(self, effect: fx.ExpectInputs) -> bool:
        if not self._blocks.has_all(effect.job, effect.root):
            return False
        try:
            self._keep_inputs(effect.job, effect.attempt)
        except PeerError as error:
            _log.info("inputs of %s are asked for again: %s", effect.job, error)
            return False
        return True

    def _keep_inputs(self, job: JobId, attempt: int) -> None:
        kept = self._job_of(job)
        if self._custody is not None and kept is not None and kept.spec.inputs:
            self._custody.keep_inputs(job, attempt, kept.spec.inputs)

    def _deliver_inputs(self, effect: fx.DeliverInputs) -> None:
        self._tasks.start_soon(self._deliver, effect)

    async def _deliver(self, effect: fx.DeliverInputs) -> None:
        await self._post(await self.transfers.deliver(effect))

    def _seal_secrets(self, effect: SealSecrets) -> None:
        self._tasks.start_soon(self._seal, effect)

    async def _seal(self, effect: SealSecrets) -> None:
        await self._post(await trio.to_thread.run_sync(sealed_for, effect))

    def _tell(self, effect: fx.Tell) -> None:
        news = effect.news
        if isinstance(news, fx.JobMovedHere):
            _log.info("job %s is %s: %s", news.job, news.state, news.reason or "-")
            self._book.changed(news.job)
            if self._custody is not None and is_final(State(news.state)):
                kept = self._job_of(news.job)
                has_result = kept is not None and kept.result is not None
                ended = partial(
                    self._custody.ended, news.job, news.attempt, has_result=has_result
                )
                self._tasks.start_soon(trio.to_thread.run_sync, ended)
        elif isinstance(news, fx.OrderChanged):
            self._around.changed(news.job)
        self._around.driver.publish(news)

    def _job_of(self, job: JobId) -> Job | None:
        return self._around.node.jobs.get(job)

    def _stand(self, job: JobId, attempt: int) -> Stand:
        kept = self._around.node.jobs.get(job)
        if kept is None or kept.attempt != attempt:
            return Stand(ended=True)
        sealed = kept.spec.results is ResultKind.SEALED
        chained = kept.log is not None and not kept.expired
        return Stand(
            ended=kept.ended, result=kept.result, sealed=sealed, chained=chained
        )


def _job_acts(execution: Execution) -> Mapping[type[Any], Callable[[Any], None]]:
    return {
        fx.StartJob: execution.start,
        fx.StopJob: execution.stop,
        fx.StoreResult: execution.store,
        fx.DiscardScratch: execution.discard,
    }
