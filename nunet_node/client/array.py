"""Many runs of one job, each with a part of the work, over all providers.

Rule: a partition is an ordinary job, with its own id, provider, retries and receipt;
only its name and two variables differ. So only what failed is run again, and an array
that was broken off goes on where it was: a partition whose result lies in its place is
not run again, and one whose job still goes on is waited for, if it is this very work:
the same inputs to the byte. What lies in one place is of one array: parts of a whole
that was divided otherwise are no parts of this one.
"""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import trio

from nunet_node.client.errors import (
    ClientError,
    CommandRefusedError,
    ResultMissingError,
    UnknownJobError,
)
from nunet_node.client.handle import JobHandle
from nunet_node.client.session import Client
from nunet_node.errors import PeerError
from nunet_node.jobs.job_file import JobFile, name_of
from nunet_node.jobs.job_file.values import NAME_CHARS_MAX
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import JobSpec
from nunet_node.protocol.order import Order
from nunet_node.wire.schema import encode_record

IN_FLIGHT_MAX: Final = 24
"""Partitions submitted at once; a provider lets 32 jobs of one owner wait."""
KEPT: Final = ".array"
"""Where an array keeps into how many parts it is divided, and its jobs that go on."""
INDEX: Final = "NUNET_PARTITION_INDEX"
COUNT: Final = "NUNET_PARTITION_COUNT"


class DividedOtherwiseError(ClientError):
    """What lies in an array's place are parts of a whole that had other ones."""

    code = "array.divided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """How one partition ended."""

    index: int
    order: Order | None
    """Its job's record; None if its result lay in its place already."""
    path: Path | None
    """Where its result lies; None if it has none."""
    trouble: str = ""
    """Why it was not submitted, its provider is silent, or its result not fetched."""

    @property
    def done(self) -> bool:
        """Whether its result is whole and in its place."""
        return self.path is not None


OnPartition = Callable[[Partition], None]
OnSubmitted = Callable[[JobHandle], None]


async def run_array(
    client: Client,
    work: JobFile,
    out: Path,
    *,
    owner: str | None = None,
    on_submitted: OnSubmitted = lambda _handle: None,
    on_end: OnPartition = lambda _partition: None,
) -> tuple[Partition, ...]:
    """Run every partition of ``work``, and gather the results below ``out``.

    Args:
        client: an open client.
        work: the job; its ``count`` says how many partitions it has.
        out: gets the directories ``0``, ``1``, …; what lies there is kept.
        owner: whose jobs they are; see `Client.submit`.
        on_submitted: called with each job when its order is recorded.
        on_end: called with each partition when it has ended.

    Returns:
        The partitions in their order. One that fails stops no other.

    Raises:
        DividedOtherwiseError: ``out`` has partitions of another number of them.
        OSError: ``out`` cannot be made.
    """
    count = work.count or 1
    found: dict[int, Partition] = {}
    places = trio.CapacityLimiter(IN_FLIGHT_MAX)

    async def one(index: int) -> None:
        async with places:
            part = part_of(work, index)
            job = _Job(client, part, owner, out / KEPT / str(index), on_submitted)
            found[index] = await _run(job, index, out / str(index))
        on_end(found[index])

    await trio.to_thread.run_sync(_prepare, out, count)
    async with trio.open_nursery() as nursery:
        for index in range(count):
            nursery.start_soon(one, index)
    return tuple(found[index] for index in range(count))


def part_of(work: JobFile, index: int) -> JobFile:
    """Return the job of one partition."""
    ending = f"-{index}"
    return replace(
        work,
        name=name_of(work)[: NAME_CHARS_MAX - len(ending)] + ending,
        env={**work.env, INDEX: str(index), COUNT: str(work.count or 1)},
        count=None,
    )


def _prepare(out: Path, count: int) -> None:
    """Make the place of an array, unless it is that of another one."""
    (out / KEPT).mkdir(parents=True, exist_ok=True)
    kept = out / KEPT / "count"
    before = kept.read_text() if kept.exists() else ""
    if not before:
        # An empty file is of a run that was killed before it could write the number.
        kept.write_text(str(count))
    elif before != str(count):
        raise DividedOtherwiseError(
            f"{out} has results of an array of {before[:8]} partitions, not {count}; "
            "remove them, or name another directory with --out"
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """The job of one partition, which may have been submitted before."""

    client: Client
    part: JobFile
    owner: str | None
    kept: Path
    """The file that names it for as long as its result is not in its place."""
    on_submitted: OnSubmitted

    async def begun(self) -> JobHandle:
        """Return the job that goes on, or a new one.

        Raises:
            PeerError: it cannot be submitted.
        """
        handle = await self._earlier() or await self._new()
        self.on_submitted(handle)
        return handle

    async def fetched(self, handle: JobHandle, target: Path) -> Path:
        """Fetch its result, and forget a job that will never give it.

        Raises:
            PeerError: it cannot be had.
        """
        try:
            path = await handle.fetch(target)
        except (UnknownJobError, CommandRefusedError, ResultMissingError):
            # What is kept would be asked for the same result by every later run.
            self.kept.unlink(missing_ok=True)
            raise
        except PeerError as error:
            raise ClientError(f"{error}; {self.remedy}") from error
        self.kept.unlink(missing_ok=True)
        return path

    @property
    def remedy(self) -> str:
        """What to do rather than wait for a provider that may never come back."""
        return f"to have it run anew, remove {self.kept}"

    async def _new(self) -> JobHandle:
        """Submit it, and keep which job it is."""
        handle = await self.client.submit(self.part, owner=self.owner)
        # The record says what was submitted, whatever the inputs hold by now.
        digest = self._digest(handle.order.spec) if handle.order.spec else ""
        self.kept.write_text(f"{handle.job} {digest}")
        return handle

    async def _earlier(self) -> JobHandle | None:
        """Return the job that was submitted for this very work, if it may complete.

        Raises:
            PeerError: an input cannot be read, so that nobody knows what work it is.
        """
        try:
            job, _, digest = self.kept.read_text().partition(" ")
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        # The inputs are read again: the same path may hold another program by now.
        spec = await self.client._specified(self.part)  # noqa: SLF001 - as it submits
        if digest != self._digest(spec):
            return None
        with contextlib.suppress(PeerError):
            handle = await self.client.find(job)
            await handle.follow()
            if not handle.order.ended or handle.order.state is State.COMPLETED:
                return handle
        return None

    def _digest(self, spec: JobSpec) -> str:
        """Return what stands for this work: inputs by contents, secrets by place."""
        rest = f"{self.part.secrets!r} {self.owner}"
        return hashlib.sha256(encode_record(spec) + rest.encode()).hexdigest()


async def _run(job: _Job, index: int, target: Path) -> Partition:
    if await trio.to_thread.run_sync(target.is_dir):
        # A result appears in its place in one step, so it is whole.
        job.kept.unlink(missing_ok=True)
        return Partition(index=index, order=None, path=target)
    if await trio.to_thread.run_sync(target.exists):
        trouble = f"{target} is in the way of its result"
        return Partition(index=index, order=None, path=None, trouble=trouble)
    order: Order | None = None
    path, trouble = None, ""
    try:
        handle = await job.begun()
        order = await handle.ended_or_silent()
        if order.state is State.COMPLETED:
            path = await job.fetched(handle, target)
        elif not handle.order.ended:
            trouble = f"{order.reason}; {job.remedy}"
    except (PeerError, OSError) as error:
        trouble = str(error)
    return Partition(index=index, order=order, path=path, trouble=trouble)
