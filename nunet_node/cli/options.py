"""Options that several commands share, and how a value becomes a quantity.

Rule: what a person writes is parsed here, once, by the same functions that read a
job file; a wrong value is a mistake in writing the command, exit code 2.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from nunet_node.errors import PeerError
from nunet_node.jobs.job_file.network import parse_network
from nunet_node.jobs.job_file.values import parse_name
from nunet_node.network.discovery import (
    parse_announced_address,
    parse_listen_address,
    parse_node_address,
)


class Parsed(click.ParamType[Any]):
    """An option whose text is read by one of our own parsers."""

    def __init__(self, parse: Callable[[str], Any], name: str) -> None:
        self._parse = parse
        self.name = name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the parsed value, or end the command with what is wrong with it."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except PeerError as error:
            self.fail(str(error), param, ctx)


def checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Return a reader that refuses what ``parse`` refuses, and keeps the text."""

    def read(text: str) -> str:
        parse(text)
        return text

    return read


class _NamedPath(click.Path):
    """A path; the empty word, as of an unset variable, names none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the path, or end the command if the word is empty."""
        if value == "":
            self.fail("is empty; name a file", param, ctx)
        return super().convert(value, param, ctx)


class _Word(click.ParamType[str]):
    """A word that says something."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the word, or end the command if it is empty."""
        if value == "":
            self.fail(f"is empty; name a {self.name.lower()}", param, ctx)
        return str(value)


class Whole(click.IntRange):
    """A whole number within bounds, called so in help and in errors."""

    name = "whole number"


PATH: Final = _NamedPath(path_type=Path)
WORD: Final = _Word("FILE")
NAME: Final = Parsed(parse_name, "NAME")

JOB: Final = click.argument("job", metavar="JOB", type=_Word("JOB"))

LISTEN = click.option(
    "--listen",
    multiple=True,
    type=Parsed(checked(parse_listen_address), "MULTIADDR"),
    help="Where to accept connections. [/ip4/0.0.0.0/tcp/4040] Repeatable.",
)

ANNOUNCE = click.option(
    "--announce",
    multiple=True,
    type=Parsed(checked(parse_announced_address), "MULTIADDR"),
    help="Where others are to dial, if elsewhere: a forwarded port. Repeatable.",
)

BOOTSTRAP = click.option(
    "--bootstrap",
    multiple=True,
    type=Parsed(checked(parse_node_address), "MULTIADDR"),
    help="A peer to join the network by, /ip4/…/tcp/…/p2p/…. Repeatable.",
)

IDENTITY = click.option(
    "--identity",
    default="default",
    type=NAME,
    show_default=True,
    help="Which of your identities asks.",
)

NETWORK = click.option(
    "--network",
    type=Parsed(parse_network, "NAME"),
    help="What it may reach: none, or http:DOMAIN[,DOMAIN]. [none]",
)
