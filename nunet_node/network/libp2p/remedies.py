"""What is wrong with py-libp2p 0.8.1 for us, and what is done about each thing.

Rule: every trap that was found has a name here, the harm it does and the remedy's
place; ``tests/unit/network/libp2p/test_remedies.py`` names the test that holds each.
Most remedies are subclasses (`swarm`, `gossip`) or settings; those that can only be
made on the library itself are made by `install`, which refuses any other version,
since what it replaces may have moved there.
"""

import functools
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import trio
from libp2p.io.utils import read_exactly
from libp2p.network.connection import swarm_connection
from libp2p.pubsub import pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.tools.anyio_service.trio_manager import TrioManager
from libp2p.transport.tcp import tcp

from nunet_node.errors import MisuseError

LIBP2P_VERSION: Final = "0.8.1"
"""The only version whose traps are known."""

RPC_QUEUE_MAX: Final = 512
"""Gossip messages waiting for one peer. The library's 32 loses most of a burst of a
hundred; 512 full ones are 8 MiB, which a peer that stopped reading holds for no
longer than it takes to notice it."""

RPC_BYTES_MAX: Final = 131_072
"""Largest gossip frame we send: eight full messages."""

TURNS_AT_CLOSE: Final = 8
"""Turns of the event loop that a stream's tasks have to hear that their connection is
gone: each of a few layers passes the news on in a turn of its own."""

PIECES_MAX: Final = 2_000
"""Pieces in which one frame may arrive: a full noise message over the smallest usual
segments, ten times over."""

