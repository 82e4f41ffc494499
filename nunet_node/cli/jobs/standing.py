"""``list``, ``status``, ``wait``, ``cancel``: where jobs stand, and an end to them.

Rule: what is shown is what the provider says now, or else what was known last, and
which of the two it is.
"""

from collections.abc import Sequence
from typing import Final

import click
import trio

from nunet_node.cli.jobs.named import with_job
from nunet_node.cli.jobs.telling import next_after, now_s, status_text, when
from nunet_node.cli.jobs.watching import INTERRUPTED, until_ended
from nunet_node.cli.options import BOOTSTRAP, IDENTITY, JOB
from nunet_node.cli.output import Settings, table
from nunet_node.cli.progress import SILENT, exit_code_of
from nunet_node.client import (
    Copy,
    JobHandle,
    NoNetworkError,
    ProviderUnreachableError,
    UnknownJobError,
    job_document,
    open_client,
    order_document,
    status_document,
)
from nunet_node.client.fetching.copies import known_by
from nunet_node.jobs.statements import Report
from nunet_node.protocol.order import Order
from nunet_node.runtime.home import Home, open_home
from nunet_node.runtime.ledger import read_orders

CAUGHT_UP_MAX: Final = 32
"""Jobs whose providers `list` asks; older ones are shown as they were known last."""


@click.command("list", epilog="Next: nunet-node status JOB")
@BOOTSTRAP
@click.pass_obj
def list_command(settings: Settings, bootstrap: tuple[str, ...]) -> None:
    """List the jobs submitted from this home, oldest first.

    Providers of jobs that have not ended are asked what became of them.
    """
    home = open_home(settings.home)
    trio.run(_catch_up, home, bootstrap)
    orders = [each for each in read_orders(home).values() if each.owner]
    orders.sort(key=lambda order: order.placed_s)
    settings.document([order_document(order) for order in orders])
    if settings.json:
        return
    rows = [
        (
            order.job,
            order.spec.name if order.spec else "",
            str(order.state),
            "" if order.exit_code is None else str(order.exit_code),
            when(order.placed_s),
        )
        for order in orders
    ]
    settings.say(table(("JOB", "NAME", "STATE", "EXIT", "SUBMITTED"), rows))
    settings.note(
        "next: nunet-node status JOB" if rows else "next: nunet-node submit SCRIPT.py"
    )


async def _catch_up(home: Home, bootstrap: tuple[str, ...]) -> None:
    """Hear what became of the newest jobs that had not ended when last heard of."""
    orders = read_orders(home).values()
    going_on = [each for each in orders if each.in_custody and not each.ended]
    # Those that are locked are not asked for: nobody types a passphrase for a list.
    users = home.identities() if going_on else ()
    own = {user.did for user in users}
    ours = [each for each in going_on if each.owner in own]
    ours.sort(key=lambda order: order.placed_s)
    if not ours:
        return
    async with (
        open_client(home, bootstrap=bootstrap, identity=users[0].name) as client,
        trio.open_nursery() as nursery,
    ):
        for order in ours[-CAUGHT_UP_MAX:]:
            handle = await client.find(order.job)
            nursery.start_soon(handle.catch_up)


@click.command("status", epilog="Next: nunet-node wait JOB, or nunet-node cancel JOB")
@JOB
@BOOTSTRAP
@IDENTITY
@click.pass_obj
def status_command(
    settings: Settings, job: str, bootstrap: tuple[str, ...], identity: str
) -> int:
    """Say where JOB stands, and why: its history, its queue place, who bid."""

    async def use(handle: JobHandle) -> int:
        order, report, copies = await _asked(settings, handle)
        settings.document(status_document(order, report, copies=copies, now_s=now_s()))
        if not settings.json:
            settings.say(status_text(order, report, copies))
        settings.note(f"next: {next_after(order, report)}")
        if report is not None:
            await handle.catch_up(report)
        return 0

    return with_job(settings, job, bootstrap, identity, use)


@click.command("wait", epilog="Next: nunet-node get JOB")
@JOB
@BOOTSTRAP
@IDENTITY
@click.pass_obj
def wait_command(
    settings: Settings, job: str, bootstrap: tuple[str, ...], identity: str
) -> int:
    """Wait until JOB has ended; exit with its code.

    Exit codes: the job's own; 124 timed out, 130 cancelled, 125 not placed, lost, or
    our own failure.
    """

    async def use(handle: JobHandle) -> int:
        if not handle.order.ended:
            await handle.follow()
        interrupted = not await until_ended(handle)
        order = handle.verdict
        settings.document(status_document(order, now_s=now_s()))
        if interrupted:
            settings.note(f"stopped waiting; the job goes on: nunet-node wait {job}")
            return INTERRUPTED
        if not settings.json:
            settings.say(status_text(order, None))
        settings.note(f"next: {next_after(handle.order, None)}")
        return exit_code_of(order)

    return with_job(settings, job, bootstrap, identity, use, tell=True)


@click.command("cancel", epilog="Next: nunet-node status JOB")
@JOB
@BOOTSTRAP
@IDENTITY
@click.pass_obj
def cancel_command(
    settings: Settings, job: str, bootstrap: tuple[str, ...], identity: str
) -> int:
    """Cancel JOB, free what it held, and get the provider's signed confirmation."""

    async def use(handle: JobHandle) -> int:
        known = handle.order.confirmation is not None
        confirmed = await handle.cancel()
        settings.document(job_document(handle.order))
        if confirmed is None:
            text = f"{handle.job}: {handle.order.state}; no provider had it"
        elif confirmed.already_ended:
            text = f"{handle.job} had ended already: {confirmed.state}"
        elif known:
            moment = when(confirmed.at_s)
            text = f"{handle.job} was {confirmed.state} already, confirmed at {moment}"
        else:
            text = f"{handle.job}: {confirmed.state}, confirmed by its provider"
        if not settings.json:
            settings.say(text)
        settings.note(f"next: nunet-node status {handle.job}")
        return 0

    return with_job(settings, job, bootstrap, identity, use, tell=True)


async def _asked(
    settings: Settings, handle: JobHandle
) -> tuple[Order, Report | None, Sequence[Copy] | None]:
    """Ask a job's provider where it stands; or else who keeps copies of its result."""
    order = handle.order
    copied = order.result is not None and bool(order.spec and order.spec.replicas)
    settled = order.award is None or (order.ended and not copied)
    if order.owner is not None and settled:
        return order, None, None
    try:
        report = await handle.report(lambda: settings.note(SILENT))
    except (ProviderUnreachableError, UnknownJobError) as error:
        copies = await _copies(settings, handle)
        if order.owner is None and not copies:
            raise
        said = "its receipt says" if order.owner is None else "was known last"
        settings.note(f"{error}; this is what {said}")
        return known_by(order, copies or ()), None, copies
    return handle.order, report, None


async def _copies(settings: Settings, handle: JobHandle) -> Sequence[Copy] | None:
    """Ask for a result's copies where its provider cannot say of them."""
    order = handle.order
    wanted = order.spec.replicas if order.spec else None
    if wanted == 0 or (order.result is None and wanted is not None):
        return None
    try:
        copies = await handle.copies()
    except NoNetworkError as error:
        settings.note(str(error))
        return None
    if len(copies) < (wanted or 0):
        settings.note("there may be more copies, with holders that were not heard")
    return copies
