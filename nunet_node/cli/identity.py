"""``did``: the identities of this home's users.

Rule: a key leaves its home only by ``export``, into a file of mode 0600 that did
not exist, and never onto a screen.
"""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click
import trio

from nunet_node.cli.options import NAME, PATH, WORD, Parsed, checked
from nunet_node.cli.output import Settings, table
from nunet_node.identity.did import Did, DidDocument, is_web, parse_did, resolve
from nunet_node.identity.errors import (
    InvalidDidError,
    LockedError,
    MethodNotSupportedError,
    WalletError,
)
from nunet_node.identity.keys import SECRET_KEYS
from nunet_node.identity.methods.did_web import did_of_place, url_of
from nunet_node.identity.methods.w3c import to_w3c
from nunet_node.identity.safe.openssh import is_locked, is_openssh, read_openssh
from nunet_node.identity.wallet import (
    WALLET_CHARS_MAX,
    Identity,
    encode_identity,
    open_wallet,
    read_wallet,
)
from nunet_node.jobs.job_file.values import parse_name
from nunet_node.network.did_web import fetch_document
from nunet_node.runtime.home import Home, HomeError, open_home
from nunet_node.runtime.wallet.key_files import resealed
from nunet_node.runtime.wallet.passphrase import (
    PASSPHRASE_VARIABLE,
    asked_passphrase,
    given_passphrase,
)

DEFAULT_NAME = "default"


@click.group("did", invoke_without_command=True)
@click.option("--identity", "name", type=NAME, help="Which one. [default]")
@click.pass_context
def did_command(ctx: click.Context, name: str | None) -> None:
    """Show your DID, making an identity at first use."""
    if ctx.invoked_subcommand is not None:
        return
    settings: Settings = ctx.obj
    home = open_home(settings.home)
    if name in (None, DEFAULT_NAME):
        ensure_default(settings, home)
    _show_named(settings, home, name or DEFAULT_NAME)
    settings.note("next: nunet-node submit SCRIPT.py, or nunet-node did --help")


def _web(text: str) -> Did:
    did = parse_did(text) if text.startswith("did:") else did_of_place(text)
    if not is_web(did):
        raise InvalidDidError(f"{did} is a key's; name the host that publishes it")
    return parse_did(did)


