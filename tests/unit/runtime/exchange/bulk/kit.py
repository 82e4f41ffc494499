"""A result, peers that serve it in one way or another, and one who fetches it."""

from contextlib import asynccontextmanager

import trio

from nunet_node.protocol.messages import BLOCKS_PROTOCOL
from nunet_node.runtime.exchange.bulk.serving import BulkServer
from nunet_node.runtime.exchange.fetching import Transfers
from tests.runtime_kit import linked_hosts
from tests.unit.runtime.exchange.test_blocks import serving


@asynccontextmanager
async def open_bulk(host, store, *, may_read=lambda _peer, _cid: True):
    """Serve a store's blocks by streams and by a bulk door; yield the door."""
    server = BulkServer(store, lambda _peer: True, may_read)
    server.serve(host)
    host.serve(BLOCKS_PROTOCOL, serving(store))
    listeners = await server.door.listen(["127.0.0.1"], 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.door.run, listeners)
        yield server.door
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def fetching(store, providers):
    """Yield hosts that are each connected to one user, and the user's transfers."""
    async with linked_hosts(providers + 1) as (user, *others):
        yield others, Transfers(user, store)
