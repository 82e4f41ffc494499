"""Names of hosts, and rules about them: what a job wants to reach, what is lent.

Rule: a name has one spelling here, ASCII in lower case without a last dot, so that two
rules are compared letter by letter. A rule is a name, or ``*.`` and a name, which
stands for every name that ends with it; the name itself is not one of them. An address
is no name: the last label begins with a letter. Source: RFC 1123, section 2.1; RFC
5890 for names beyond ASCII, which are written in their ``xn--`` form.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from nunet_node.errors import PeerError

NAME_CHARS_MAX: Final = 253
"""Longest name of a host (RFC 1035, section 2.3.4)."""

DOMAINS_MAX: Final = 16
"""Rules of one job: each is shown to its provider, and few jobs know more hosts."""

LENT_MAX: Final = 256
"""Rules of one provider; they stand in its configuration and never travel."""

ANY: Final = "*"
"""The provider's rule that stands for every name."""

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?"
RULE_PATTERN: Final = rf"^(?:\*\.)?{_NAME}\Z"

Domain = Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX, pattern=RULE_PATTERN)]
"""A rule of a job."""


class DomainError(PeerError):
    """A person wrote a domain that is none."""

    code = "spec.domain"


def parse_rule(text: str) -> str:
    """Read a rule, such as ``pypi.example`` or ``*.data.example``.

    Raises:
        DomainError: it is none; the message says how to write it.
    """
    if len(text) <= NAME_CHARS_MAX and re.search(RULE_PATTERN, text):
        return text
    raise DomainError(
        f"{text!r} is not a domain: write its name alone, such as pypi.example or "
        "*.data.example, in lower case, with xn-- for letters beyond ASCII, and "
        "neither an address nor a port"
    )


def parse_rules(words: Iterable[str], count_max: int) -> tuple[str, ...]:
    """Read rules, each once.

    Raises:
        DomainError: one is none, there is none, or there are too many.
    """
    rules = tuple(dict.fromkeys(map(parse_rule, words)))
    if not 1 <= len(rules) <= count_max:
        raise DomainError(f"{len(rules)} domains; name 1 to {count_max}")
    return rules


def is_name(text: str) -> bool:
    """Tell whether a text is the name of a host, spelt in the one way."""
    return len(text) <= NAME_CHARS_MAX and re.fullmatch(_NAME, text) is not None


def rule_for(name: str, rules: Iterable[str]) -> str | None:
    """Return the first rule that covers a name, or a narrower rule."""
    return next((rule for rule in rules if _covers(rule, name)), None)


def not_lent(wanted: Iterable[str], lent: Iterable[str]) -> tuple[str, ...]:
    """Return those of the wanted rules that the lent ones do not cover whole."""
    rules = tuple(lent)
    return tuple(each for each in wanted if rule_for(each, rules) is None)


def _covers(rule: str, name: str) -> bool:
    if rule in (ANY, name):
        return True
    return rule.startswith("*.") and name.removeprefix("*.").endswith(rule[1:])
