"""``submit`` of a job with a ``count``: every partition, and what became of each.

Rule: the command's end says of the whole what it says of one job: 0 if every partition
completed, else the code of the first that did not. Ctrl-C leaves what was submitted to
go on, as it does with one job, and the same command takes it up again.
"""

from functools import partial
from pathlib import Path
from typing import Any

import trio

from nunet_node.cli.jobs.watching import INTERRUPTED, interrupted
from nunet_node.cli.output import Settings
from nunet_node.cli.progress import exit_code_of, warn_of_seal
from nunet_node.client import Client
from nunet_node.client.array import Partition, part_of, run_array
from nunet_node.client.handle import JobHandle
from nunet_node.jobs.job_file import JobFile, name_of


async def submit_array(
    settings: Settings,
    client: Client,
    work: JobFile,
    out: Path | None,
    owner: str | None,
) -> int:
    """Run an array, and return how the command ends."""
    place = out or Path(name_of(work))
    settings.note(f"{work.count} partitions of {name_of(work)}, gathered in {place}")
    warning = _SealWarning(settings, client)
    parts: list[Partition] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupted, nursery.cancel_scope)
        parts += await run_array(
            client,
            work,
            place,
            owner=owner,
            on_submitted=warning.hear,
            on_end=partial(_tell, settings),
        )
        nursery.cancel_scope.cancel()
    if not parts:
        settings.note(
            "detached; what was submitted goes on, and the same command takes it up "
            f"again. To end one: nunet-node cancel {name_of(part_of(work, 0))}"
        )
        return INTERRUPTED
    ends = [_document(part) for part in parts]
    settings.document({"count": len(parts), "partitions": ends})
    failed = [part for part in parts if not part.done]
    if not failed:
        settings.note(f"all {len(parts)} partitions completed: {place}")
        return 0
    settings.note(
        f"{len(failed)} of {len(parts)} partitions did not complete; "
        "the same command sees to these again, and to no other"
    )
    return next((exit_code_of(p.order) for p in failed if p.order), 0) or 1


class _SealWarning:
    """Says once, when a job is submitted, that no key here will open the results."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._heard = False

    def hear(self, handle: JobHandle) -> None:
        """Take a submitted job; those of one array are all alike."""
        if not self._heard:
            opens = self._client.opens(handle.order)
            warn_of_seal(self._settings, opens=opens, what="each partition's result")
        self._heard = True


def _tell(settings: Settings, part: Partition) -> None:
    if part.order is None:
        settings.note(f"{part.index}: {part.trouble or f'there already: {part.path}'}")
        return
    why = part.trouble or part.order.reason
    state = f"{part.order.state}{f' ({why})' if why else ''}"
    settings.note(f"{part.index}: {state}, job {part.order.job}")


def _document(part: Partition) -> dict[str, Any]:
    order = part.order
    return {
        "index": part.index,
        "job": order.job if order else None,
        "state": str(order.state) if order else None,
        "reason": part.trouble or (order.reason if order else ""),
        "path": str(part.path) if part.path else None,
    }
