"""``make bench``: what a job through the network costs beside the same job alone.

Prints tables and judges nothing. Everything runs on this machine, over libp2p on
loopback, between separate processes: a provider, and this one as the submitting
peer. docs/benchmarks.md says how to read the figures.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from nunet_node.client import Client, JobFile, open_client
from nunet_node.jobs.lifecycle import State
from tests.bench.alone import alone, bare_script, native, script
from tests.bench.figures import Figures, table
from tests.bench.provider import Provider, environment, words
from tests.bench.yardsticks import (
    TRUE,
    Box,
    boxed,
    command,
    each_at,
    spawn,
    spawn_async,
    timed,
    timed_async,
)

ROUNDS: Final = 7
"""Medians of fewer than five say nothing; more than this takes minutes."""
IN_FLIGHT: Final = 8
AT_ONCE_COUNT: Final = 24
"""Jobs in one sample of throughput: three for each place."""
SETTLED_S: Final = 2.0
"""How long a node is left alone before its idle memory is read."""

SPAWN: Final = "posix_spawn"
BOX: Final = "bubblewrap"
CHILD: Final = "python child, by hand"
STORED: Final = "process job, from its order until stored"
SCRIPT_STORED: Final = "python job, from its order until stored"
WARM: Final = "job, warm client"
ENDED: Final = "job, warm client, until its end is told"
COMMAND: Final = "job, whole command"
HELP: Final = "nunet-node --help"
SPAWN_MANY: Final = "trio.run_process, 8 at once"
STORED_MANY: Final = "process job, 8 in flight, until stored"
BOX_MANY: Final = "bubblewrap, 8 at once"
WARM_MANY: Final = "job, 8 in flight"
CLIENT_CPU: Final = "submitting peer"
NODE_CPU: Final = "provider"
BOX_CPU: Final = "provider's children: sandbox and job"
PYTHON: Final = "python -c pass"
HEADS: Final = ("median ms", "least", "most")
FIRST_READY: Final = "up to ready, new home"
READY: Final = "up to ready, known home"


@dataclass(slots=True)
class Bench:
    """One run: where it happens, and what it found."""

    place: Path
    figures: Figures = field(default_factory=Figures)
    near: Figures = field(default_factory=Figures)
    """Of the provider's own part, with yardsticks measured beside it."""
    cpu: Figures = field(default_factory=Figures)
    _count: int = 0

    def fresh(self, name: str) -> Path:
        """Return a directory that does not exist yet."""
        self._count += 1
        return self.place / f"{name}-{self._count}"


async def _job(bench: Bench, client: Client, ended: list[float]) -> None:
    """Submit a trivial job, wait for its end, and fetch and verify its result."""
    began = time.perf_counter()
    handle = await client.submit(JobFile(command=TRUE))
    order = await handle.ended()
    ended.append(time.perf_counter() - began)
    if order.state is not State.COMPLETED:
        raise RuntimeError(f"{order.state}: {order.reason}")
    await handle.fetch(bench.fresh("result"))


async def _rounds(
    bench: Bench, count: int, client: Client, provider: Provider, box: Box | None
) -> None:
    figures = bench.figures
    whole = partial(_whole_command, bench, provider.address)
    ended: list[float] = []
    warm = partial(_job, bench, client, ended)
    await timed_async(warm, 3)
    for _ in range(count):
        ended.clear()
        figures.add(SPAWN, timed(spawn, 5))
        if box is not None:
            figures.add(BOX, timed(box.run, 5))
        figures.add(WARM, await timed_async(warm, 5))
        figures.add(ENDED, ended)
        figures.add(HELP, await trio.to_thread.run_sync(timed, _help(bench), 1))
        figures.add(COMMAND, await trio.to_thread.run_sync(timed, whole, 1))
        for name, act in _at_once(box, WARM_MANY, warm).items():
            before, began = provider.work(), time.process_time()
            figures.add(name, [await each_at(IN_FLIGHT, AT_ONCE_COUNT, act)])
            if name == WARM_MANY:
                after = provider.work()
                bench.cpu.add(CLIENT_CPU, [_per_job(time.process_time() - began)])
                bench.cpu.add(NODE_CPU, [_per_job(after.own - before.own)])
                bench.cpu.add(BOX_CPU, [_per_job(after.jobs - before.jobs)])


def _per_job(seconds: float) -> float:
    return seconds / AT_ONCE_COUNT


def _at_once(
    box: Box | None, name: str, job: Callable[[], Awaitable[object]]
) -> dict[str, Callable[[int], Awaitable[object]]]:
    acts: dict[str, Callable[[int], Awaitable[object]]]
    acts = {SPAWN_MANY: lambda _turn: spawn_async()}
    if box is not None:
        acts[BOX_MANY] = lambda _turn: box.run_async()
    acts[name] = lambda _turn: job()
    return acts


