"""``submit``: a job from a file or from the command line, to its result.

Rule: what can be refused is refused before anything leaves this machine. Standard
output carries what the job writes to its own, so that a pipe sees the job alone;
what happens to it is told on standard error.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click
import trio

from nunet_node.cli.array import submit_array
from nunet_node.cli.identity import DEFAULT_NAME, ensure_identity
from nunet_node.cli.jobs.watching import closing, watch
from nunet_node.cli.options import (
    BOOTSTRAP,
    NAME,
    NETWORK,
    PATH,
    Parsed,
    Whole,
    checked,
)
from nunet_node.cli.output import Settings
from nunet_node.cli.progress import Teller, exit_code_of, warn_of_seal
from nunet_node.cli.spec import load_job_file
from nunet_node.client import JobHandle, open_client, order_document
from nunet_node.identity.did import parse_did
from nunet_node.jobs.job_file import (
    JobFile,
    JobFileError,
    engine_of,
    job_spec,
    name_of,
)
from nunet_node.jobs.job_file.gpu import parse_gpu
from nunet_node.jobs.job_file.options import COUNT_MAX
from nunet_node.jobs.job_file.secrets import parse_secret
from nunet_node.jobs.job_file.values import (
    parse_engine,
    parse_env,
    parse_input,
    parse_isolation,
    parse_output,
    parse_retention_s,
    parse_run_s,
    parse_some_cpu_millis,
    parse_some_memory_bytes,
    suffix,
)
from nunet_node.jobs.specification import REPLICAS_MAX, ResultKind
from nunet_node.protocol.messages import WATCH
from nunet_node.quantities import parse_price_micro_ntx, parse_size_bytes
from nunet_node.runtime.home import open_home
from nunet_node.runtime.wallet.secrets import checked_sources
from nunet_node.storage.materialise import check_place, check_target

_RAW: Final = "nunet_node.submit.raw"
_SPEC_SUFFIXES: Final = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What to submit, and what to do with it then."""

    work: JobFile
    identity: str
    bootstrap: tuple[str, ...]
    out: Path | None
    detach: bool
    owner: str | None = None


