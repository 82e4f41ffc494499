"""Copies of results on their way: handing over, taking in, auditing, letting go.

Rule: a copy is kept before the node hears that it is here, and every order that ends
in an answer is answered once, whatever happens. An audit takes its blocks as any
reader would, so that it finds out what a reader would. What this node has lost of a
result of its own comes back on that occasion.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import trio

from nunet_node.errors import PeerError
from nunet_node.jobs.specification import JobId
from nunet_node.network.port import Host, NetworkError
from nunet_node.network.stream import Stream, StreamBroken
from nunet_node.protocol.inputs import Input
from nunet_node.protocol.messages import BLOCKS_PROTOCOL
from nunet_node.protocol.replicas.events import (
    DeliverReplica,
    DropReplica,
    DropResult,
    ExpectReplica,
    ReplicaArrived,
    ReplicaDelivered,
    ReplicaNotDelivered,
    SampleTaken,
    TakeSample,
)
from nunet_node.results.manifest import Tree
from nunet_node.results.plan import (
    WantedBlock,
    check_block,
    missing_blocks,
    wanted_blocks,
)
from nunet_node.runtime.exchange.blocks import (
    Taking,
    take_manifest,
    take_tree,
)
from nunet_node.runtime.exchange.grants import ExpectedCopy, Grants
from nunet_node.runtime.exchange.handover import Offer, deliver
from nunet_node.runtime.exchange.requests import request
from nunet_node.runtime.work.custody import Custody
from nunet_node.wire.cid import Cid

AUDIT_BLOCKS: Final = 4
"""Blocks of one audit, besides the manifest: who lacks a tenth of a result is found
out within a day of hourly audits but for one time in twenty thousand."""

AUDIT_S: Final = 60
"""How long an audit may take; a slow link carries four blocks in that time."""

_log = logging.getLogger("nunet_node.runtime.store.replicas")


class Replicas:
    """Carries out the node's orders about copies.

    Args:
        host: the network.
        custody: where results and copies are kept.
        grants: who may hand over what, and have of what is handed over.
        tell: tells the node; returns once what follows is durable.
        post: tells the node whatever else waits, even while nothing can be written.
        tasks: where the work is done.
    """

    def __init__(
        self,
        host: Host,
        custody: Custody,
        grants: Grants,
        tell: Callable[[Input], Awaitable[None]],
        post: Callable[[Input], Awaitable[None]],
        tasks: trio.Nursery,
    ) -> None:
        self._host = host
        self._custody = custody
        self._grants = grants
        self._tell = tell
        self._post = post
        self._tasks = tasks
        self.acts: Mapping[type[Any], Callable[[Any], None]] = {
            ExpectReplica: self._expect,
            DeliverReplica: partial(tasks.start_soon, self._deliver),
            TakeSample: partial(tasks.start_soon, self._audit),
            DropReplica: partial(tasks.start_soon, self._drop),
            DropResult: partial(tasks.start_soon, self._drop_result),
        }

    async def keep(self, job: JobId, copy: ExpectedCopy) -> None:
        """Keep a copy, all of which is here; return once that is durable."""
        await trio.to_thread.run_sync(
            self._custody.keep_copy, copy.owner, job, copy.root
        )
        await self._tell(ReplicaArrived(job=job, owner=copy.owner, root=copy.root))

    def _expect(self, order: ExpectReplica) -> None:
        copy = ExpectedCopy(
            root=order.root, bytes_max=order.bytes_max, owner=order.owner
        )
        self._grants.expect_copy(order.peer_id, order.job, copy)

    async def _deliver(self, order: DeliverReplica) -> None:
        offer = Offer(job=order.job, attempt=1, root=order.root, copy=True)
        job, holder = order.job, order.holder
        done: Input = ReplicaDelivered(job=job, holder=holder)
        try:
            stream = await self._host.open_stream(order.peer_id, BLOCKS_PROTOCOL)
            async with stream:
                await deliver(stream, offer, self._custody.store, self._grants.offers)
        except PeerError as error:
            done = ReplicaNotDelivered(job=job, holder=holder, reason=str(error))
        await self._post(done)

    async def _audit(self, order: TakeSample) -> None:
        fault, silent = "", False
        try:
            with trio.fail_after(AUDIT_S):
                stream = await self._host.open_stream(order.peer_id, BLOCKS_PROTOCOL)
                async with stream:
                    await self._sample(stream, order.root)
        except (StreamBroken, NetworkError, trio.TooSlowError) as error:
            fault, silent = str(error) or f"took more than {AUDIT_S} s", True
        except PeerError as error:
            fault = str(error)
        if fault:
            _log.warning("the copy of %s at %s: %s", order.job, order.holder, fault)
        taken = SampleTaken(
            job=order.job, holder=order.holder, fault=fault, silent=silent
        )
        await self._post(taken)

    async def _sample(self, stream: Stream, root: Cid) -> None:
        store = self._custody.store
        taking = Taking(has=store.has)
        tree = await take_manifest(stream, root, store, taking)
        await _take_and_check(stream, (root,), tree)
        lacking = await trio.to_thread.run_sync(missing_blocks, tree, store.has)
        if lacking:
            _log.warning("%d blocks of %s had been lost here", len(lacking), root)
            await take_tree(stream, root, store, taking)
        blocks = wanted_blocks(tree)
        drawn = secrets.SystemRandom().sample(blocks, min(AUDIT_BLOCKS, len(blocks)))
        await _take_and_check(stream, [block.cid for block in drawn], tree)

    async def _drop(self, order: DropReplica) -> None:
        await trio.to_thread.run_sync(self._custody.drop_copy, order.owner, order.job)

    async def _drop_result(self, order: DropResult) -> None:
        await trio.to_thread.run_sync(self._custody.drop_result, order.job)


async def _take_and_check(stream: Stream, cids: Sequence[Cid], tree: Tree) -> None:
    """Take some blocks of a tree, though they may be here, and check them."""
    sizes: dict[Cid, WantedBlock] = {each.cid: each for each in wanted_blocks(tree)}
    async with aclosing(request(stream, cids)) as blocks:
        async for cid, data in blocks:
            size_bytes = sizes[cid].size_bytes if cid in sizes else len(data)
            check_block(WantedBlock(cid=cid, size_bytes=size_bytes), data)