def _whole_command(bench: Bench, address: str) -> None:
    line = ("submit", "--bootstrap", address, "--out", str(bench.fresh("out")))
    home = bench.place / "user"
    command(words(home, *line, "--", *TRUE), bench.place, environment())()


def _help(bench: Bench) -> Callable[[], object]:
    return command(words(bench.place / "user", "--help"), bench.place, environment())


def _starts(bench: Bench, count: int) -> tuple[str, str]:
    """Start nodes and let them be; return what the last one holds when idle."""
    python = command([sys.executable, "-c", "pass"], bench.place, {})
    memory = ("-", "-")
    for turn in range(count):
        home = bench.fresh("node")
        bench.figures.add(PYTHON, timed(python, 3))
        with Provider(home) as provider:
            bench.figures.add(FIRST_READY, [provider.ready_s])
        with Provider(home) as provider:
            bench.figures.add(READY, [provider.ready_s])
            if turn == count - 1:
                time.sleep(SETTLED_S)
                held = provider.memory()
                memory = (_mib(held.resident), _mib(held.proportional))
    return memory


async def _alone(bench: Bench, count: int, box: Box | None) -> None:
    figures = bench.near
    place = bench.fresh("alone")
    place.mkdir(mode=0o711)
    boxes = bench.place / "boxes"
    async with alone(place) as provider, bare_script(boxes) as child:
        process = partial(provider.run, native(TRUE))
        python = partial(provider.run, script(provider.custody, place))
        await timed_async(process, 5)
        for _ in range(count):
            if box is not None:
                figures.add(BOX, timed(box.run, 5))
            figures.add(STORED, await timed_async(process, 5))
            if child is not None:
                figures.add(CHILD, timed(child, 3))
                figures.add(SCRIPT_STORED, await timed_async(python, 3))
            for name, act in _at_once(box, STORED_MANY, process).items():
                figures.add(name, [await each_at(IN_FLIGHT, AT_ONCE_COUNT, act)])


async def _measure(bench: Bench, rounds: int, box: Box | None) -> None:
    async with AsyncExitStack() as stack:
        provider = stack.enter_context(Provider(bench.place / "provider"))
        client = await stack.enter_async_context(
            open_client(bench.place / "client", bootstrap=[provider.address])
        )
        await _rounds(bench, rounds, client, provider, box)


def _report(bench: Bench, memory: tuple[str, str]) -> str:
    figures = bench.figures
    alone, many, start = (SPAWN, BOX), (SPAWN_MANY, BOX_MANY), (PYTHON,)
    tables = (
        ("One job", alone, (SPAWN, BOX, ENDED, WARM, HELP, COMMAND)),
        ("Throughput, time for each", many, (SPAWN_MANY, BOX_MANY, WARM_MANY)),
        ("Start", start, (PYTHON, FIRST_READY, READY)),
    )
    near = (
        ("Provider's own part", (BOX,), (BOX, STORED)),
        ("Provider's own part, python", (CHILD,), (CHILD, SCRIPT_STORED)),
        ("Provider's own part, time for each", (BOX_MANY,), (BOX_MANY, STORED_MANY)),
    )
    parts = [_part(bench.near, *each) for each in near]
    parts += [_part(figures, *each) for each in tables]
    rows = [bench.cpu.row(name, ()) for name in bench.cpu.samples]
    parts.append(table(["Processor time of a job, 8 in flight", *HEADS], rows))
    rates = [
        f"- {name}: {1 / taken:.0f} a second"
        for name in (SPAWN_MANY, BOX_MANY, WARM_MANY)
        if (taken := figures.median(name))
    ]
    held = f"Idle node: {memory[0]} MiB resident, {memory[1]} MiB proportional."
    return "\n\n".join((*parts, "\n".join(rates), held))


def _part(
    figures: Figures, title: str, yardsticks: tuple[str, ...], names: tuple[str, ...]
) -> str:
    rows = [figures.row(n, yardsticks) for n in names if n in figures.samples]
    return table([title, *HEADS, *(f"/ {each}" for each in yardsticks)], rows)


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.0f}"


def _machine() -> str:
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} processors, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {load:.1f} at the start"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    out = sys.stdout.write
    out(f"One run of {rounds} rounds on one machine: {_machine()}\n\n")
    sys.stdout.flush()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # The users of jobs pass through here on the way to the box.
        place.chmod(0o711)
        scratch = place / "boxes"
        scratch.mkdir(mode=0o711)
        bench = Bench(place)
        box = stack.enter_context(boxed(scratch))
        if box is None:
            out("bubblewrap does not work here: compared with posix_spawn alone\n\n")
        trio.run(_alone, bench, rounds, box)
        trio.run(_measure, bench, rounds, box)
        memory = _starts(bench, rounds)
        out(_report(bench, memory) + "\n")


main()
