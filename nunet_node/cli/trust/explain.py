"""``cap show`` and ``cap explain``: what a token allows, and where it fails.

Rule: a revocation that providers know counts here as well, if they can be asked; and
whether they were is said, because silence proves nothing.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import trio

from nunet_node.capability.command import parse_command
from nunet_node.capability.delegation import Delegation
from nunet_node.capability.held.explaining import LinkStory, explain
from nunet_node.capability.held.parcel import read_links
from nunet_node.capability.proof_chain import Act
from nunet_node.cli.options import BOOTSTRAP, WORD, Parsed, checked
from nunet_node.cli.output import Settings, visible
from nunet_node.cli.trust.documents import WEB, documents_of_token
from nunet_node.client import ClientError, open_client
from nunet_node.client.trust.revoking import Standing
from nunet_node.errors import PeerError
from nunet_node.runtime.home import Home, open_home
from nunet_node.runtime.wallet import tokens

FILE_NAME_MAX: Final = 255
"""Longest name of a file; a longer word is the token itself."""

FILE: Final = click.argument("file", metavar="FILE", type=WORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Who was asked whether a chain has been revoked."""

    standing: Standing | None = None
    why_not: str = ""

    @property
    def document(self) -> dict[str, Any]:
        standing = self.standing
        return {
            "answered": list(standing.answered) if standing else [],
            "missed": [
                {"provider": did, "reason": why}
                for did, why in (standing.missed if standing else ())
            ],
            "reason": self.why_not or None,
        }

    @property
    def words(self) -> str:
        if self.standing is None:
            return f"nobody was asked whether it was revoked: {self.why_not}"
        if self.standing.void:
            return ""
        told, missed = len(self.standing.answered), len(self.standing.missed)
        silent = f"; {missed} did not answer" if missed else ""
        return f"{told} provider(s) know of no revocation{silent}"


@click.command("show")
@FILE
@WEB
@BOOTSTRAP
@click.pass_obj
def show_command(
    settings: Settings,
    file: str,
    web: bool,  # noqa: FBT001 - click passes by name
    bootstrap: tuple[str, ...],
) -> None:
    """Print what a token allows, each of its links as it stands.

    Providers are asked whether it was revoked, if --bootstrap names a peer or a node
    runs on this home.
    """
    home = open_home(settings.home)
    links = read_links(token_text(file))
    documents = documents_of_token(home, token_text(file), web=web)
    stories = explain(links, now_s=now_s(), documents=documents)
    asked = _ask(home, bootstrap, stories)
    void = tokens.voids(home)
    shown = [document_of(s.delegation, home) for s in stories if s.delegation]
    settings.document({"links": shown, "asked": asked.document})
    if not settings.json:
        for story in stories:
            link = story.delegation
            revoked = " (revoked)" if link and link.cid in void else ""
            settings.say(visible(f"{story.words}{revoked}"))
    _note(settings, asked, f"next: nunet-node cap explain {file}")


@click.command("explain")
@FILE
@click.option(
    "--can",
    "command",
    type=Parsed(checked(parse_command), "COMMAND"),
    help="Would it allow this?",
)
@click.option("--job", metavar="JOB", help="About this job.")
@WEB
@BOOTSTRAP
@click.pass_obj
def explain_command(
    settings: Settings,
    file: str,
    command: str | None,
    job: str | None,
    web: bool,  # noqa: FBT001 - click passes by name
    bootstrap: tuple[str, ...],
) -> int:
    """Tell link by link who gave what to whom, until when, and where it fails.

    Providers are asked whether a link was revoked, if --bootstrap names a peer or a
    node runs on this home. Exit codes: 0 if every link holds, 1 if one does not.
    """
    home = open_home(settings.home)
    links = read_links(token_text(file))
    documents = documents_of_token(home, token_text(file), web=web)
    told = partial(explain, links, now_s=now_s(), documents=documents)
    asked = _ask(home, bootstrap, told())
    void = tokens.voids(home).keys()
    stories = told(revoked=void)
    if command is not None and stories and stories[-1].delegation:
        act = _act(stories[-1].delegation, command, job)
        stories = told(act=act, revoked=void)
    holds = all(not story.faults for story in stories)
    settings.document(
        {
            "valid": holds,
            "links": [_story(story, home) for story in stories],
            "asked": asked.document,
        }
    )
    if not settings.json:
        settings.say("\n".join(_lines(stories)))
        settings.say("the chain holds" if holds else "the chain does not hold")
    _note(settings, asked)
    return 0 if holds else 1


def _ask(
    home: Home, bootstrap: tuple[str, ...], stories: Sequence[LinkStory]
) -> _Asked:
    """Ask the network whether any link was revoked, if there is a way to it."""
    links = [story.delegation for story in stories if story.delegation]
    if not bootstrap and home.running_node() is None:
        return _Asked(
            why_not="name a peer with --bootstrap MULTIADDR, or run `nunet-node up`"
        )

    async def run() -> Standing:
        async with open_client(home, bootstrap=bootstrap) as client:
            return await client.standing(links)

    try:
        return _Asked(standing=trio.run(run))
    except PeerError as error:
        return _Asked(why_not=str(error))


def _note(settings: Settings, asked: _Asked, *more: str) -> None:
    if asked.words:
        settings.note(visible(asked.words))
    for did, reason in asked.standing.missed if asked.standing else ():
        settings.note(visible(f"{did} did not answer: {reason}"))
    for line in more:
        settings.note(line)


def document_of(link: Delegation, home: Home) -> dict[str, Any]:
    """Return what a program wants to know of one link."""
    path = home.path / "tokens" / f"{link.cid}.ucan"
    return {
        "cid": str(link.cid),
        "issuer": link.issuer,
        "audience": link.audience,
        "subject": link.subject,
        "command": link.command,
        "policy": list(link.conditions),
        "not_before": link.not_before_s,
        "expires": link.expires_at_s,
        "revoked": link.cid in tokens.voids(home),
        "path": str(path) if path.exists() else None,
    }


def _story(story: LinkStory, home: Home) -> dict[str, Any]:
    link = story.delegation
    return {
        "link": story.number,
        "words": story.words,
        "valid": not story.faults,
        "faults": [
            {"name": fault.name, "code": fault.code, "words": fault.words}
            for fault in story.faults
        ],
        "delegation": document_of(link, home) if link else None,
    }


def _lines(stories: Sequence[LinkStory]) -> list[str]:
    lines = []
    for story in stories:
        lines.append(visible(f"{story.number}. {story.words}"))
        lines += [
            visible(f"   fails: {fault.words} ({fault.name})") for fault in story.faults
        ]
        lines += [] if story.faults else ["   holds"]
    return lines


def _act(leaf: Delegation, command: str, job: str | None) -> Act:
    return Act(
        invoker=leaf.audience,
        subject=leaf.subject or leaf.issuer,
        command=parse_command(command),
        args={} if job is None else {"job": job},
    )


def token_text(file: str) -> str:
    """Return a token's text: the content of a file, standard input, or itself."""
    if file == "-":
        return sys.stdin.readline().strip()
    if len(file) > FILE_NAME_MAX:
        return file
    if not Path(file).exists():
        raise ClientError(f"{file}: there is no such file")
    return tokens.read_token_text(Path(file))


def now_s() -> int:
    """Return the time, unix seconds."""
    return int(time.time())
