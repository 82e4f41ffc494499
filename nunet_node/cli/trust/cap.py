"""``cap`` and ``share``: let others do a part of what you may, and take it back.

Rule: a token always names its end, and what it allows is said in words whenever it is
made, kept or refused. A token by itself is no secret: it works for its audience's key
alone.
"""

from pathlib import Path
from typing import Any, Final

import click
import trio

from nunet_node.capability.command import ROOT, parse_command
from nunet_node.capability.held.explaining import describe, until
from nunet_node.capability.held.terms import Terms, sealed_key_of
from nunet_node.cli.identity import ensure_identity
from nunet_node.cli.options import (
    BOOTSTRAP,
    IDENTITY,
    JOB,
    PATH,
    Parsed,
    Whole,
    checked,
)
from nunet_node.cli.output import Settings, table, visible
from nunet_node.cli.progress import short
from nunet_node.cli.trust.documents import WEB, documents_of, documents_of_token
from nunet_node.cli.trust.explain import (
    FILE,
    document_of,
    explain_command,
    now_s,
    show_command,
    token_text,
)
from nunet_node.client import UnknownJobError, open_client
from nunet_node.client.lookup import find_order
from nunet_node.client.trust.delegating import Given, Grant, delegate, share
from nunet_node.identity.did import parse_did
from nunet_node.jobs.job_file.values import parse_run_s
from nunet_node.jobs.link import is_link, parse_link
from nunet_node.jobs.specification import ResultKind, is_job_id
from nunet_node.protocol.order import Award, Order
from nunet_node.quantities import (
    parse_cpu_millis,
    parse_duration_s,
    parse_size_bytes,
)
from nunet_node.runtime.home import Home, HomeError, open_home
from nunet_node.runtime.ledger import read_orders
from nunet_node.runtime.wallet import tokens
from nunet_node.storage.files import why, write_new

_DID: Final = Parsed(checked(parse_did), "DID")
_OUT: Final = click.option(
    "--out", type=PATH, metavar="FILE", help="Write it there too."
)
_TO: Final = click.option("--to", required=True, type=_DID, help="Who gets it.")
_EXPIRES: Final = click.option(
    "--expires",
    default="7d",
    show_default=True,
    type=Parsed(parse_duration_s, "DURATION"),
    help="For how long.",
)


@click.group("cap")
def cap_command() -> None:
    """Give others a part of what you may do, and take it back."""


@cap_command.command("delegate")
@_TO
@click.option(
    "--can",
    "command",
    required=True,
    type=Parsed(checked(parse_command), "COMMAND"),
    help="What: /nunet/job/submit, /nunet/job, /nunet/result/read, or /nunet for all.",
)
@click.option("--job", metavar="JOB", help="About this job alone.")
@click.option(
    "--max-cpus",
    "cpu_millis",
    type=Parsed(parse_cpu_millis, "COUNT"),
    help="Processors at a time.",
)
@click.option(
    "--max-memory",
    "memory_bytes",
    type=Parsed(parse_size_bytes, "SIZE"),
    help="Memory at a time.",
)
@click.option("--max-jobs", "jobs", type=Whole(min=0), help="Jobs in all, by provider.")
@click.option(
    "--max-runtime",
    "run_s",
    type=Parsed(parse_run_s, "DURATION"),
    help="Longest run of a job.",
)
@click.option("--owner", type=_DID, help="On whose behalf. [your own]")
@click.option(
    "--everything", is_flag=True, help="Really all there is and will be: --can /."
)
@_EXPIRES
@_OUT
@IDENTITY
@click.pass_obj
def delegate_command(settings: Settings, /, **given: Any) -> None:
    """Let a DID use COMMAND on your behalf, within limits, for a time.

    Commands are /nunet/job/{submit,status,logs,watch,cancel} and /nunet/result/read;
    a shorter path allows everything below it.
    """
    if given["command"] == ROOT and not given["everything"]:
        raise click.UsageError(
            "/ allows whatever you may do, also what no command does yet; "
            "say --everything if you mean that, or --can /nunet"
        )
    home = open_home(settings.home)
    identity = ensure_identity(settings, home, given["identity"])
    job = given["job"]
    if job is not None and not is_job_id(job):
        job = _order(home, job).job
    terms = Terms(
        job=job,
        cpu_millis=given["cpu_millis"],
        memory_bytes=given["memory_bytes"],
        jobs=given["jobs"],
        run_s=given["run_s"],
    )
    grant = Grant(
        to=given["to"],
        command=given["command"],
        expires_at_s=now_s() + given["expires"],
        terms=terms,
        owner=given["owner"],
    )
    _show_given(settings, delegate(home, identity.key, grant), given["out"])


