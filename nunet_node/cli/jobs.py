"""``list``, ``status``, ``wait``, ``logs``, ``get``, ``cancel``: jobs already there.

Rule: these work from any home that holds the owner's key. The home that submitted
knows where its jobs are; elsewhere a link says it, or the network is asked.
"""

import codecs
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
import trio

from nunet_node.capability.held.terms import link_of
from nunet_node.cli.identity import ensure_identity
from nunet_node.cli.options import BOOTSTRAP, IDENTITY, Parsed
from nunet_node.cli.output import Echo, Settings, fields, table
from nunet_node.cli.progress import Teller, exit_code_of, fetch_shown, queue_text, short
from nunet_node.cli.submit import INTERRUPTED, free_target, until_ended
from nunet_node.client import (
    JobHandle,
    ProviderUnreachableError,
    job_document,
    open_client,
    order_document,
    status_document,
)
from nunet_node.jobs.lifecycle import is_final
from nunet_node.jobs.statements import LogReceipt, Report
from nunet_node.protocol.order import Order
from nunet_node.protocol.replicas.events import LogCopyGranted
from nunet_node.quantities import cpu_text, parse_duration_s, size_text
from nunet_node.runtime.home import Home, open_home
from nunet_node.runtime.ledger import read_orders
from nunet_node.runtime.wallet.tokens import (
    TokenError,
    is_token_file,
    keep_token,
    read_token_text,
)
from nunet_node.storage.materialise import check_target

JOB: Final = click.argument("job", metavar="JOB")

CAUGHT_UP_MAX: Final = 32
"""Jobs whose providers `list` asks; older ones are shown as they were known last."""

_UTF8: Final = codecs.getincrementaldecoder("utf-8")
_Use = Callable[[JobHandle], Awaitable[int]]


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
            _when(order.placed_s),
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
        report = await _report(settings, handle)
        settings.document(status_document(handle.order, report, now_s=_now_s()))
        if not settings.json:
            settings.say(_status_text(handle.order, report))
        settings.note(f"next: {_next_after(handle.order, report)}")
        if report is not None:
            await handle.catch_up(report)
        return 0

    return _with_job(settings, job, bootstrap, identity, use)


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
        settings.document(status_document(order, now_s=_now_s()))
        if interrupted:
            settings.note(f"stopped waiting; the job goes on: nunet-node wait {job}")
            return INTERRUPTED
        if not settings.json:
            settings.say(_status_text(order, None))
        settings.note(f"next: {_next_after(handle.order, None)}")
        return exit_code_of(order)

    return _with_job(settings, job, bootstrap, identity, use, tell=True)


@click.command("logs", epilog="Next: nunet-node get JOB")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option(
    "--since",
    type=Parsed(parse_duration_s, "DURATION"),
    help="Only what was written in the last so long.",
)
@JOB
@BOOTSTRAP
@IDENTITY
@click.pass_obj
def logs_command(
    settings: Settings,
    job: str,
    follow: bool,  # noqa: FBT001 - click passes by name
    since: int | None,
    bootstrap: tuple[str, ...],
    identity: str,
) -> int:
    """Print what JOB wrote: its output to ours, its errors to ours."""

    async def use(handle: JobHandle) -> int:
        # A piece may end within a character; the rest comes with the next one.
        decode = {name: _UTF8(errors="replace").decode for name in ("stdout", "stderr")}
        echo = Echo(settings)
        since_s = 0 if since is None else max(1, _now_s() - since)
        pieces = handle.logs(
            follow=follow,
            since_s=since_s,
            on_copy=lambda copy: settings.note(_copy_text(copy)),
        )
        async for piece in pieces:
            if settings.json:
                text = decode[piece.stream](piece.data)
                settings.document({"stream": piece.stream, "text": text})
            else:
                echo.write(piece.stream, piece.data)
        await handle.catch_up()
        return 0

    return _with_job(settings, job, bootstrap, identity, use)


@click.command("get", epilog="Next: nunet-node list")
@JOB
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the result goes. [./NAME, or ./JOB]",
)
@BOOTSTRAP
@IDENTITY
@click.pass_obj
def get_command(
    settings: Settings,
    job: str,
    out: Path | None,
    bootstrap: tuple[str, ...],
    identity: str,
) -> int:
    """Fetch the result of JOB, verify every block, and write it to a new directory."""
    if out is not None:
        check_target(out)
    if is_token_file(job):
        job = _shared_job(settings, job)

    async def use(handle: JobHandle) -> int:
        path = await fetch_shown(settings, handle, free_target(out, handle))
        await handle.catch_up()
        settings.document(order_document(handle.order))
        if not settings.json:
            settings.say(str(path))
        settings.note(f"result verified; next: ls -R {path}")
        return 0

    return _with_job(settings, job, bootstrap, identity, use)


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
            when = _when(confirmed.at_s)
            text = f"{handle.job} was {confirmed.state} already, confirmed at {when}"
        else:
            text = f"{handle.job}: {confirmed.state}, confirmed by its provider"
        if not settings.json:
            settings.say(text)
        settings.note(f"next: nunet-node status {handle.job}")
        return 0

    return _with_job(settings, job, bootstrap, identity, use, tell=True)


