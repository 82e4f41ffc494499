"""``python -m tests.bench.transfer``: fetching a large result, beside bare TCP.

Prints two tables and judges nothing. A provider, in a process of its own, holds one
sealed result; it is fetched again and again, each time with an empty store, opened and
written to disk. The yardstick is the same number of bytes over TCP on loopback between
two processes, hashed by whoever receives them: what a fetch that checks cannot do
without. Where they install, iroh and Kubo fetch as many bytes, too.

Each fetch has the yardstick measured right before it and right after it, so that both
met the same machine. The processor time of both sides hardly depends on what else runs.
Everything begins with memory that was in use until just now (`memory`), but for one
fetch of each round, which is measured after a pause and has a row of its own.
"""

import argparse
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Final

import trio

from nunet_node.client import Client, JobFile, JobHandle, open_client
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import ResultKind
from nunet_node.runtime.home import Home, open_home
from nunet_node.storage.blocks import BlockStore
from tests.bench.figures import Figures, table
from tests.bench.memory import PAUSE_S, pause, warm
from tests.bench.provider import Provider, environment, put_first, worked_s
from tests.bench.stores import IROH, KUBO, NotHereError, iroh, kubo

ROUNDS: Final = 5
MIB: Final = 128
RECEIVE_BYTES: Final = 256 << 10
TCP: Final = "TCP and SHA-256, trio"
SEALED: Final = "fetch, sealed"
PUBLIC: Final = "fetch, public"
PAUSED: Final = f"fetch, sealed, after a pause of {PAUSE_S} s"

_SENDER: Final = """
import socket, sys
data = bytes(1 << 20)
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    peer, _ = server.accept()
    with peer:
        for _ in range(int(sys.argv[1])):
            peer.sendall(data)
"""