def _command(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise WalletError(f"{text!r} is no command: {error}") from None
    if not words:
        raise WalletError("is empty; name a program")
    return words


def _who(text: str) -> str:
    return parse_did(text) if text.startswith("did:") else parse_name(text)


_PASSPHRASE = click.option(
    "--passphrase",
    "sealed",
    is_flag=True,
    help="Seal the key under a passphrase, from NUNET_PASSPHRASE or typed in.",
)


@did_command.command("create")
@click.argument("name", type=NAME)
@click.option(
    "--curve",
    type=click.Choice(list(SECRET_KEYS)),
    default="Ed25519",
    show_default=True,
    help="Kind of key.",
)
@click.option(
    "--signer",
    type=Parsed(_command, "COMMAND"),
    help="A program that signs for --did, in the place of a key here.",
)
@click.option(
    "--did",
    "did",
    type=Parsed(checked(parse_did), "DID"),
    help="Whose signatures it makes.",
)
@click.option(
    "--web",
    type=Parsed(_web, "HOST[/PATH]"),
    help="Be the did:web of this host, which has to publish the document.",
)
@_PASSPHRASE
@click.pass_obj
def create(settings: Settings, /, name: str, **given: Any) -> None:
    """Make a new identity called NAME."""
    home = open_home(settings.home)
    web = given["web"]
    if given["signer"] is not None or given["did"] is not None:
        if given["signer"] is None or given["did"] is None:
            raise click.UsageError("--signer and --did go together")
        _keep_external(home, name, given["signer"], given["did"], web)
    else:
        if web is not None and given["curve"] != "Ed25519":
            raise click.UsageError("--web makes a key of kind Ed25519")
        passphrase = _new_passphrase(name) if given["sealed"] else None
        home.new_identity(name, curve=given["curve"], passphrase=passphrase, web=web)
    _show_named(settings, home, name)
    if web is not None:
        settings.note(
            f"publish what `nunet-node did show {name} --document` prints as "
            f"{url_of(web)}"
        )
    settings.note(f"next: nunet-node submit --identity {name} SCRIPT.py")


@did_command.command("show")
@click.argument(
    "who",
    default=DEFAULT_NAME,
    metavar="[NAME or DID]",
    type=Parsed(_who, "NAME or DID"),
)
@click.option("--document", is_flag=True, help="Print its DID document, in JSON.")
@click.option(
    "--web", is_flag=True, help="Ask the server of a did:web, which then knows of us."
)
@click.pass_obj
def show(settings: Settings, who: str, document: bool, web: bool) -> None:  # noqa: FBT001 - click passes by name
    """Show an identity of this home, or what any DID says about itself."""
    if not who.startswith("did:"):
        home = open_home(settings.home)
        if not document:
            _show_named(settings, home, who)
            return
        found = home.known_document(who)
    else:
        found = _resolved(who, web=web)
    shown = to_w3c(found)
    settings.document(shown)
    if not settings.json:
        text = json.dumps(shown, indent=2) if document else str(shown["id"])
        settings.say(text)


@did_command.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the identities of this home."""
    home = open_home(settings.home)
    shown = [_document(home, each) for each in home.identity_names()]
    settings.document(shown)
    if not settings.json:
        rows = [(each["name"], each["did"], each["path"]) for each in shown]
        settings.say(table(("NAME", "DID", "FILE"), rows))


@did_command.command("import")
@click.argument("file", type=WORD)
@click.option("--name", type=NAME, help="Call it so, instead of as it was.")
@_PASSPHRASE
@click.pass_obj
def import_(settings: Settings, file: str, name: str | None, sealed: bool) -> None:  # noqa: FBT001 - click passes by name
    """Take in an identity from FILE, or from standard input if FILE is -.

    FILE is what `did export` wrote, or an OpenSSH private key of kind Ed25519. If it is
    under a passphrase, that is taken from NUNET_PASSPHRASE, or typed in.
    """
    home = open_home(settings.home)
    try:
        found = _taken(_read(file), file)
    except WalletError as error:
        raise WalletError(f"{file}: {error}") from None
    except LockedError as error:
        raise LockedError(
            f"{file}: {error}; give it in {PASSPHRASE_VARIABLE}"
        ) from None
    identity = Identity(name=name or found.name, key=found.key)
    kept = _new_passphrase(identity.name) if sealed else given_passphrase()
    home.keep_identity(identity, kept)
    _show_named(settings, home, identity.name)


@did_command.command("export")
@click.argument("name", type=NAME, default=DEFAULT_NAME)
@click.option("--out", metavar="FILE", type=PATH)
@click.pass_obj
def export(settings: Settings, name: str, out: Path | None) -> None:
    """Write identity NAME, with its secret key, to a new private file."""
    home = open_home(settings.home)
    identity, kept = home.identity(name), given_passphrase()
    text = encode_identity(identity) if kept is None else resealed(identity, kept)
    path = out or Path(f"{name}.id")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        raise HomeError(
            f"{path} exists already and is not overwritten; choose another with --out"
        ) from None
    shown = {**_document(home, name), "path": str(path.absolute())}
    settings.document(shown)
    settings.say(f"wrote {path}: whoever has it is {identity.did}; keep it secret")


def ensure_identity(settings: Settings, home: Home, name: str) -> Identity:
    """Return an identity of the home, making the default one at first need.

    Raises:
        HomeError: there is none of this name, or it cannot be read or written.
    """
    if name == DEFAULT_NAME:
        made = ensure_default(settings, home)
        if made is not None:
            return made
    return home.identity(name)


def ensure_default(settings: Settings, home: Home) -> Identity | None:
    """Make the default identity if it is not there; return it if it was made."""
    if home.identity_path(DEFAULT_NAME).exists():
        return None
    try:
        identity = home.new_identity(DEFAULT_NAME)
    except HomeError:
        if not home.identity_path(DEFAULT_NAME).exists():
            raise
        # Another command of the same home was first.
        return None
    settings.note(f"made identity {DEFAULT_NAME!r}: {identity.did}")
    return identity


def _read(file: str) -> str:
    if file == "-":
        return sys.stdin.read(WALLET_CHARS_MAX + 1)
    try:
        with Path(file).open(encoding="utf-8") as source:
            return source.read(WALLET_CHARS_MAX + 1)
    except UnicodeDecodeError:
        raise WalletError("the identity file is not text") from None


def _taken(text: str, file: str) -> Identity:
    """Return the identity in a text, asking for its passphrase if it has one."""
    if is_openssh(text):
        secret = asked_passphrase(file) if is_locked(text) else None
        return Identity(name=DEFAULT_NAME, key=read_openssh(text, secret))
    wallet = read_wallet(text)
    return open_wallet(wallet, asked_passphrase(file) if wallet.sealed else None)


def _new_passphrase(name: str) -> str:
    """Return a new passphrase, typed twice if it is typed."""
    given = given_passphrase()
    if given is None and sys.stdin.isatty():
        given = click.prompt(
            f"passphrase for {name}", hide_input=True, confirmation_prompt=True
        )
    if not given:
        raise click.UsageError("no passphrase: set NUNET_PASSPHRASE")
    return given


def _keep_external(
    home: Home, name: str, signer: list[str], did: str, web: Did | None
) -> None:
    key_did = parse_did(did)
    if is_web(key_did):
        raise click.UsageError(
            f"--did is the DID of the program's key; say --web {key_did} beside it"
        )
    if web is None:
        home.keep_external(name, key_did, signer)
    else:
        home.keep_external(name, web, signer, key_did)


def _resolved(who: str, *, web: bool) -> DidDocument:
    if not who.startswith("did:web:"):
        return resolve(Did(who))
    if not web:
        raise MethodNotSupportedError(
            "a did:web is looked up by asking its server; allow that with --web"
        )
    return trio.run(fetch_document, Did(who))


def _document(home: Home, name: str) -> dict[str, str]:
    path = home.identity_path(name)
    return {"did": home.known_did(name), "name": name, "path": str(path)}


def _show_named(settings: Settings, home: Home, name: str) -> None:
    settings.document(_document(home, name))
    if not settings.json:
        settings.say(home.known_did(name))