_log = logging.getLogger("nunet_node.network")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One trap of the library and where it is defused."""

    trap: str
    harm: str
    place: str


REMEDIES: Final = tuple(
    Remedy(trap=trap, harm=harm, place=place)
    for trap, harm, place in (
        (
            "P1",
            "undecodable gossip stops the host",
            "gossip.SafePubsub.continuously_read_stream",
        ),
        ("P2", "a validator that raises stops gossip", "gossip.Outlet.accepts"),
        ("P3", "a message with a junk key stops gossip", "gossip.SafePubsub.push_msg"),
        ("P4", "a burst of messages is mostly lost", "remedies.widen_rpc_queues"),
        ("P5", "stopping gossip amid messages stops the host", "remedies.SafeManager"),
        ("P6", "over ten messages a second are not forwarded", "gossip.make_router"),
        ("P7", "the mesh is mended every two minutes only", "gossip.make_router"),
        ("P8", "sequence numbers are used again after a restart", "gossip.SafePubsub"),
        ("P9", "a pruning peer makes us dial others", "gossip.SafeGossipSub._do_px"),
        ("P10", "a record grows with every message", "gossip.SafeGossipSub"),
        (
            "H1",
            "a handler that raises stops the host",
            "swarm.SafeSwarm.set_stream_handler",
        ),
        (
            "C1",
            "a cancelled write ends the connection",
            "connection.YamuxConnection.write_frame",
        ),
        (
            "C2",
            "a reader that pauses five seconds is cut off",
            "substream.YamuxStream.write",
        ),
        (
            "C3",
            "a stalled write blocks closing for ever",
            "connection.YamuxConnection.close",
        ),
        ("C4", "closing a connection takes 100 ms", "remedies.close_at_once"),
        ("X1", "plaintext connections are accepted", "swarm.make_host"),
        ("S1", "leaving the host leaves its sockets open", "host.open_host"),
        (
            "S2",
            "inbound places are never given back",
            "swarm.SafeSwarm._handle_inbound_connection",
        ),
        (
            "Y1",
            "flow control is not enforced on the sender",
            "substream.YamuxStream.take_in",
        ),
        (
            "Y2",
            "a peer opens streams without limit",
            "connection.YamuxConnection._admit",
        ),
        ("Y3", "a reset reads like a proper end", "substream.YamuxStream.read"),
        (
            "Y4",
            "what a leaving peer said last is lost",
            "connection.YamuxConnection._end",
        ),
        ("W1", "a frame in 100 pieces ends the connection", "remedies.allow_pieces"),
        ("W2", "each read is answered by a frame", "substream.YamuxStream._grant"),
        ("D1", "every connect takes 250 ms longer", "host.Libp2pHost.connect"),
        ("D2", "a failed dial blocks the peer for a minute", "host.Libp2pHost.connect"),
        ("D4", "only one address of a peer is dialled", "host.Libp2pHost.connect"),
        ("A1", "the host dials whomever peers mention", "swarm.SafeSwarm"),
        ("R1", "two nodes share one port unawares", "remedies.own_the_port"),
        ("L1", "the library writes to the terminal", "remedies.tame_logging"),
        ("N1", "a silent peer is never noticed", "liveness.keep_alive"),
        ("N3", "idle connections lock honest peers out", "swarm.SafeSwarm._may_enter"),
        ("N4", "two writers on one stream interleave", "stream.Stream.send"),
    )
)
"""Every trap known."""


@functools.cache
def install() -> None:
    """Make the remedies that act on the library itself; once for each process.

    Raises:
        MisuseError: another version of py-libp2p is installed.
    """
    found = version("libp2p")
    if found != LIBP2P_VERSION:
        raise MisuseError(
            f"py-libp2p {found} is installed; this node works around the faults of"
            f" {LIBP2P_VERSION} and knows no other: pip install"
            f" libp2p=={LIBP2P_VERSION}"
        )
    widen_rpc_queues()
    allow_pieces()
    own_the_port()
    close_at_once()
    tame_logging()


def widen_rpc_queues() -> None:
    """P4: hold a burst of messages for a peer, and cut frames to a bounded size."""
    pubsub.RpcQueue = functools.partial(
        RpcQueue, max_size=RPC_QUEUE_MAX, max_message_size=RPC_BYTES_MAX
    )


def allow_pieces() -> None:
    """W1: accept a frame in many pieces; a slow link delivers it segment by segment.

    The library gives up after a hundred reads and takes that for a closed connection,
    or goes on in the middle of the frame.
    """
    read_exactly.__defaults__ = (PIECES_MAX,)


def own_the_port() -> None:
    """R1: listen without SO_REUSEPORT, so that a port in use is an error.

    With it, a second node of the same user starts happily on the first one's port,
    and the kernel deals incoming peers out to either.
    """

    def reuse_address_only(sock: Any) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    tcp._set_reuse_flags = reuse_address_only  # noqa: SLF001


class _HastyTrio:
    """What `swarm_connection` takes for trio; its one sleep is a short one."""

    async def sleep(self, _seconds: float) -> None:
        for _ in range(TURNS_AT_CLOSE):
            await trio.lowlevel.checkpoint()

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)


def close_at_once() -> None:
    """C4: let streams hear of a connection's end for some turns of the event loop.

    The library sleeps a tenth of a second for that, which every command pays when it
    ends, and every dial that loses the race for a peer.
    """
    swarm_connection.trio = _HastyTrio()


def tame_logging() -> None:
    """L1: let nothing of the library reach the terminal by itself.

    It logs multi-line errors for what any stranger may do, and one module calls the
    root logger, which makes Python install a handler that prints to stderr. Both go
    to the ``libp2p`` logger, which passes only what is critical unless the program
    lowers its level.
    """
    logger = logging.getLogger("libp2p")
    logger.propagate = True
    if logger.level in (logging.NOTSET, logging.WARNING):
        logger.setLevel(logging.CRITICAL)
    swarm_connection.logging = logger


class SafeManager(TrioManager):  # type: ignore[misc] # the library is untyped
    """P5: runs a library service so that a failed task ends only itself."""

    def run_task(
        self,
        async_fn: Callable[..., Awaitable[None]],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Run a task of the service; one that must run for ever is started again."""
        if not kwargs.get("_internal"):
            async_fn = _survivor(async_fn, again=bool(kwargs.get("daemon")))
        super().run_task(async_fn, *args, **kwargs)


@asynccontextmanager
async def run_service(service: Any) -> AsyncIterator[None]:
    """Run a library service for as long as the block."""
    async with trio.open_nursery() as nursery:
        manager = SafeManager(service)
        service._manager = manager  # noqa: SLF001 - as the library's own runner does
        nursery.start_soon(manager.run)
        await manager.wait_started()
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await manager.stop()


def _survivor(
    async_fn: Callable[..., Awaitable[None]], *, again: bool
) -> Callable[..., Awaitable[None]]:
    async def run(*args: Any) -> None:
        while True:
            try:
                return await async_fn(*args)
            except Exception as error:  # noqa: BLE001 - it would stop the service
                _log.debug("%s failed: %r", async_fn, error)
            if not again:
                return None
            await trio.sleep(1)

    return run
