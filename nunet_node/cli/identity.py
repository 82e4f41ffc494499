"""``did``: the identities of this home's users.

Rule: a key leaves its home only by ``export``, into a file of mode 0600 that did
not exist, and never onto a screen.
"""

import os
import sys
from pathlib import Path

import click

from nunet_node.cli.output import Settings, table
from nunet_node.identity.errors import WalletError
from nunet_node.identity.wallet import (
    WALLET_CHARS_MAX,
    Identity,
    decode_identity,
    encode_identity,
)
from nunet_node.runtime.home import Home, HomeError, open_home

DEFAULT_NAME = "default"


@click.group("did", invoke_without_command=True)
@click.option("--identity", "name", metavar="NAME", help="Which one. [default]")
@click.pass_context
def did_command(ctx: click.Context, name: str | None) -> None:
    """Show your DID, making an identity at first use."""
    if ctx.invoked_subcommand is not None:
        return
    settings: Settings = ctx.obj
    home = open_home(settings.home)
    _show(settings, home, ensure_identity(settings, home, name or DEFAULT_NAME))
    settings.note("next: nunet-node submit SCRIPT.py, or nunet-node did --help")


@did_command.command("create")
@click.argument("name")
@click.pass_obj
def create(settings: Settings, name: str) -> None:
    """Make a new identity called NAME."""
    home = open_home(settings.home)
    _show(settings, home, home.new_identity(name))
    settings.note(f"next: nunet-node submit --identity {name} SCRIPT.py")


@did_command.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the identities of this home."""
    home = open_home(settings.home)
    shown = [_document(home, each) for each in home.identities()]
    settings.document(shown)
    if not settings.json:
        rows = [(each["name"], each["did"], each["path"]) for each in shown]
        settings.say(table(("NAME", "DID", "FILE"), rows))


@did_command.command("import")
@click.argument("file")
@click.option("--name", metavar="NAME", help="Call it so, instead of as it was.")
@click.pass_obj
def import_(settings: Settings, file: str, name: str | None) -> None:
    """Take in an identity from FILE, or from standard input if FILE is -."""
    home = open_home(settings.home)
    try:
        found = decode_identity(_read(file))
    except WalletError as error:
        raise WalletError(f"{file}: {error}") from None
    identity = Identity(name=name or found.name, key=found.key)
    home.keep_identity(identity)
    _show(settings, home, identity)


@did_command.command("export")
@click.argument("name", default=DEFAULT_NAME)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path))
@click.pass_obj
def export(settings: Settings, name: str, out: Path | None) -> None:
    """Write identity NAME, with its secret key, to a new private file."""
    home = open_home(settings.home)
    identity = home.identity(name)
    path = out or Path(f"{name}.id")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "w") as file:
            file.write(encode_identity(identity))
    except FileExistsError:
        raise HomeError(
            f"{path} exists already and is not overwritten; choose another with --out"
        ) from None
    shown = {**_document(home, identity), "path": str(path.absolute())}
    settings.document(shown)
    settings.say(f"wrote {path}: whoever has it is {identity.did}; keep it secret")


def ensure_identity(settings: Settings, home: Home, name: str) -> Identity:
    """Return an identity of the home, making the default one at first need.

    Raises:
        HomeError: there is none of this name, or it cannot be read or written.
    """
    if name == DEFAULT_NAME and not home.identity_path(name).exists():
        identity = home.new_identity(name)
        settings.note(f"made identity {name!r}: {identity.did}")
        return identity
    return home.identity(name)


def _read(file: str) -> str:
    if file == "-":
        return sys.stdin.read(WALLET_CHARS_MAX + 1)
    try:
        with Path(file).open(encoding="utf-8") as source:
            return source.read(WALLET_CHARS_MAX + 1)
    except UnicodeDecodeError:
        raise WalletError("the identity file is not text") from None


def _document(home: Home, identity: Identity) -> dict[str, str]:
    path = home.identity_path(identity.name)
    return {"did": identity.did, "name": identity.name, "path": str(path)}


def _show(settings: Settings, home: Home, identity: Identity) -> None:
    settings.document(_document(home, identity))
    if not settings.json:
        settings.say(identity.did)
