"""The same trivial job by others, on the same machine, in the same minutes.

`/bin/true` through Slurm, Ray and dask where they are installed (`make test-slurm` and
`make test-ray` do that), beside our own ways. Rule: what is not installed is named,
not guessed. None of the others puts a job into a sandbox, proves who asked, or hands
back a signed result; docs/benchmarks.md says what each row includes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from nunet_node.client import Client, JobFile, open_client
from nunet_node.jobs.lifecycle import State
from tests.bench.figures import Figures, table
from tests.bench.provider import OFFER, Provider
from tests.bench.yardsticks import TRUE, Box, boxed, spawn, timed
from tests.cluster import rays, slurm
from tests.cluster.behaviour import configuration
from tests.cluster.daemons import clean_environment

ROUNDS: Final = 5
POLL_S: Final = 0.01
"""How often Ray is asked whether a job has ended: a hundredth of what it takes."""
ENDED: Final = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
HEADS: Final = ("median ms", "least", "most")

SPAWN: Final = "posix_spawn"
BOX: Final = "bubblewrap"
OURS: Final = "nunet-node, warm client"
_DASK: Final = """
import subprocess, sys, time
from distributed import Client, LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        print("ready", flush=True)
        for line in sys.stdin:
            began = time.perf_counter()
            client.submit(subprocess.run, ["/bin/true"], pure=False).result()
            print(time.perf_counter() - began, flush=True)
"""

Act = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Table:
    """What takes part, what it took, and who is not here."""

    place: Path
    acts: dict[str, Callable[[], Awaitable[float]]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    figures: Figures = field(default_factory=Figures)
    _count: int = 0

    def job(self, name: str, act: Act) -> None:
        """Let an awaitable act take part."""

        async def measured() -> float:
            began = time.perf_counter()
            await act()
            return time.perf_counter() - began

        self.acts[name] = measured

    def call(self, name: str, act: Callable[[], object]) -> None:
        """Let a call that blocks take part."""

        async def measured() -> float:
            return (await trio.to_thread.run_sync(timed, act, 1))[0]

        self.acts[name] = measured

    def fresh(self) -> Path:
        """Return a directory that does not exist yet."""
        self._count += 1
        return self.place / f"result-{self._count}"


async def _ours(made: Table, client: Client) -> None:
    handle = await client.submit(JobFile(command=TRUE))
    order = await handle.ended()
    if order.state is not State.COMPLETED:
        raise RuntimeError(f"{order.state}: {order.reason}")
    await handle.fetch(made.fresh())


async def _with_provider(
    made: Table, stack: AsyncExitStack, name: str, offer: tuple[str, ...]
) -> None:
    """Let a provider of our own take part; its first job waits until it is ready."""
    place = made.place / name.replace(" ", "-").replace(",", "")
    place.mkdir(mode=0o711)
    provider = stack.enter_context(Provider(place / "provider", offer))
    client = await stack.enter_async_context(
        open_client(place / "client", bootstrap=[provider.address])
    )
    await _ours(made, client)
    made.job(name, partial(_ours, made, client))


async def _with_slurm(made: Table, stack: AsyncExitStack) -> None:
    if slurm.missing():
        made.absent.append(f"Slurm (no {', '.join(slurm.missing())})")
        return
    place = made.place / "slurm"
    place.mkdir(mode=0o755)
    cluster = stack.enter_context(slurm.slurm(place))
    made.call("Slurm: srun", partial(cluster.ran, "srun", *TRUE))
    wait = ("sbatch", "--wait", "--output=/dev/null", "--wrap=/bin/true")
    made.call("Slurm: sbatch --wait", partial(cluster.ran, *wait))
    config = str(configuration(cluster, place))
    await _with_provider(made, stack, "nunet-node on Slurm", ("--config", config))


async def _with_ray(made: Table, stack: AsyncExitStack) -> None:
    program = rays.program()
    if program is None:
        made.absent.append("Ray and dask (no .make/ray)")
        return
    cluster = stack.enter_context(rays.ray())
    client = await stack.enter_async_context(
        httpx.AsyncClient(base_url=cluster.address, timeout=60, headers=cluster.headers)
    )
    made.job("Ray: Jobs API", partial(_ray_job, client))
    words = (program, "job", "submit", "--address", cluster.address, "--", *TRUE)
    quietly = partial(
        subprocess.run,
        words,
        env=cluster.environment(),
        capture_output=True,
        check=True,
    )
    made.call("Ray: ray job submit", quietly)
    place = made.place / "ray"
    place.mkdir(mode=0o755)
    config = str(configuration(cluster, place))
    await _with_provider(made, stack, "nunet-node on Ray", ("--config", config))
    made.call("dask: Client.submit", _dask(stack, Path(program).with_name("python")))


async def _ray_job(client: httpx.AsyncClient) -> None:
    asked = {"entrypoint": TRUE[0], "entrypoint_num_cpus": 1}
    answer = await client.post("/api/jobs/", json=asked)
    job = answer.raise_for_status().json()["submission_id"]
    status: Any = None
    while status not in ENDED:
        await trio.sleep(POLL_S)
        status = (await client.get(f"/api/jobs/{job}")).json()["status"]
    if status != "SUCCEEDED":
        raise RuntimeError(f"Ray's job is {status}")


def _dask(stack: AsyncExitStack, python: Path) -> Callable[[], object]:
    """Start a cluster of dask's with one worker; return what does one job on it."""
    process = stack.enter_context(
        subprocess.Popen(
            [python, "-c", _DASK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
        )
    )
    told, asked = process.stdout, process.stdin
    assert told is not None
    assert asked is not None
    if told.readline() != b"ready\n":
        raise RuntimeError("dask did not start")

    def act() -> None:
        asked.write(b"\n")
        asked.flush()
        json.loads(told.readline())

    act()
    return act


async def _measure(made: Table, rounds: int, box: Box | None) -> None:
    async with AsyncExitStack() as stack:
        made.call(SPAWN, spawn)
        if box is not None:
            made.call(BOX, box.run)
        await _with_provider(made, stack, OURS, OFFER)
        await _with_slurm(made, stack)
        await _with_ray(made, stack)
        for _ in range(rounds):
            for name, act in made.acts.items():
                made.figures.add(name, [await act()])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # The users of jobs pass through here on the way to the box.
        place.chmod(0o711)
        (place / "boxes").mkdir(mode=0o711)
        made = Table(place)
        box = stack.enter_context(boxed(place / "boxes"))
        trio.run(_measure, made, rounds, box)
    figures, yardsticks = made.figures, (BOX, OURS) if box else (OURS,)
    rows = [figures.row(name, yardsticks) for name in figures.samples]
    heads = ["/bin/true, by", *HEADS, *(f"/ {each}" for each in yardsticks)]
    sys.stdout.write(f"\n{table(heads, rows)}\n\nrounds: {rounds}, load at the end: ")
    sys.stdout.write(f"{os.getloadavg()[0]:.1f}\n")
    for each in made.absent:
        sys.stdout.write(f"not installed: {each}\n")


if __name__ == "__main__":
    main()
