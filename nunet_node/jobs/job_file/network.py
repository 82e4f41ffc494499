"""What a job may reach, as a person asks for it, in a file or an option.

``network`` is ``none``, or a map whose ``http`` lists domains; the option ``--network``
takes ``none`` or ``http:DOMAIN,DOMAIN``, and so does a file.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from nunet_node.domains import (
    DOMAINS_MAX,
    NAME_CHARS_MAX,
    RULE_PATTERN,
    parse_rules,
)
from nunet_node.errors import PeerError
from nunet_node.jobs.job_file.plain_yaml import JobFileError, Value
from nunet_node.jobs.specification import Engine, Network

_T = TypeVar("_T")
_HTTP: Final = "http"
_NONE: Final = "none"

NETWORK_SCHEMA: Final[Mapping[str, Any]] = {
    "description": "What it may reach: nothing, unless given, or domains over HTTP.",
    "oneOf": [
        {"type": "string", "pattern": f"^({_NONE}|{_HTTP}:[a-z0-9*.,-]+)$"},
        {
            "type": "object",
            "additionalProperties": False,
            "required": [_HTTP],
            "properties": {
                _HTTP: {
                    "description": "Domains, such as pypi.example or *.data.example.",
                    "type": "array",
                    "minItems": 1,
                    "maxItems": DOMAINS_MAX,
                    "items": {
                        "type": "string",
                        "pattern": RULE_PATTERN.replace(r"\Z", "$"),
                        "maxLength": NAME_CHARS_MAX,
                    },
                },
            },
        },
    ],
}
"""What may stand in a job file."""


def read_network(value: Value) -> Network:
    """Read ``network``.

    Raises:
        JobFileError: it is wrong; the message names the line.
    """
    if value.is_map:
        pairs = value.known_pairs((_HTTP,))
        domains = pairs[_HTTP].items() if _HTTP in pairs else []
        words = tuple(each.text() for each in domains)
        return _placed(value, _reaching, words)
    return _placed(value, parse_network, value.text())


def parse_network(text: str) -> Network:
    """Read ``none`` or ``http:DOMAIN[,DOMAIN]``.

    Raises:
        PeerError: it is neither, or a domain is none.
    """
    kind, colon, domains = text.partition(":")
    if text == _NONE:
        return Network()
    if kind == _HTTP and colon:
        return _reaching(tuple(each.strip() for each in domains.split(",")))
    raise JobFileError(
        f"network {text!r} cannot be had: write 'none', or http:DOMAIN,DOMAIN with the "
        "domains that it reaches"
    )


def check_network(network: Network, engine: Engine) -> None:
    """Check that an engine can give a job what it is to reach.

    Raises:
        JobFileError: no provider ever could.
    """
    if network.http and engine is not Engine.PROCESS:
        raise JobFileError(
            f"engine {engine} reaches no network; write 'engine: process', or bring "
            "what it needs as inputs"
        )


def _placed(value: Value, read: Callable[[_T], Network], said: _T) -> Network:
    """Return what was read; an error says where it stands."""
    try:
        return read(said)
    except PeerError as error:
        raise value.wrong(str(error)) from None


def _reaching(domains: tuple[str, ...]) -> Network:
    return Network(http=parse_rules(domains, DOMAINS_MAX))
