"""Command paths: what an invocation asks for and a delegation allows.

A command is lower-case segments after slashes, without one at the end; a path proves
itself and everything below it, and ``/`` proves everything (UCAN 1.0, "Command").
"""

import re
from functools import lru_cache
from typing import Final, NewType

from nunet_node.capability.errors import InvalidClaimError

Command = NewType("Command", str)
"""A command path that has been parsed."""

COMMAND_CHARS_MAX: Final = 128
"""Longest command that is read; ours have about twenty characters."""

COMMANDS_CACHED_MAX: Final = 256
"""Commands that are kept parsed: a dozen are spoken, and others are refused."""

ROOT: Final = Command("/")
"""The command that proves every other."""

_COMMAND: Final = re.compile(r"/|(?:/[a-z0-9_-]+)+")


@lru_cache(maxsize=COMMANDS_CACHED_MAX)
def parse_command(text: str) -> Command:
    """Check that a text is a command path.

    Raises:
        InvalidClaimError: it is not, or is too long.
    """
    if len(text) > COMMAND_CHARS_MAX or not _COMMAND.fullmatch(text):
        raise InvalidClaimError("not a command path such as /nunet/job/submit")
    return Command(text)


def proves(granted: Command, used: Command) -> bool:
    """Tell whether a delegation of one command allows another."""
    return granted in (ROOT, used) or used.startswith(f"{granted}/")
