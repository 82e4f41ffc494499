"""Which job a person means, by an id, the beginning of one, or a name; and what input.

Rule: a word that could mean two jobs means neither, because the next command may
be a cancel. What is brought from elsewhere lies in a private directory of the home,
and no longer than it takes to read it into the store.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from nunet_node.client.errors import AmbiguousJobError, InputsError
from nunet_node.jobs.job_file import FileInput
from nunet_node.jobs.specification import JobId
from nunet_node.protocol.order import Order
from nunet_node.results.layout import OUTPUTS
from nunet_node.results.manifest import FILE_BYTES_MAX
from nunet_node.storage.materialise import passing
from nunet_node.storage.read_tree import Source

FetchJob = Callable[[str, Path], Awaitable[object]]
"""Fetches the result of a job, by what a person calls it, to a new directory."""


def find_order(orders: Mapping[JobId, Order], word: str) -> JobId | None:
    """Return the job that ``word`` means among the orders of this home, if any.

    A whole id comes before a name, and a name before the beginning of an id.

    Raises:
        AmbiguousJobError: it fits several.
    """
    if JobId(word) in orders:
        return JobId(word)
    named = [job for job, order in orders.items() if _name(order) == word]
    fitting = named or [job for job in orders if word and job.startswith(word)]
    if len(fitting) > 1:
        raise AmbiguousJobError(word, {job: orders[job].state for job in fitting})
    return fitting[0] if fitting else None


@asynccontextmanager
async def within_reach(
    inputs: Sequence[FileInput], home: Path, fetch_job: FetchJob
) -> AsyncIterator[list[Source]]:
    """Bring inputs that are elsewhere, and yield where all of them lie meanwhile.

    Raises:
        InputsError: a job has no such output.
        PeerError: a file cannot be had, or is another than was declared.
    """
    with passing(home / "inputs") as directory:
        sources = []
        for number, each in enumerate(inputs):
            place = directory / str(number)
            path = await _brought(each, place, fetch_job)
            sources.append(Source(path=path, dest=each.dest))
        yield sources


async def _brought(each: FileInput, place: Path, fetch_job: FetchJob) -> Path:
    if each.is_here:
        return Path(each.path)
    if each.sha256:
        from nunet_node.network.download import (  # noqa: PLC0415 - slow to import
            download,
        )

        await download(each.path, each.sha256, place, bytes_max=FILE_BYTES_MAX)
        return place
    job, _, inside = each.path.partition(":")[2].partition("/")
    await fetch_job(job, place)
    for found in (place / OUTPUTS / inside, place / inside):
        if found.exists():
            return found
    raise InputsError(f"job {job} has no output {inside}")


def _name(order: Order) -> str | None:
    return order.spec.name if order.spec else None
