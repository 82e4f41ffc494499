"""Many runs of one job, each with a part of the work, over all providers.

Rule: a partition is an ordinary job, with its own id, provider, retries and receipt;
only its name and two variables differ. So only what failed is run again, and an array
that was broken off goes on where it was: a partition whose result lies in its place is
not run again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import trio

from nunet_node.client.handle import JobHandle
from nunet_node.client.session import Client
from nunet_node.errors import PeerError
from nunet_node.jobs.job_file import JobFile, name_of
from nunet_node.jobs.job_file.values import NAME_CHARS_MAX
from nunet_node.jobs.lifecycle import State
from nunet_node.protocol.order import Order

IN_FLIGHT_MAX: Final = 24
"""Partitions submitted at once; a provider lets 32 jobs of one owner wait."""
INDEX: Final = "NUNET_PARTITION_INDEX"
COUNT: Final = "NUNET_PARTITION_COUNT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """How one partition ended."""

    index: int
    order: Order | None
    """Its job's record; None if its result lay in its place already."""
    path: Path | None
    """Where its result lies; None if it has none."""
    trouble: str = ""
    """Why it was not submitted, or its result could not be fetched."""

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
    """
    count = work.count or 1
    found: dict[int, Partition] = {}
    places = trio.CapacityLimiter(IN_FLIGHT_MAX)

    async def one(index: int) -> None:
        async with places:
            submit = partial(client.submit, part_of(work, index), owner=owner)
            found[index] = await _run(submit, index, out / str(index), on_submitted)
        on_end(found[index])

    await trio.to_thread.run_sync(partial(out.mkdir, parents=True, exist_ok=True))
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


async def _run(
    submit: Callable[[], Awaitable[JobHandle]],
    index: int,
    target: Path,
    on_submitted: OnSubmitted,
) -> Partition:
    if await trio.to_thread.run_sync(target.is_dir):
        # A result appears in its place in one step, so it is whole.
        return Partition(index=index, order=None, path=target)
    order: Order | None = None
    try:
        handle = await submit()
        on_submitted(handle)
        order = await handle.ended_or_silent()
        done = order.state is State.COMPLETED
        path = await handle.fetch(target) if done else None
    except PeerError as error:
        return Partition(index=index, order=order, path=None, trouble=str(error))
    return Partition(index=index, order=order, path=path)