def _copy_text(copy: LogCopyGranted) -> str:
    said = copy.receipt
    much = "all of them"
    if isinstance(said, LogReceipt) and not said.ended:
        much = f"them up to {_when(said.at_s)}"
    return f"its provider does not answer; {copy.holder} has the logs, {much}"


def _shared_job(settings: Settings, file: str) -> str:
    """Keep the token in a file, and return the link of the job that it shares."""
    chain = keep_token(open_home(settings.home), read_token_text(Path(file)))
    link = link_of(chain[-1].meta)
    if not link:
        raise TokenError(f"{file} shares no job; `nunet-node cap show` says what it is")
    return link


def _with_job(
    settings: Settings,
    word: str,
    bootstrap: tuple[str, ...],
    identity: str,
    use: _Use,
    *,
    tell: bool = False,
) -> int:
    """Find a job and use it; what happens to it is told meanwhile if ``tell``."""
    home = open_home(settings.home)
    ensure_identity(settings, home, identity)

    async def run() -> int:
        async with open_client(home, bootstrap=bootstrap, identity=identity) as client:
            handle = await client.find(word, Teller(settings) if tell else None)
            return await use(handle)

    return trio.run(run)


async def _report(settings: Settings, handle: JobHandle) -> Report | None:
    """Ask the provider where the job stands, if that can have changed."""
    order = handle.order
    copied = order.result is not None and bool(order.spec and order.spec.replicas)
    settled = order.award is None or (order.ended and not copied)
    if order.owner is not None and settled:
        return None
    try:
        return await handle.report()
    except ProviderUnreachableError as error:
        if order.owner is None:
            raise
        settings.note(f"{error}; this is what was known last")
        return None


def _status_text(order: Order, report: Report | None) -> str:
    shown = status_document(order, report, now_s=_now_s())
    room: dict[str, Any] = shown["resources"] or {}
    told = report or order
    lines = {
        "job": order.job,
        "name": shown["name"],
        "state": shown["state"] + queue_text(told.queue),
        "reason": shown["reason"],
        "exit code": shown["exit_code"],
        "owner": shown["owner"],
        "provider": shown["provider"],
        "resources": f"{cpu_text(room['cpu_millis'])} CPU, "
        f"{size_text(room['memory_bytes'])} memory, "
        f"{size_text(room['disk_bytes'])} disk"
        if room
        else None,
        "result": (shown["result"] or {}).get("cid"),
        "link": (shown["result"] or {}).get("link"),
        "fetched to": (shown["result"] or {}).get("path"),
        "kept until": _kept_text(shown["retention"]),
        "copies": _copies_text(shown["retention"]),
    }
    history = [
        (_when(move["at"]), move["state"], move["reason"]) for move in shown["history"]
    ]
    bids = [
        (
            short(bid["provider"]),
            "" if bid["price"] is None else f"{bid['price']} NTX",
            bid["refused"] or "bid",
        )
        for bid in shown["bids"]
    ]
    parts = [fields(lines)]
    if history:
        parts.append(table(("WHEN", "STATE", "WHY"), history))
    if bids:
        parts.append(table(("PROVIDER", "PRICE", "ANSWER"), bids))
    return "\n\n".join(parts)


def _kept_text(retention: dict[str, Any] | None) -> str | None:
    if retention is None or retention["until"] is None:
        return None
    return _when(retention["until"]) + (" (expired)" if retention["expired"] else "")


def _copies_text(retention: dict[str, Any] | None) -> str | None:
    if retention is None or not retention["replicas_wanted"]:
        return None
    held = retention["replicas"]
    if held is None:
        return f"{retention['replicas_wanted']} wanted"
    who = f": {', '.join(map(short, held))}" if held else ""
    return f"{len(held)} of {retention['replicas_wanted']}{who}"


def _next_after(order: Order, report: Report | None) -> str:
    told = report or order
    if told.result is not None:
        return f"nunet-node get {order.job}"
    if is_final(told.state):
        return "nunet-node list"
    return f"nunet-node wait {order.job}, or nunet-node cancel {order.job}"


def _now_s() -> int:
    return int(time.time())


def _when(unix_s: int) -> str:
    moment = datetime.fromtimestamp(unix_s).astimezone()
    return moment.isoformat(sep=" ", timespec="seconds")[:19]
