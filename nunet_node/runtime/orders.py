"""The orders of a home, shared by all its processes.

Rule: one process at a time drives an order, and holds its lock file as long as it
does; the others read along in the journal, and one of them takes over when the lock
is free. Whoever drives it takes in what the others write, such as the wish to cancel.
So a command works beside a running node, and nobody awards a job twice.
An order is read from disk when somebody asks about it, not before.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did
from nunet_node.jobs.secrets import SecretSource
from nunet_node.jobs.specification import JobId, JobSpec, job_id_of
from nunet_node.protocol.effects import OrderChanged
from nunet_node.protocol.facts import NoticeKept, OrderFact
from nunet_node.protocol.inputs import FollowWanted, OrderWanted
from nunet_node.protocol.node import Node
from nunet_node.protocol.order import Order
from nunet_node.runtime.driver import Driver
from nunet_node.runtime.home import Home, HomeError
from nunet_node.runtime.ledger import Ledger, is_newer
from nunet_node.storage.errors import HomeInUseError
from nunet_node.storage.files import why
from nunet_node.storage.lock import exclusive
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record

READ_ALONG_S: Final = 0.3
"""How often an order that another process drives is read again: no event crosses
between processes that works on every file system, and a person waits for it."""

PICK_UP_S: Final = 2.0
"""How often a node looks for orders that nobody drives any more."""

_log = logging.getLogger("nunet_node.runtime.orders")


class Orders:
    """What this process knows of its home's orders, and which of them it drives."""

    def __init__(
        self,
        home: Home,
        ledger: Ledger,
        driver: Driver,
        node: Node,
        tasks: trio.Nursery,
    ) -> None:
        self._home = home
        self._ledger = ledger
        self._driver = driver
        self._node = node
        self._tasks = tasks
        self._held: dict[JobId, contextlib.ExitStack] = {}
        self._reading: set[JobId] = set()
        self._done: set[JobId] = set()
        self._attending = False

    async def place(
        self,
        owner: Did,
        spec: JobSpec,
        salt: bytes,
        secrets: tuple[SecretSource, ...] = (),
    ) -> JobId:
        """Place an order and drive it; return its id once that is durable.

        Raises:
            PeerError: the journal cannot be written.
        """
        job = job_id_of(owner, Cid.of_dag_cbor(encode_record(spec)), salt)
        await self.load(job)
        if self._hold(job):
            await self._driver.tell(
                OrderWanted(job=job, spec=spec, salt=salt, owner=owner, secrets=secrets)
            )
        else:
            await self.follow(job)
        return job

    async def load(self, job: JobId) -> Order | None:
        """Read what is new about an order; return it, or None if there is none."""
        await self._read(job)
        return self._node.orders.get(job)

    async def follow(self, job: JobId) -> bool:
        """Keep an order going, or read along while another process does.

        Returns:
            Whether this process drives it.
        """
        await self.load(job)
        if self._hold(job):
            await self._driver.tell(FollowWanted(job=job))
            return True
        if job not in self._reading:
            self._reading.add(job)
            self._tasks.start_soon(self._read_along, job)
        return False

    def changed(self, job: JobId) -> None:
        """Let go of an order that has ended."""
        order = self._node.orders.get(job)
        if order is not None and _is_done(order):
            self._done.add(job)
            self._release(job)
            self._ledger.forget(job)

    async def pick_up(
        self, users: Callable[[], Awaitable[Collection[Did]]], own: Did
    ) -> None:
        """Drive every order of the home that nobody else drives; never returns.

        Args:
            users: returns for whom this home may speak, read anew.
            own: this node. What it runs itself is left to commands of the home: a
                node is no peer of its own, and cannot follow what it has itself.
        """
        while True:
            try:
                signers = await users()
                for job in await trio.to_thread.run_sync(self._ledger.order_names):
                    if job not in self._held and job not in self._done:
                        await self._pick_up_one(job, signers, own)
            except PeerError as error:
                _log.warning("the orders of this home cannot be read: %s", error)
            await trio.sleep(PICK_UP_S)

    def close(self) -> None:
        """Let go of every order."""
        for job in list(self._held):
            self._release(job)

    async def _pick_up_one(
        self, job: JobId, signers: Collection[Did], own: Did
    ) -> None:
        if not self._hold(job):
            return
        order = await self.load(job)
        if order is None or order.owner not in signers or _is_with(order, own):
            self._release(job)
        elif _is_done(order):
            self._done.add(job)
            self._release(job)
        else:
            _log.info("job %s is looked after from here on", job)
            await self._driver.tell(FollowWanted(job=job))

    async def _read_along(self, job: JobId) -> None:
        while True:
            await trio.sleep(READ_ALONG_S)
            order = await self.load(job)
            if order is not None and _is_done(order):
                break
            if self._hold(job):
                await self.load(job)
                await self._driver.tell(FollowWanted(job=job))
                break
        self._reading.discard(job)

    async def _attend(self) -> None:
        """Take in what other processes add to the orders that this one drives."""
        seen = -1
        while self._held:
            # Read before the facts: what is added meanwhile is seen the next time.
            now = await trio.to_thread.run_sync(self._ledger.others)
            if now != seen:
                seen = now
                for job in list(self._held):
                    await self._take_in(job)
            await trio.sleep(READ_ALONG_S)
        self._attending = False

    async def _take_in(self, job: JobId) -> None:
        if not await self._read(job) or job not in self._held:
            return
        await self._driver.tell(FollowWanted(job=job))
        self.changed(job)

    async def _read(self, job: JobId) -> bool:
        """Read what others added to an order; tell whether that is anything."""
        is_news = job in self._node.orders
        facts = await trio.to_thread.run_sync(self._ledger.news_of, job)
        if facts:
            await self._driver.between(self._applying(facts, is_news=is_news))
        return bool(facts)

    def _applying(
        self, facts: tuple[OrderFact, ...], *, is_news: bool
    ) -> Callable[[], None]:
        def act() -> None:
            for fact in facts:
                if not is_newer(self._node.orders.get(fact.job), fact):
                    continue
                self._node.apply(fact)
                if is_news:
                    notice = fact.notice if isinstance(fact, NoticeKept) else None
                    self._driver.publish(OrderChanged(job=fact.job, notice=notice))

        return act

    def _hold(self, job: JobId) -> bool:
        if job in self._held:
            return True
        stack = contextlib.ExitStack()
        try:
            stack.enter_context(exclusive(self._home.order_lock(job)))
        except HomeInUseError:
            return False
        except OSError as error:
            raise HomeError(f"cannot lock job {job}: {why(error)}") from None
        self._held[job] = stack
        if not self._attending:
            self._attending = True
            self._tasks.start_soon(self._attend)
        return True

    def _release(self, job: JobId) -> None:
        stack = self._held.pop(job, None)
        if stack is not None:
            stack.close()


def _is_with(order: Order, provider: Did) -> bool:
    award = order.award
    return not order.unplaced and award is not None and award.provider == provider


def _is_done(order: Order) -> bool:
    cancel_is_over = order.confirmation is not None or order.award is None
    return order.ended and (not order.cancel_wanted or cancel_is_over)
