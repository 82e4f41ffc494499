"""``python -m tests.bench.transfer``: fetching a large result, beside bare TCP.

Prints one table and judges nothing. A provider, in a process of its own, holds one
sealed result; it is fetched again and again, each time with an empty store, opened and
written to disk. The yardstick is the same number of bytes over TCP on loopback between
two processes, hashed by whoever receives them: what a fetch that checks cannot do
without. Where they install, iroh and Kubo fetch as many bytes, too.
"""

import argparse
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import trio

from nunet_node.client import Client, JobFile, JobHandle, open_client
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import ResultKind
from nunet_node.runtime.home import Home, open_home
from nunet_node.storage.blocks import BlockStore
from tests.bench.figures import Figures, table
from tests.bench.provider import Provider, environment
from tests.bench.stores import IROH, KUBO, NotHereError, iroh, kubo

ROUNDS: Final = 5
MIB: Final = 128
RECEIVE_BYTES: Final = 256 << 10
TCP: Final = "TCP and SHA-256, trio"
SEALED: Final = "fetch, sealed"
PUBLIC: Final = "fetch, public"

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
def _sender(mib: int) -> Iterator[int]:
    """Run a process that sends so many bytes to whoever connects; yield its port."""
    with subprocess.Popen(
        [sys.executable, "-c", _SENDER, str(mib)],
        env=environment(),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


async def _bare(port: int) -> float:
    began = time.perf_counter()
    digest = hashlib.sha256()
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        while data := await stream.receive_some(RECEIVE_BYTES):
            digest.update(data)
    return time.perf_counter() - began


async def _result(client: Client, kind: ResultKind, mib: int) -> JobHandle:
    script = f"head -c {mib << 20} /dev/urandom > it"
    work = JobFile(command=("sh", "-c", script), disk_bytes=1 << 30, results=kind)
    handle = await client.submit(work)
    order = await handle.ended()
    if order.state is not State.COMPLETED:
        raise RuntimeError(f"{order.state}: {order.reason}")
    return handle


async def _fetch(handle: JobHandle, home: Home, target: Path) -> float:
    with BlockStore(home.blocks) as store:
        for cid in list(store.cids()):
            store.delete(cid)
    # What was written and deleted so far is not this fetch's to wait for.
    await trio.to_thread.run_sync(os.sync)
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


async def _measure(place: Path, rounds: int, mib: int) -> Figures:
    figures = Figures()
    home = open_home(place / "user")
    with (
        Provider(place / "provider") as provider,
        _sender(mib) as port,
        _others(place, mib) as others,
    ):
        async with open_client(home, bootstrap=(provider.address,)) as client:
            handles = {
                SEALED: await _result(client, ResultKind.SEALED, mib),
                PUBLIC: await _result(client, ResultKind.PUBLIC, mib),
            }
            for turn in range(rounds):
                figures.add(TCP, [await _bare(port)])
                for name, handle in handles.items():
                    target = place / f"{handle.job}-{turn}"
                    figures.add(name, [await _fetch(handle, home, target)])
                for name, fetch in others.items():
                    figures.add(name, [await trio.to_thread.run_sync(fetch)])
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--mib", type=int, default=MIB)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        place = Path(directory)
        place.chmod(0o711)
        figures = trio.run(_measure, place, said.rounds, said.mib)
    rows = []
    for name in figures.samples:
        taken = figures.median(name)
        rate = f"{said.mib / taken:.0f}" if taken else ""
        rows.append([*figures.row(name, (TCP, SEALED)), rate])
    head = f"{said.mib} MiB"
    heads = [head, "median ms", "least", "most", "/ TCP", "/ sealed", "MiB/s"]
    sys.stdout.write(table(heads, rows) + "\n")


if __name__ == "__main__":
    main()
