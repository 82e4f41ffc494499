"""One submitting peer of a scenario on real processes, as a process of its own.

It is told on its standard input what to submit and when, and says on its standard
output what it hears, each as one JSON document a line. Rule: it is the ordinary client
and nothing else; only frames are counted on their way through.
"""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from nunet_node.client import Client, JobFile, open_client
from nunet_node.errors import PeerError
from nunet_node.jobs.job_file import FileInput
from nunet_node.jobs.specification import Engine, RetryCause
from nunet_node.network.host import open_host
from nunet_node.network.port import Host, HostSettings
from nunet_node.network.stream import Stream
from nunet_node.protocol.effects import News, OrderChanged
from nunet_node.protocol.messages import CONTROL_PROTOCOL
from nunet_node.simulator.plan import NS_PER_S, Cancelled, Placed
from nunet_node.simulator.scenario import Work
from nunet_node.simulator.watch.course import moment_of


class Joining(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: how to join, and how many providers there are."""

    home: str
    bootstrap: tuple[str, ...]
    providers: int


class Working(msgspec.Struct, frozen=True, kw_only=True):
    """The second line: what to do, from which moment of the monotonic clock on."""

    begin_ns: int
    work: Work
    happenings: tuple[Placed | Cancelled, ...]


class _Traffic:
    """Frames of the control protocol that passed."""

    def __init__(self) -> None:
        self.frames = 0
        self.bytes = 0

    def count(self, data: bytes | None) -> None:
        """Count a frame, if it is one."""
        self.frames += data is not None
        self.bytes += len(data or b"")


class _CountedStream(Stream):
    """A control stream whose frames are counted."""

    def __init__(self, inner: Stream, traffic: _Traffic) -> None:
        self.peer_id, self.protocol = inner.peer_id, inner.protocol
        self._inner, self._traffic = inner, traffic

    async def send(self, data: bytes) -> None:
        await self._inner.send(data)
        self._traffic.count(data)

    async def receive(self) -> bytes | None:
        data = await self._inner.receive()
        self._traffic.count(data)
        return data

    async def finish(self) -> None:
        await self._inner.finish()

    async def reset(self) -> None:
        await self._inner.reset()


class _CountedHost:
    """A host that counts what it says on control streams; all else passes."""

    def __init__(self, inner: Host, traffic: _Traffic) -> None:
        self._inner, self._traffic = inner, traffic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def open_stream(self, peer_id: str, protocol: str) -> Stream:
        """Open a stream, counted if it is one of the control protocol."""
        stream = await self._inner.open_stream(peer_id, protocol)
        if protocol != CONTROL_PROTOCOL:
            return stream
        return _CountedStream(stream, self._traffic)


async def main() -> None:
    """Join, work, and tell."""
    joining = msgspec.json.decode(await _line(), type=Joining)
    traffic = _Traffic()

    @asynccontextmanager
    async def network(settings: HostSettings) -> AsyncIterator[Any]:
        async with open_host(settings) as host:
            yield _CountedHost(host, traffic)

    async with open_client(
        Path(joining.home), bootstrap=joining.bootstrap, gossip=True, network=network
    ) as client:
        await client.join()
        _say(event="ready")
        await client.until_heard(lambda nodes: len(nodes) >= joining.providers)
        _say(event="knows")
        working = msgspec.json.decode(await _line(), type=Working)
        traffic.frames = traffic.bytes = 0
        await _work(client, working, Path(joining.home))
        _say(event="over", frames=traffic.frames, bytes=traffic.bytes)


async def _work(client: Client, working: Working, home: Path) -> None:
    handles = dict[int, Any]()
    async with trio.open_nursery() as nursery:
        for happening in working.happenings:
            left_ns = working.begin_ns + happening.at_ns - time.monotonic_ns()
            await trio.sleep(max(0, left_ns) / NS_PER_S)
            if isinstance(happening, Cancelled):
                handle = handles.get(happening.number)
                if handle is not None:
                    nursery.start_soon(_cancel, handle)
                continue
            file = await _file(working.work, happening, home)
            _say(event="told", number=happening.number, moment="placed", at_ns=_now())
            told = partial(_told, happening.number)
            handle = handles[happening.number] = await client.submit(file, told)
            nursery.start_soon(_until_ended, handle, happening.number, home)


async def _until_ended(handle: Any, number: int, home: Path) -> None:
    order = await handle.ended()
    fetched, why = False, order.reason
    try:
        if order.result is not None:
            await handle.fetch(home / "results" / str(number))
            fetched = True
    except PeerError as error:
        why = str(error)
    _say(event="ended", number=number, state=order.state, fetched=fetched, why=why)


async def _cancel(handle: Any) -> None:
    try:
        await handle.cancel()
    except PeerError as error:
        _say(event="problem", why=str(error))


async def _file(work: Work, wanted: Placed, home: Path) -> JobFile:
    inputs: tuple[FileInput, ...] = ()
    if wanted.has_inputs:
        path = trio.Path(home / f"input-{wanted.number}")
        # Every job has inputs of its own, so that none are there already.
        block = wanted.number.to_bytes(16, "big")
        await path.write_bytes(block * (work.inputs_bytes // len(block)))
        inputs = (FileInput(path=str(path), dest="input"),)
    pause = f"sleep {wanted.run_ms / 1000}; exit {wanted.exit_code}"
    return JobFile(
        name=f"job-{wanted.number}",
        engine=Engine.PROCESS,
        command=("sh", "-c", pause),
        inputs=inputs,
        cpu_millis=wanted.cpus * 1000,
        memory_bytes=64 << 20,
        disk_bytes=64 << 20,
        run_s=work.run_s_max,
        queue_s=work.queue_s,
        attempts=work.attempts,
        retry_on=(RetryCause.LOST,),
        price_micro_ntx_max=work.price_micro_ntx_max,
    )


def _told(number: int, news: News) -> None:
    found = moment_of(news)
    if found is not None:
        state = ""
        if isinstance(news, OrderChanged) and news.notice is not None:
            state = str(news.notice.state)
        _say(event="told", number=number, moment=found[0], at_ns=_now(), state=state)


async def _line() -> bytes:
    return await trio.to_thread.run_sync(sys.stdin.buffer.readline)


def _now() -> int:
    return time.monotonic_ns()


def _say(**document: Any) -> None:
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main)