@contextmanager
def _sender(mib: int) -> Iterator[tuple[int, int]]:
    """Run a process that sends so many bytes to whoever connects.

    Yields its port and its number.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _SENDER, str(mib)],
        env=environment(),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


async def _bare(port: int) -> float:
    began = time.perf_counter()
    digest = hashlib.sha256()
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        while data := await stream.receive_some(RECEIVE_BYTES):
            digest.update(data)
    return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class _Meter:
    """Takes the time of the clock and of the processors, on both sides.

    ``place`` is where the files lie that are written meanwhile.
    """

    place: Path
    clock: Figures
    work: Figures

    async def measure(
        self,
        name: str,
        peer: int,
        act: Callable[[], Awaitable[float]],
        *,
        paused: bool = False,
    ) -> None:
        """Do something with another process; ``act`` returns the seconds it took."""
        await trio.to_thread.run_sync(pause if paused else partial(warm, self.place))
        before = worked_s(peer) + time.process_time()
        self.clock.add(name, [await act()])
        self.work.add(name, [worked_s(peer) + time.process_time() - before])

    async def measure_other(self, name: str, act: Callable[[], float]) -> None:
        """Let another program do it, which counts its own seconds."""
        await trio.to_thread.run_sync(warm, self.place)
        self.clock.add(name, [await trio.to_thread.run_sync(act)])


async def _result(client: Client, kind: ResultKind, mib: int) -> JobHandle:
    script = f"head -c {mib << 20} /dev/urandom > it"
    work = JobFile(command=("sh", "-c", script), disk_bytes=1 << 30, results=kind)
    handle = await client.submit(work)
    order = await handle.ended()
    if order.state is not State.COMPLETED:
        raise RuntimeError(f"{order.state}: {order.reason}")
    return handle


async def _clear(home: Home, target: Path) -> None:
    """Remove what a fetch left, so that the next begins with nothing.

    Its memory is free again, and need not be had from the machine below this one.
    """
    shutil.rmtree(target)
    with BlockStore(home.blocks) as store:
        for cid in list(store.cids()):
            store.delete(cid)
    # What was written and deleted so far is not the next fetch's to wait for.
    await trio.to_thread.run_sync(os.sync)


async def _fetch(handle: JobHandle, target: Path) -> float:
    began = time.perf_counter()
    await handle.fetch(target)
    return time.perf_counter() - began


@contextmanager
def _others(place: Path, mib: int) -> Iterator[dict[str, Callable[[], float]]]:
    """Yield what fetches as many bytes by other programs, and say who is not here."""
    file = place / "bytes"
    file.write_bytes(os.urandom(mib << 20))
    found: dict[str, Callable[[], float]] = {}
    with ExitStack() as stack:
        for name, opened in (
            (IROH, iroh(place / "iroh", file)),
            (KUBO, kubo(place / "kubo", file, (_free_port(), _free_port()))),
        ):
            (place / name.split()[0].lower().strip(",")).mkdir()
            try:
                found[name] = stack.enter_context(opened)
            except NotHereError as error:
                sys.stdout.write(f"without {name}: {error}\n")
        yield found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def _measure(place: Path, rounds: int, mib: int, *, first: bool) -> _Meter:
    meter = _Meter(place, Figures(), Figures())
    home = open_home(place / "user")
    with (
        Provider(place / "provider") as provider,
        _sender(mib) as (port, sender),
        _others(place, mib) as others,
    ):
        async with open_client(home, bootstrap=(provider.address,)) as client:
            sealed = await _result(client, ResultKind.SEALED, mib)
            public = await _result(client, ResultKind.PUBLIC, mib)
            handles = {SEALED: sealed, PUBLIC: public, PAUSED: sealed}
            bare = partial(_bare, port)
            if first:
                put_first(os.getpid())
            for turn in range(rounds):
                for name, handle in handles.items():
                    target = place / f"{name}-{turn}".replace(" ", "-")
                    await meter.measure(f"{TCP}, before {name}", sender, bare)
                    fetch = partial(_fetch, handle, target)
                    paused = name == PAUSED
                    await meter.measure(name, provider.pid, fetch, paused=paused)
                    await _clear(home, target)
                    await meter.measure(f"{TCP}, after {name}", sender, bare)
                for name, other in others.items():
                    await meter.measure_other(name, other)
    for figures in (meter.clock, meter.work):
        _join(figures, handles)
    return meter


def _join(figures: Figures, names: Iterable[str]) -> None:
    """Make one yardstick of those around each fetch, and one for all of a round."""
    every: list[list[float]] = []
    for name in names:
        around = [
            figures.samples.pop(f"{TCP}, {when} {name}") for when in ("before", "after")
        ]
        every += around
        figures.samples[f"{TCP}, around {name}"] = list(
            map(mean, zip(*around, strict=True))
        )
    figures.samples[TCP] = list(map(mean, zip(*every, strict=True)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--mib", type=int, default=MIB)
    parser.add_argument(
        "--first",
        action="store_true",
        help="measure everything at a real-time priority, beside other work",
    )
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        place = Path(directory)
        place.chmod(0o711)
        meter = trio.run(
            partial(_measure, place, said.rounds, said.mib, first=said.first)
        )
    sys.stdout.write(_tables(meter, said.mib) + "\n")


def _tables(meter: _Meter, mib: int) -> str:
    rows = []
    for name in (TCP, SEALED, PUBLIC, PAUSED, IROH, KUBO):
        taken = meter.clock.median(name)
        if taken is not None:
            row = _row(meter.clock, name, (SEALED,))
            rows.append([*row, f"{mib / taken:.0f}"])
    head = [f"{mib} MiB", "median ms", "least", "most", "/ TCP"]
    work = [_row(meter.work, name, ()) for name in (TCP, SEALED, PUBLIC, PAUSED)]
    said = [
        table([*head, "/ sealed", "MiB/s"], rows),
        "",
        table(["Processor time of both sides", *head[1:]], work),
        "",
    ]
    for name in (SEALED, PUBLIC, PAUSED):
        times = meter.clock.ratio(name, f"{TCP}, around {name}")
        said.append(f"- {name}: {1 / (times or 1):.0%} of the rate of TCP")
    return "\n".join(said)


def _row(figures: Figures, name: str, beside: tuple[str, ...]) -> list[str]:
    """Return a row, compared with the yardsticks that were measured around it."""
    around = f"{TCP}, around {name}"
    yardstick = around if around in figures.samples else TCP
    return figures.row(name, (yardstick, *beside))


if __name__ == "__main__":
    main()
