"""Secrets as a person names them, in a file or an option: where they are, not what.

A job file says ``secrets: {NAME: {env: VARIABLE}}`` or ``{file: PATH}``; the option
``--secret`` takes ``NAME`` and ``NAME=@PATH``. Rule: a value stands in neither, because
job files are shared, and a command's words are shown to every user of a machine.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from nunet_node.jobs.job_file.plain_yaml import JobFileError, Value
from nunet_node.jobs.job_file.values import ENV_NAME_PATTERN
from nunet_node.jobs.secrets import SecretSource
from nunet_node.jobs.specification import SECRETS_MAX

PATH_CHARS_MAX: Final = 4096
"""Longest path that Linux takes."""

_KEYS: Final = ("env", "file")

SECRETS_SCHEMA: Final[Mapping[str, Any]] = {
    "description": "What it finds in /run/secrets: where each value is, never what.",
    "type": "object",
    "propertyNames": {"pattern": f"^{ENV_NAME_PATTERN}$"},
    "maxProperties": SECRETS_MAX,
    "additionalProperties": {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {
            "env": {
                "description": "A variable of your environment.",
                "type": "string",
                "pattern": f"^{ENV_NAME_PATTERN}$",
            },
            "file": {
                "description": "A path on your machine.",
                "type": "string",
                "minLength": 1,
                "maxLength": PATH_CHARS_MAX,
            },
        },
    },
}
"""What may stand in a job file."""


def read_secrets(value: Value) -> tuple[SecretSource, ...]:
    """Read ``secrets``.

    Raises:
        JobFileError: it is wrong; the message names the line.
    """
    pairs = value.pairs()
    if len(pairs) > SECRETS_MAX:
        raise value.wrong(f"at most {SECRETS_MAX} secrets")
    return tuple(_read_one(name, each) for name, each in pairs.items())


def parse_secret(text: str) -> SecretSource:
    """Read ``NAME``, a variable of the environment, or ``NAME=@PATH``.

    Raises:
        JobFileError: it is a value, or the name is none.
    """
    name, equals, place = text.partition("=")
    if not equals:
        return _source(name, env=name)
    if not place.startswith("@"):
        _source(name, env=name)
        raise JobFileError(
            f"secret {name}: its value is not written here, where every user of this "
            f"machine sees it; write {name}=@FILE, or {name} for a variable of yours"
        )
    return _source(name, file=place[1:])


def names_of(secrets: Iterable[SecretSource]) -> tuple[str, ...]:
    """Return what a job's secrets are called, in the order of a specification.

    Raises:
        JobFileError: there are too many, or two of one name.
    """
    names = sorted(each.name for each in secrets)
    if len(names) > SECRETS_MAX:
        raise JobFileError(f"{len(names)} secrets, limit {SECRETS_MAX}")
    twice = next((one for one, other in pairwise(names) if one == other), None)
    if twice is not None:
        raise JobFileError(f"secret {twice} is given twice")
    return tuple(names)


def laid_over(
    one: tuple[SecretSource, ...], other: tuple[SecretSource, ...]
) -> tuple[SecretSource, ...]:
    """Return the secrets of both; what ``other`` says of a name holds."""
    named = {each.name for each in other}
    return (*(each for each in one if each.name not in named), *other)


def _read_one(name: str, value: Value) -> SecretSource:
    if not value.is_map:
        raise value.wrong(
            "its value is not written here; write {env: VARIABLE} or {file: PATH}"
        )
    said = {key: each.text() for key, each in value.known_pairs(_KEYS).items()}
    if len(said) != 1:
        raise value.wrong("give one of env and file")
    try:
        return _source(name, **said)
    except JobFileError as error:
        raise value.wrong(str(error)) from None


def _source(
    name: str, *, env: str | None = None, file: str | None = None
) -> SecretSource:
    for each in (name, env if env is not None else name):
        if not re.fullmatch(ENV_NAME_PATTERN, each):
            raise JobFileError(
                f"{each[:80]!r} cannot name a secret or a variable: letters, digits "
                "and '_', 64 at most, and no digit first"
            )
    if file is not None and not 0 < len(file) <= PATH_CHARS_MAX:
        raise JobFileError(f"secret {name}: a path of 1 to {PATH_CHARS_MAX} characters")
    return SecretSource(name=name, env=env or "", file=file or "")
