"""The provider's own part: from the order to run a job to its result, kept.

Rule: the parts are the node's own, put together as it does; only the network and the
deciding are left out. So a job's directory, its sandbox, its control group, the
collecting, the sealing and the syncs of what is stored are all paid for.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.executors import engines, jobdir, spawn
from nunet_node.executors.local import LocalExecutors
from nunet_node.executors.modules import ModuleCache
from nunet_node.executors.port import RunOrder
from nunet_node.identity.did import Did
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.job_file.description import JobFile, job_spec
from nunet_node.jobs.specification import JobId, JobSpec
from nunet_node.protocol.effects import DiscardScratch, StartJob, StoreResult
from nunet_node.protocol.inputs import Input, JobExited, ResultStored
from nunet_node.runtime.exchange.logs import LogBook
from nunet_node.runtime.home import cache_directory
from nunet_node.runtime.wallet.secrets import Unsealer
from nunet_node.runtime.work.custody import Custody
from nunet_node.runtime.work.execution import Execution
from nunet_node.storage.read_tree import Source, read_tree

UNSEALER: Final = Unsealer(SigningKey(b"n" * 32))
OWNER: Final[Did] = SigningKey(b"o" * 32).did
SCRIPT: Final = "nothing.py"
"""The least a script can do: it is empty."""


@dataclass(slots=True)
class Alone:
    """A warm provider without a network, for one job after the other or for many."""

    custody: Custody
    _execution: Execution | None = None
    _heard: dict[str, trio.MemorySendChannel[Input]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    async def run(self, spec: JobSpec) -> None:
        """Run a job to its end, and store what it left."""
        assert self._execution is not None
        job = JobId(f"{next(self._numbers):032}")
        self._heard[job], events = trio.open_memory_channel[Input](8)
        order = StartJob(job=job, attempt=1, owner=OWNER, spec=spec)
        self._execution.start(order)
        async for event in events:
            if isinstance(event, JobExited):
                if event.exit_code != 0:
                    raise RuntimeError(f"{event.exit_code}: {event.reason}")
                store = StoreResult(
                    job=job, attempt=1, spec=spec, exit_code=0, limit=""
                )
                self._execution.store(store)
            elif isinstance(event, ResultStored):
                break
        self._execution.discard(DiscardScratch(job=job, attempt=1))
        del self._heard[job]

    @contextlib.asynccontextmanager
    async def living(self, executors: LocalExecutors) -> AsyncIterator[None]:
        """Run jobs with these executors for as long as the block."""
        async with executors.warmed(), trio.open_nursery() as tasks:
            self._execution = Execution(
                executors, self.custody, LogBook(), UNSEALER, self._post, tasks
            )
            yield
            tasks.cancel_scope.cancel()
        self._execution.abandon()

    async def _post(self, event: Input) -> None:
        await self._heard[getattr(event, "job")].send(event)  # noqa: B009 - any of them


@contextlib.asynccontextmanager
async def alone(place: Path) -> AsyncIterator[Alone]:
    """Make a provider of its own below ``place``."""
    scratch = place / "scratch"
    scratch.mkdir(mode=0o711)
    made = Alone(Custody.open(place / "kept"))
    async with made.living(LocalExecutors(scratch, cache_directory())):
        yield made
    made.custody.store.close()


def native(argv: tuple[str, ...]) -> JobSpec:
    """Return the specification of a native command."""
    return job_spec(JobFile(command=argv), inputs=None, inputs_bytes=0)


def script(custody: Custody, place: Path) -> JobSpec:
    """Return the specification of a script that does nothing, and store it."""
    path = place / SCRIPT
    path.touch()
    built = read_tree(custody.store, [Source(path=path)]).built
    file = JobFile(program=SCRIPT)
    return job_spec(file, inputs=built.root, inputs_bytes=built.tree.size_bytes)


@contextlib.asynccontextmanager
async def bare_script(scratch: Path) -> AsyncIterator[Callable[[], None] | None]:
    """Yield what runs that script in a child by hand; None without CPython for WASI.

    It is the child that the executor starts, with the same module and barriers, but
    cold, outside any control group, and with nothing stored.
    """
    try:
        module = await ModuleCache(cache_directory(), scratch).python()
    except PeerError:
        yield None
        return
    job_dir = jobdir.open_job_dir(scratch)
    job_dir.add_file(SCRIPT, b"")
    with contextlib.ExitStack() as stack:
        stack.callback(jobdir.remove_job_dir, job_dir)
        launch = engines.launch(_ORDER, job_dir, module, stack, None)
        request = {"uid": job_dir.uid, "cgroup_procs": [], **launch.request}
        yield partial(_child, request)


def _child(request: dict[str, object]) -> None:
    child = spawn.start(request, {}, None)
    code, _ = child.reaped()
    for descriptor in (child.handle, child.stdout, child.stderr, child.status):
        os.close(descriptor)
    if code:
        raise RuntimeError(f"the child ended with {code}")


_ORDER: Final = RunOrder(
    job="yardstick",
    engine="python",
    argv=(SCRIPT,),
    cpu_millis=1000,
    memory_bytes=256 << 20,
    disk_bytes=128 << 20,
    wall_s=60,
    output_bytes_max=0,
    log_bytes_max=1 << 20,
)