@click.command("share")
@JOB
@_TO
@_EXPIRES
@_OUT
@IDENTITY
@WEB
@click.pass_obj
def share_command(settings: Settings, /, job: str, **given: Any) -> None:
    """Let a DID fetch the result of JOB, and do nothing else with it."""
    home = open_home(settings.home)
    order = _order(home, job)
    keys = {each.did: each.key for each in home.identities()}
    identity = ensure_identity(settings, home, given["identity"])
    signer = keys.get(order.owner or identity.did, identity.key)
    expires_at_s = now_s() + given["expires"]
    to = documents_of(home, (given["to"],), web=given["web"])
    made = share(home, signer, order, given["to"], expires_at_s, to)
    public = order.spec is not None and order.spec.results is ResultKind.PUBLIC
    if not public and not sealed_key_of(made.leaf.meta):
        settings.note(
            "this token lets them fetch the result, and not open it: its key is known "
            "to its owner's home once the job has ended; then share it again"
        )
    _show_given(settings, made, given["out"])


@cap_command.command("add")
@FILE
@WEB
@click.pass_obj
def add_command(settings: Settings, file: str, web: bool) -> None:  # noqa: FBT001 - click passes by name
    """Keep a token that you were given, so that commands use it."""
    home, text = open_home(settings.home), token_text(file)
    documents = documents_of_token(home, text, web=web)
    chain = tokens.keep_token(home, text, documents)
    leaf = chain[-1]
    settings.document(document_of(leaf, home))
    if not settings.json:
        settings.say(visible(describe(leaf)))
    mine = {each.did for each in home.identities()}
    if leaf.audience not in mine:
        settings.note(f"nobody here is {leaf.audience}: it will be of no use here")
    settings.note("next: nunet-node cap list")


cap_command.add_command(show_command)
cap_command.add_command(explain_command)


@cap_command.command("list")
@click.pass_obj
def list_command(settings: Settings) -> None:
    """List the tokens that this home gave or was given."""
    home = open_home(settings.home)
    leaves = [chain[-1] for chain in tokens.chains(home)]
    shown = [document_of(leaf, home) for leaf in leaves]
    settings.document(shown)
    if not settings.json:
        rows = [
            (
                short(leaf.issuer),
                short(leaf.audience),
                leaf.command,
                "revoked" if each["revoked"] else until(leaf.expires_at_s),
                each["path"],
            )
            for leaf, each in zip(leaves, shown, strict=True)
        ]
        settings.say(table(("FROM", "TO", "CAN", "UNTIL", "FILE"), rows))
    settings.note("next: nunet-node cap explain FILE")


@cap_command.command("revoke")
@FILE
@BOOTSTRAP
@IDENTITY
@click.pass_obj
def revoke_command(
    settings: Settings, file: str, bootstrap: tuple[str, ...], identity: str
) -> int:
    """Take a token back, for ever, with everything that hangs on it.

    Returns once every provider that could be reached has it on its disk. Exit codes:
    0 if at least one has and none refused it, 1 otherwise.
    """
    home = open_home(settings.home)
    ensure_identity(settings, home, identity)
    text = token_text(file)
    documents = documents_of_token(home, text, web=False)
    chain = tokens.keep_token(home, text, documents)

    async def run() -> int:
        async with open_client(home, bootstrap=bootstrap, identity=identity) as client:
            done = await client.revoke(chain)
        settings.document(
            {
                "cid": str(done.cid),
                "revoked": True,
                "acknowledged": list(done.acknowledged),
                "missed": [{"provider": d, "reason": why} for d, why in done.missed],
            }
        )
        if not settings.json:
            settings.say(
                f"revoked {done.cid}: {len(done.acknowledged)} providers keep that"
            )
        for did, reason in done.missed:
            settings.note(visible(f"{did} has not said that it keeps it: {reason}"))
        return 0 if done.acknowledged else 1

    return trio.run(run)


def _show_given(settings: Settings, given: Given, out: Path | None) -> None:
    leaf = given.leaf
    if out is not None:
        try:
            write_new(out, f"{given.token}\n".encode())
        except OSError as error:
            raise HomeError(f"cannot write {out}: {why(error)}") from None
    settings.document(
        {
            "token": given.token,
            "cid": str(leaf.cid),
            "audience": leaf.audience,
            "expires": leaf.expires_at_s,
        }
    )
    if not settings.json:
        settings.say(given.token)
    settings.note(visible(describe(leaf)))
    settings.note("next, there: nunet-node cap add FILE")


def _order(home: Home, word: str) -> Order:
    """Return the order that a word means, or what a link says of one."""
    orders = read_orders(home)
    link = parse_link(word) if is_link(word) else None
    job = find_order(orders, link.job if link else word)
    if job is not None:
        return orders[job]
    if link is None:
        raise UnknownJobError(word)
    award = Award(
        attempt=1,
        provider=link.custodian,
        peer_id="",
        addresses=link.addresses,
        at_s=0,
    )
    return Order(job=link.job, claimed_owner=link.owner, award=award, link=word)
