"""The demonstration's providers: real ``nunet-node up`` processes on loopback.

Rule: whatever happens, no process outlives the demonstration. Each provider has a
home and a key of its own, and finds the others through the first one.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from nunet_node.errors import PeerError

START_S: Final = 60
"""How long a provider may take to start; on a busy machine it is slow."""

STOP_S: Final = 5
"""How long a provider may take to say goodbye before it is killed."""

READY_LINE_BYTES_MAX: Final = 65_536
"""Longest first line of a provider; real ones have a few hundred bytes."""


class DemoError(PeerError):
    """The demonstration cannot go on."""

    code = "demo.failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider that is ready."""

    name: str
    did: str
    address: str


@asynccontextmanager
async def providers(homes: Path, count: int) -> AsyncIterator[tuple[Provider, ...]]:
    """Run providers for as long as the block.

    Args:
        homes: where their homes are made.
        count: how many.

    Raises:
        DemoError: one of them did not start; says what it said.
    """
    running: list[trio.Process] = []
    try:
        async with trio.open_nursery() as listeners:
            start = partial(_start, homes, running, listeners)
            first = await start(1, ())
            rest: list[Provider] = []

            async def another(number: int) -> None:
                rest.append(await start(number, (first.address,)))

            async with trio.open_nursery() as nursery:
                for number in range(2, count + 1):
                    nursery.start_soon(another, number)
            yield (first, *sorted(rest, key=lambda each: each.name))
            listeners.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _stop(running)


async def _start(
    homes: Path,
    running: list[trio.Process],
    listeners: trio.Nursery,
    number: int,
    bootstrap: tuple[str, ...],
) -> Provider:
    name = f"provider-{number}"
    price = f"{0.1 * number:.1f}"
    words = ["--home", str(homes / name), "--json", "up", "--no-mdns"]
    words += ["--listen", "/ip4/127.0.0.1/tcp/0", "--cpus", "1", "--price", price]
    words += ["--memory", "1GiB", "--disk", "1GiB"]
    for address in bootstrap:
        words += ["--bootstrap", address]
    log = homes / f"{name}.log"
    with log.open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "nunet_node", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            # Ctrl-C is for the demonstration, which then stops them in order.
            start_new_session=True,
        )
    running.append(process)
    with trio.move_on_after(START_S):
        line = await _first_line(process)
        if line:
            listeners.start_soon(_drain, process)
            ready = json.loads(line)
            return Provider(name=name, did=ready["did"], address=ready["addresses"][0])
    said = log.read_text(errors="replace").strip().splitlines()
    raise DemoError(f"{name} did not start: {said[-1] if said else 'it said nothing'}")


async def _first_line(process: trio.Process) -> bytes:
    """Return what the process says first; nothing if it ends without a word."""
    if process.stdout is None:
        return b""
    line = b""
    while not line.endswith(b"\n") and len(line) < READY_LINE_BYTES_MAX:
        piece = await process.stdout.receive_some(1)
        if not piece:
            return b""
        line += piece
    return line


async def _drain(process: trio.Process) -> None:
    """Read on, because a process whose output nobody reads stands still."""
    if process.stdout is not None:
        async for _ in process.stdout:
            pass


async def _stop(running: list[trio.Process]) -> None:
    for process in running:
        process.send_signal(signal.SIGTERM)
    with trio.move_on_after(STOP_S):
        for process in running:
            await process.wait()
    for process in running:
        if process.poll() is None:
            process.kill()
            await process.wait()
