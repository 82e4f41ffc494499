"""Staying with a job: its output as it comes, Ctrl-C, and its result at the end.

Rule: whoever stops watching stops nothing. Ctrl-C ends the command alone, which says
how to come back; the job is its provider's.
"""

import contextlib
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from nunet_node.cli.output import Echo, Settings
from nunet_node.cli.progress import exit_code_of, fetch_shown
from nunet_node.client import Client, JobHandle, order_document
from nunet_node.errors import PeerError
from nunet_node.protocol.messages import READ
from nunet_node.protocol.order import Order
from nunet_node.results.errors import SealError
from nunet_node.storage.errors import TargetRefusedError

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as of any program."""

_LOGS_GRACE_S: Final = 10
"""How long the last lines of an ended job may take to come."""


async def watch(
    settings: Settings, client: Client, handle: JobHandle, out: Path | None
) -> int:
    """Stay with a job to its end, fetch its result, and return the exit code."""
    if not await until_ended(handle, partial(_show_output, settings, handle)):
        settings.document(order_document(handle.order))
        settings.note(
            f"detached; the job goes on. Watch it with: nunet-node wait {handle.job}"
            if handle.order.in_custody
            else "detached before any provider had the job; "
            f"go on with: nunet-node wait {handle.job}"
        )
        return INTERRUPTED
    if handle.order.result is not None:
        await _fetch(settings, client, handle, out)
    order = handle.verdict
    settings.document(order_document(order))
    settings.note(closing(order, ended=handle.order.ended))
    return exit_code_of(order)


async def _fetch(
    settings: Settings, client: Client, handle: JobHandle, out: Path | None
) -> None:
    """Fetch the result, unless it is for somebody else alone."""
    theirs = handle.order.owner != client.identity.did
    try:
        if client.may(handle, READ):
            path = await fetch_shown(settings, handle, free_target(out, handle))
            settings.note(f"result verified: {path}")
            return
    except TargetRefusedError:
        settings.note(f"the result waits: nunet-node get {handle.job} --out DIR")
        raise
    except SealError:
        if not theirs:
            raise
    settings.note(
        f"the result is {handle.order.owner}'s: nunet-node get '{handle.order.link}'"
    )


def free_target(out: Path | None, handle: JobHandle) -> Path:
    """Return where a result goes: as said, else under its name if that is free."""
    if out is not None:
        return out
    spec = handle.order.spec
    named = Path(spec.name) if spec else Path(handle.job)
    taken = named.exists() and (not named.is_dir() or any(named.iterdir()))
    return Path(handle.job) if taken else named


def closing(order: Order, *, ended: bool) -> str:
    """Return the last words of a command about a job: how it stands, what is next."""
    why = f": {order.reason}" if order.reason else ""
    command = "status" if ended else "wait"
    return f"{order.state}{why}\nnext: nunet-node {command} {order.job}"


async def until_ended(
    handle: JobHandle, show: Callable[[], Awaitable[None]] | None = None
) -> bool:
    """Wait for the end of a job, showing its output meanwhile.

    Returns:
        Whether it has ended, or its provider counts as lost; False after Ctrl-C.
    """
    ended = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupted, nursery.cancel_scope)
        shown = trio.Event()
        nursery.start_soon(_show, show, shown)
        await handle.ended_or_silent()
        with trio.move_on_after(_LOGS_GRACE_S if handle.order.ended else 0):
            await shown.wait()
        ended = True
        nursery.cancel_scope.cancel()
    return ended


async def _show(show: Callable[[], Awaitable[None]] | None, shown: trio.Event) -> None:
    # A log that cannot be read is no reason to stop waiting for the job.
    with contextlib.suppress(PeerError):
        if show is not None:
            await show()
    shown.set()


async def interrupted(scope: trio.CancelScope) -> None:
    """Cancel a scope at the first Ctrl-C."""
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


async def _show_output(settings: Settings, handle: JobHandle) -> None:
    echo = Echo(settings)
    async for piece in handle.output():
        echo.write(piece.stream, piece.data)
