"""Where a passphrase comes from: the environment, or the person at the terminal.

Rule: it is never an argument of a command, because other users of a machine can read
those; and nobody is asked where nobody is.
"""

import getpass
import os
import sys
from collections.abc import Mapping
from typing import Final

PASSPHRASE_VARIABLE: Final = "NUNET_PASSPHRASE"  # noqa: S105 - its name
"""Environment variable with the passphrase of this home's identities."""


def given_passphrase(environment: Mapping[str, str] | None = None) -> str | None:
    """Return the passphrase that the environment gives, if it gives one."""
    environment = os.environ if environment is None else environment
    return environment.get(PASSPHRASE_VARIABLE) or None


def asked_passphrase(whose: str) -> str | None:
    """Return a passphrase from the environment or the terminal; None without both."""
    given = given_passphrase()
    if given is None and sys.stdin.isatty() and sys.stderr.isatty():
        given = getpass.getpass(f"passphrase of {whose}: ", stream=sys.stderr)
    return given or None
