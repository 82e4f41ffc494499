"""A proxy that gives loopback the weather of a scenario: delay, loss and cuts.

Each node is announced at a port of this proxy, so every connection passes it. What
is sent waits here for as long as the simulator would let it (`medium.links.Paths`,
the same law for both); what a partition holds back waits until it ends, as TCP would
send it again; and of a machine that went dark nothing comes any more, not even the
end of its connections. Rule: bytes are never changed, lost or put in another order,
because TCP would not do so either: a lost segment is a pause.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import trio

from nunet_node.simulator.medium.links import Paths
from nunet_node.simulator.plan import NS_PER_S, Parted
from nunet_node.simulator.world.machine import Machine

CHUNK_BYTES_MAX: Final = 1 << 16
"""Read at once; about a window of TCP."""

CHUNKS_MAX: Final = 256
"""Waiting in one direction: with more on its way the sender waits, as with TCP."""

NOTICES_MAX: Final = 100_000
"""Connections given up that are kept for the measures."""

_OVER: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(slots=True, kw_only=True, eq=False)
class Line:
    """One proxied connection between two machines."""

    dialler: Machine
    listener: Machine
    near: trio.SocketStream
    """Towards who dialled."""
    far: trio.SocketStream


@dataclass(slots=True)
class Proxy:
    """Stands before every node of a run."""

    paths: Paths
    machine_of: Callable[[int], Machine | None]
    """Says whose a local TCP port is."""
    ports: dict[int, int] = field(default_factory=dict)
    """Where each machine really listens, by its index."""
    dark: dict[int, int] = field(default_factory=dict)
    """Machines of which nothing comes any more, and since when."""
    notices_ns: deque[tuple[int, int, int]] = field(
        default_factory=lambda: deque(maxlen=NOTICES_MAX)
    )
    """Who gave a connection up to which dark machine, and after how long."""
    connections: int = 0
    carried_bytes: int = 0
    _changed: trio.Event = field(default_factory=trio.Event)

    async def open(self, machine: Machine, tasks: trio.Nursery) -> int:
        """Accept what is meant for a machine from now on; return the port."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def handle(stream: trio.SocketStream) -> None:
            with suppress(OSError, *_OVER):
                await self._carry(machine, stream)

        tasks.start_soon(trio.serve_listeners, handle, listeners)
        port: int = listeners[0].socket.getsockname()[1]
        return port

    def cut(self, parted: Parted, machines: int) -> None:
        """Begin a partition."""
        self.paths.cut(parted, machines)

    def mend(self, parted: Parted) -> None:
        """End a partition, and let through what it held back."""
        self.paths.mend(parted)
        self._stir()

    def darken(self, machine: Machine) -> None:
        """Let nothing of a machine be heard any more."""
        self.dark[machine.index] = time.monotonic_ns()

    def lighten(self, machine: Machine) -> None:
        """Let a machine be reached again, over new connections."""
        self.dark.pop(machine.index, None)

    def heal(self) -> None:
        """End every fault on the way."""
        self.paths.healed = True
        self.paths.cuts.clear()
        self._stir()

    async def _carry(self, machine: Machine, near: trio.SocketStream) -> None:
        """Carry one connection for as long as both sides want it."""
        dialler = self.machine_of(near.socket.getpeername()[1]) or machine
        self.connections += 1
        async with near:
            # The handshake of TCP crosses the path and returns.
            there_ns = self.paths.delay_ns(dialler, machine)
            await trio.sleep((there_ns + self.paths.delay_ns(machine, dialler)) / 1e9)
            await self._until_passes(dialler, machine)
            await self._until_passes(machine, dialler)
            if machine.index in self.dark:
                await _until_closed(near)
                return
            port = self.ports[machine.index]
            far = await trio.open_tcp_stream("127.0.0.1", port)
            async with far, trio.open_nursery() as nursery:
                line = Line(dialler=dialler, listener=machine, near=near, far=far)
                nursery.start_soon(self._way, line, True, nursery.cancel_scope)
                nursery.start_soon(self._way, line, False, nursery.cancel_scope)

    async def _way(self, line: Line, forth: bool, over: trio.CancelScope) -> None:  # noqa: FBT001
        """Carry one direction; when it ends, and that has arrived, all is over."""
        source, drain = (line.near, line.far) if forth else (line.far, line.near)
        one, other = line.dialler, line.listener
        sender, receiver = (one, other) if forth else (other, one)
        give, take = trio.open_memory_channel[tuple[int, bytes]](CHUNKS_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, source, (sender, receiver), give)
            async for due_ns, data in take:
                left_ns = due_ns - time.monotonic_ns()
                await trio.sleep(max(0, left_ns) / NS_PER_S)
                await self._until_passes(sender, receiver)
                if receiver.index in self.dark or sender.index in self.dark:
                    continue
                with suppress(*_OVER):
                    await drain.send_all(data)
            nursery.cancel_scope.cancel()
        if sender.index in self.dark:
            # It died; nobody hears of that. The other side ends it, in time.
            await trio.sleep_forever()
        since_ns = self.dark.get(receiver.index)
        if since_ns is not None:
            after_ns = time.monotonic_ns() - since_ns
            self.notices_ns.append((sender.index, receiver.index, after_ns))
        over.cancel()

    async def _read(
        self,
        source: trio.SocketStream,
        ends: tuple[Machine, Machine],
        give: trio.MemorySendChannel[tuple[int, bytes]],
    ) -> None:
        due_ns = 0
        async with give:
            with suppress(*_OVER):
                while data := await source.receive_some(CHUNK_BYTES_MAX):
                    after_ns = self.paths.frame_ns(*ends, len(data))
                    if after_ns is None:
                        return
                    self.carried_bytes += len(data)
                    due_ns = max(due_ns, time.monotonic_ns() + after_ns)
                    await give.send((due_ns, data))

    async def _until_passes(self, sender: Machine, receiver: Machine) -> None:
        while not self.paths.passes(sender, receiver):
            await self._changed.wait()

    def _stir(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


async def _until_closed(stream: trio.SocketStream) -> None:
    while await stream.receive_some(CHUNK_BYTES_MAX):
        pass