class _RawCommand(click.Command):
    """Remembers the words as they were written; the parser drops a ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_RAW] = tuple(args)
        return super().parse_args(ctx, args)


@click.command(
    "submit",
    cls=_RawCommand,
    context_settings={"allow_interspersed_args": False},
    epilog="Sizes: 512MiB. Durations: 15s 10m 7d. Exit codes: the job's own; 124 timed "
    "out, 130 cancelled, 125 not placed, lost, or our own failure.\n\n"
    "Next: nunet-node status JOB",
)
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="JOB")
@BOOTSTRAP
@click.option(
    "--engine",
    type=Parsed(parse_engine, "NAME"),
    help="python, wasm, process or container.",
)
@click.option(
    "--count",
    type=Whole(1, COUNT_MAX),
    help="Run this many partitions, each with its NUNET_PARTITION_INDEX.",
)
@click.option(
    "--image",
    metavar="IMAGE",
    help="Root file system: PATH.tar, or the name of a container's image.",
)
@click.option(
    "--isolation",
    type=Parsed(parse_isolation, "LEVEL"),
    help="What must keep it: wasm, process or container. [its engine's]",
)
@NETWORK
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=Parsed(parse_input, "PATH[:DEST]"),
    help="Bring a file or directory, URL#sha256=HEX, or job:ID/PATH. Repeatable.",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=Parsed(parse_output, "GLOB"),
    help="Keep these files; every new one unless given. Repeatable.",
)
@click.option("--public", is_flag=True, help="Let anybody read the result.")
@click.option(
    "--env",
    multiple=True,
    type=Parsed(parse_env, "K=V"),
    help="Set an environment variable. Repeatable.",
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    type=Parsed(parse_secret, "NAME[=@FILE]"),
    help="Hand over a variable of yours, or a file, as /run/secrets/NAME. Repeatable.",
)
@click.option(
    "--cpus", type=Parsed(parse_some_cpu_millis, "COUNT"), help="Processors. [1]"
)
@click.option("--memory", type=Parsed(parse_some_memory_bytes, "SIZE"), help="[256MiB]")
@click.option("--disk", type=Parsed(parse_size_bytes, "SIZE"), help="[128MiB]")
@click.option(
    "--gpu",
    type=Parsed(parse_gpu, "COUNT[,…]"),
    help="GPUs: COUNT, or COUNT,vendor=nvidia,model=H100,vram=40GB. [none]",
)
@click.option(
    "--timeout", type=Parsed(parse_run_s, "DURATION"), help="Longest run. [1h]"
)
@click.option(
    "--queue-timeout", type=Parsed(parse_run_s, "DURATION"), help="Longest wait. [7d]"
)
@click.option(
    "--replicas",
    type=Whole(0, REPLICAS_MAX),
    help="Copies of the result at other nodes. [0]",
)
@click.option(
    "--retention",
    type=Parsed(parse_retention_s, "DURATION"),
    help="How long the result is kept. [30d]",
)
@click.option(
    "--max-price",
    type=Parsed(parse_price_micro_ntx, "NTX"),
    help="NTX for a CPU-hour, at most. [any]",
)
@click.option("--name", type=NAME, help="What to call the job.")
@click.option("--identity", type=NAME, help="Which of your identities asks.")
@click.option(
    "--owner",
    type=Parsed(checked(parse_did), "DID"),
    help="Whose job it is. [whoever delegated that to the identity; else its own]",
)
@click.option("--detach", is_flag=True, help="Return once a provider has the job.")
@click.option(
    "--out",
    type=PATH,
    metavar="DIR",
    help="Where the result goes. [./NAME, or ./JOB]",
)
@click.pass_obj
def submit_command(settings: Settings, /, words: tuple[str, ...], **given: Any) -> int:
    """Submit a job, watch it, and fetch its result.

    JOB is SPEC.yaml, or SCRIPT.py [ARGS], or MODULE.wasm [ARGS], or -- COMMAND.
    Everything after it is the job's.
    """
    plan = _plan(words, given)
    if plan.work.count is not None and plan.detach:
        raise click.UsageError("an array is gathered here, so it cannot be detached")
    if plan.out is not None and plan.work.count is None:
        check_target(plan.out)
    elif not plan.detach:
        check_place(Path.cwd())
    ensure_identity(settings, open_home(settings.home), plan.identity)
    return trio.run(_submit, settings, plan)


def _plan(words: tuple[str, ...], given: dict[str, Any]) -> _Plan:
    options = JobFile(
        name=given["name"],
        engine=given["engine"],
        count=given["count"],
        image=given["image"],
        isolation=given["isolation"],
        network=given["network"],
        inputs=given["inputs"],
        outputs=given["outputs"] or None,
        results=ResultKind.PUBLIC if given["public"] else None,
        env=dict(given["env"]),
        secrets=given["secrets"],
        cpu_millis=given["cpus"],
        memory_bytes=given["memory"],
        disk_bytes=given["disk"],
        gpus=given["gpu"],
        run_s=given["timeout"],
        queue_s=given["queue_timeout"],
        retention_s=given["retention"],
        replicas=given["replicas"],
        price_micro_ntx_max=given["max_price"],
        identity=given["identity"],
    )
    work = _described(words, options)
    _check(work)
    return _Plan(
        work=work,
        identity=work.identity or DEFAULT_NAME,
        bootstrap=given["bootstrap"],
        out=given["out"],
        detach=given["detach"],
        owner=given["owner"],
    )


def _described(words: tuple[str, ...], options: JobFile) -> JobFile:
    """Tell the forms of the command apart; only ``--`` makes the first word no file."""
    first, rest = words[0], words[1:]
    if _dashes_before(words):
        return replace(options, command=words)
    if suffix(first) in _SPEC_SUFFIXES:
        work = load_job_file(Path(first)).overridden_by(options)
        return replace(work, args=(*work.args, *rest))
    work = replace(options, program=first, args=rest)
    if work.engine is None and suffix(first) not in {".py", ".wasm"}:
        raise click.UsageError(
            f"{first!r} is neither SPEC.yaml, SCRIPT.py nor MODULE.wasm; "
            f"for a command write: nunet-node submit -- {' '.join(words)}"
        )
    engine_of(work)
    return work


def _dashes_before(words: tuple[str, ...]) -> bool:
    """Tell whether ``--`` stood before the words; click takes it away."""
    context = click.get_current_context()
    raw: tuple[str, ...] = context.meta[_RAW]
    at = len(raw) - len(words)
    return at > 0 and raw[at - 1] == "--"


def _check(work: JobFile) -> None:
    for each in work.all_inputs():
        if each.is_here and not Path(each.path).exists():
            raise JobFileError(f"input {each.path} does not exist")
    checked_sources(job_spec(work, inputs=None, inputs_bytes=0), work)


async def _submit(settings: Settings, plan: _Plan) -> int:
    async with open_client(
        settings.home, bootstrap=plan.bootstrap, identity=plan.identity
    ) as client:
        if plan.work.count is not None:
            return await submit_array(settings, client, plan.work, plan.out, plan.owner)
        tell = Teller(settings, name_of(plan.work))
        handle = await client.submit(plan.work, tell, owner=plan.owner)
        tell.introduce(handle.job)
        warn_of_seal(settings, opens=client.opens(handle.order))
        if not client.may(handle, WATCH):
            settings.note("who delegated the job to you did not let you watch it")
            return await _detach(settings, handle)
        if plan.detach:
            return await _detach(settings, handle)
        return await watch(settings, client, handle, plan.out)


async def _detach(settings: Settings, handle: JobHandle) -> int:
    order = await handle.placed()
    settings.document(order_document(order))
    if not settings.json:
        settings.say(handle.job)
    if order.ended:
        settings.note(closing(order, ended=handle.order.ended))
        return exit_code_of(order)
    settings.note(f"next: nunet-node wait {handle.job}")
    return 0
