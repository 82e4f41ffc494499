"""``receipt``: check what a provider signed, without asking anybody.

Rule: it is said in words what the signature proves, and, as plainly, what it cannot.
"""

from pathlib import Path
from typing import Any, Final

import click

from nunet_node.capability.held.explaining import moment
from nunet_node.cli.options import PATH
from nunet_node.cli.output import Settings, visible
from nunet_node.errors import PeerError
from nunet_node.identity.statement import Statement
from nunet_node.jobs.statements import Receipt, open_receipt
from nunet_node.runtime.home import HomeError
from nunet_node.storage.files import why
from nunet_node.wire.limits import FRAME_BYTES_MAX
from nunet_node.wire.schema import to_plain

NAME: Final = "receipt.cbor"
"""What a receipt is called in a fetched result."""


@click.group("receipt")
def receipt_command() -> None:
    """Check a provider's receipt, offline."""


@receipt_command.command("verify")
@click.argument("file", type=PATH)
@click.pass_obj
def verify_command(settings: Settings, file: Path) -> int:
    """Check the receipt in FILE, or in a fetched result; say what it proves.

    Exit codes: 0 if the signature holds, 1 if it does not.
    """
    path = file / NAME if file.is_dir() else file
    try:
        signed = open_receipt(_read(path))
    except PeerError as error:
        settings.document({"valid": False, "code": error.code, "reason": str(error)})
        settings.note(visible(f"{path}: not a valid receipt: {error}"))
        return 1
    settings.document(document(signed))
    if not settings.json:
        settings.say("proved, because the signature holds:")
        settings.say("\n".join(f"  {visible(each)}" for each in proved(signed)))
        settings.say("not proved:")
        settings.say("\n".join(f"  {visible(each)}" for each in not_proved(signed)))
    return 0


def proved(signed: Statement[Receipt]) -> tuple[str, ...]:
    """Return in words what a receipt proves."""
    said = signed.payload
    end = "" if said.exit_code is None else f" with exit code {said.exit_code}"
    limit = f", ended by its {said.limit} limit" if said.limit else ""
    ran = f"from {moment(said.started_s)} to {moment(said.ended_s)}"
    return (
        f"{signed.issuer} states that it ran job {said.job}, attempt {said.attempt}",
        f"what it ran is {said.spec}, for {said.owner}",
        f"it ran {ran}, by {said.engine}, isolated by {said.isolation or 'nothing'}",
        f"it ended {said.state}{end}{limit}",
        f"its result is {said.result}, {said.result_bytes} bytes",
        "nobody but the holder of that DID's key can have signed this",
        f"it was signed at {moment(signed.issued_at_s)} by the provider's own clock",
    )


def not_proved(signed: Statement[Receipt]) -> tuple[str, ...]:
    """Return in words what a receipt leaves open."""
    said = signed.payload
    return (
        "that the result is right: the provider may have computed something else",
        "that times and isolation are as it says",
        f"that it took {said.cpu_ms} ms of CPU, {said.memory_peak_bytes} bytes at most"
        + (f", {said.fuel} instructions" if said.fuel else ""),
        *(f"that it reached {each}" for each in said.reached),
        "that files beside this receipt are the result: fetching checks that",
    )


def document(signed: Statement[Receipt]) -> dict[str, Any]:
    """Return a receipt for programs."""
    said = signed.payload
    return {
        "valid": True,
        "provider": signed.issuer,
        "owner": said.owner,
        "job": said.job,
        "attempt": said.attempt,
        "spec": str(said.spec),
        "state": str(said.state),
        "exit_code": said.exit_code,
        "limit": said.limit,
        "result": str(said.result),
        "result_bytes": said.result_bytes,
        "engine": said.engine,
        "isolation": said.isolation,
        "cpu_ms": said.cpu_ms,
        "memory_peak_bytes": said.memory_peak_bytes,
        "fuel": said.fuel,
        "reached": [to_plain(each) for each in said.reached],
        "started": said.started_s,
        "ended": said.ended_s,
        "signed_at": signed.issued_at_s,
        "proved": list(proved(signed)),
        "not_proved": list(not_proved(signed)),
    }


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FRAME_BYTES_MAX + 1)
    except OSError as error:
        raise HomeError(f"cannot read {path}: {why(error)}") from None
