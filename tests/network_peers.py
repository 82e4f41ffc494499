"""Peers for network tests: pairs of hosts here, and one in a process of its own."""

import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import trio
from libp2p.stream_muxer.yamux.yamux import Yamux

from nunet_node.network.host import open_host
from nunet_node.network.port import HostSettings

ECHO = "/nunet/test-echo/1"

HOLD = "/nunet/test-hold/1"

PEER_PROGRAM = """
import sys, trio
from nunet_node.network.host import open_host
from nunet_node.network.port import HostSettings

async def echo(stream):
    while (data := await stream.receive()) is not None:
        await stream.send(data)

async def hold(stream):
    await trio.sleep_forever()

async def main():
    seed = bytes.fromhex(sys.argv[1])
    async with open_host(HostSettings(seed=seed, listen=(sys.argv[2],))) as host:
        host.serve("/nunet/test-echo/1", echo)
        host.serve("/nunet/test-hold/1", hold)
        print(host.addresses()[0], flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def settings(number=1, **changes):
    return HostSettings(seed=bytes([number]) * 32, **changes)


@asynccontextmanager
async def hosts(count, **changes):
    """Run this many hosts, none connected."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(open_host(settings(n + 1, **changes)))
            for n in range(count)
        ]


@asynccontextmanager
async def pair(**changes):
    """Run two hosts; the second has dialled the first, which echoes."""
    async with hosts(2, **changes) as (a, b):
        a.serve(ECHO, echo)
        await b.connect(a.addresses())
        yield a, b


async def echo(stream):
    while (data := await stream.receive()) is not None:
        await stream.send(data)


async def answers(host, peer_id):
    """Tell whether a new stream to this peer works."""
    with trio.fail_after(20):
        async with await host.open_stream(peer_id, ECHO) as stream:
            await stream.send(b"there?")
            return await stream.receive() == b"there?"


async def hold(_stream):
    await trio.sleep_forever()


class StockYamux(Yamux):
    """The library's own multiplexer, where a test wants it in place of ours."""

    def abort(self):
        self.event_shutting_down.set()


def swarm_of(host):
    """Return the library's swarm, for tests that misbehave on purpose."""
    return host._swarm


def muxed(host, peer_id):
    """Return the library's connection to a peer."""
    return host._connection(peer_id).muxed_conn


async def raw_stream(host, peer_id, protocol):
    """Return a yamux stream, on which anything can be written."""
    stream = await host.open_stream(peer_id, protocol)
    return stream._transport._muxed


async def until(condition):
    """Wait for a state that no event announces."""
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.01)


@asynccontextmanager
async def peer_process(number=9, listen="/ip4/127.0.0.1/tcp/0"):
    """Run a peer in its own process; yields the process and its address."""
    command = [sys.executable, "-c", PEER_PROGRAM, f"{number:02x}" * 32, listen]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(_start, command)
        try:
            with trio.fail_after(60):
                line = bytearray()
                while not line.endswith(b"\n"):
                    line += await process.stdout.receive_some()
            yield process, line.decode().strip()
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


async def _start(command, task_status):
    process = await trio.lowlevel.open_process(command, stdout=-1)
    task_status.started(process)
    await process.wait()
