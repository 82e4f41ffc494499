"""``logs`` and ``get``: what a job wrote and made, brought here.

Rule: what does not come from the job's provider is said to come from elsewhere.
"""

import codecs
from pathlib import Path
from typing import Final

import click

from nunet_node.capability.held.terms import link_of
from nunet_node.cli.jobs.named import with_job
from nunet_node.cli.jobs.public import get_public, own_job, root_of
from nunet_node.cli.jobs.telling import now_s, when
from nunet_node.cli.jobs.watching import free_target
from nunet_node.cli.options import BOOTSTRAP, IDENTITY, JOB, PATH, Parsed
from nunet_node.cli.output import Echo, Settings
from nunet_node.cli.progress import fetch_shown
from nunet_node.client import JobHandle, order_document
from nunet_node.jobs.statements import LogReceipt
from nunet_node.protocol.replicas.events import LogCopyGranted
from nunet_node.quantities import parse_duration_s
from nunet_node.runtime.home import open_home
from nunet_node.runtime.wallet.tokens import (
    TokenError,
    is_token_file,
    keep_token,
    read_token_text,
)
from nunet_node.storage.materialise import check_target

_UTF8: Final = codecs.getincrementaldecoder("utf-8")


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
        since_s = 0 if since is None else max(1, now_s() - since)
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

    return with_job(settings, job, bootstrap, identity, use)


@click.command("get", epilog="Next: nunet-node list")
@JOB
@click.option(
    "--out",
    type=PATH,
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
    """Fetch the result of JOB, verify every block, and write it to a new directory.

    JOB may also be the id of anybody's public result.
    """
    if out is not None:
        check_target(out)
    root = root_of(job)
    if root is not None:
        own = own_job(settings, root)
        if own is None:
            return get_public(settings, root, out, bootstrap)
        job = own
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

    return with_job(settings, job, bootstrap, identity, use)


def _copy_text(copy: LogCopyGranted) -> str:
    said = copy.receipt
    much = "all of them"
    if isinstance(said, LogReceipt) and not said.ended:
        much = f"them up to {when(said.at_s)}"
    return f"its provider does not answer; {copy.holder} has the logs, {much}"


def _shared_job(settings: Settings, file: str) -> str:
    """Keep the token in a file, and return the link of the job that it shares."""
    chain = keep_token(open_home(settings.home), read_token_text(Path(file)))
    link = link_of(chain[-1].meta)
    if not link:
        raise TokenError(f"{file} shares no job; `nunet-node cap show` says what it is")
    return link
