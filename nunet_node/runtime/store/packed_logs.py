"""Chains of logs as trees in the store, to be copied to other nodes, and back.

Rule: a chain only grows, so that of two packed one after the other all full
chunks are the same, and are handed over once.
"""

import logging
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import trio

from nunet_node.errors import PeerError
from nunet_node.protocol.inputs import Input
from nunet_node.protocol.replicas.events import LogsStored, StoreLogs
from nunet_node.results.logs.chain import RECORD_BYTES_MAX, LogChain, LogHeader
from nunet_node.results.logs.packing import CHAIN_FILE, framed
from nunet_node.results.manifest import CHUNK_BYTES, FileEntry, build
from nunet_node.runtime.work.custody import Custody
from nunet_node.storage.batch import Batch
from nunet_node.wire.schema import decode_record

_log = logging.getLogger("nunet_node.runtime.store.packed_logs")


class LogPacking:
    """Carries out the node's orders to pack logs.

    Args:
        custody: where chains lie, and where their trees are kept.
        post: tells the node.
        tasks: where the work is done.
    """

    def __init__(
        self,
        custody: Custody,
        post: Callable[[Input], Awaitable[None]],
        tasks: trio.Nursery,
    ) -> None:
        self._custody = custody
        self._post = post
        self.acts: Mapping[type[Any], Callable[[Any], None]] = {
            StoreLogs: partial(tasks.start_soon, self._store)
        }

    async def _store(self, order: StoreLogs) -> None:
        try:
            stored = await trio.to_thread.run_sync(self._packed, order)
        except PeerError as error:
            _log.warning("the logs of %s are not copied: %s", order.job, error)
            return
        if stored is not None:
            await self._post(stored)

    def _packed(self, order: StoreLogs) -> LogsStored | None:
        store, chains = self._custody.store, self._custody.chains
        with closing(chains.records(order.job, order.attempt)) as records:
            first = next(records, None)
            if first is None:
                return None
            header = decode_record(LogHeader, first, bytes_max=RECORD_BYTES_MAX)
            chain = LogChain(header=header)
            with store.batch() as batch:
                file = _put(batch, _checked(chain, first, records))
                built = build([file])
                for cid, data in built.blocks:
                    batch.put(data, cid)
        blocks = frozenset((*(cid for cid, _ in built.blocks), *file.chunks))
        self._custody.keep_logs(order.job, order.attempt, blocks)
        return LogsStored(
            job=order.job,
            attempt=order.attempt,
            root=built.root,
            size_bytes=built.tree.size_bytes,
            head=chain.head,
        )


def _checked(
    chain: LogChain, first: bytes, records: Iterable[bytes]
) -> Generator[bytes, None, None]:
    """Yield the records behind their lengths; the chain follows them."""
    yield framed(first)
    for record in records:
        chain.follow(record)
        yield framed(record)


def _put(batch: Batch, parts: Iterable[bytes]) -> FileEntry:
    chunks, size_bytes, room = [], 0, bytearray()
    for part in parts:
        size_bytes += len(part)
        room += part
        while len(room) >= CHUNK_BYTES:
            chunks.append(batch.put(bytes(room[:CHUNK_BYTES])))
            del room[:CHUNK_BYTES]
    if room:
        chunks.append(batch.put(bytes(room)))
    return FileEntry(path=CHAIN_FILE, size_bytes=size_bytes, chunks=tuple(chunks))
