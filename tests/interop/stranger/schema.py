"""A reader of docs/protocol/messages.cddl, for as much of RFC 8610 as it uses.

Rule: what is read is judged by the published file alone, and a field that has its
default must not be there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import cbor2

FILE: Final = Path(__file__).parents[3] / "docs/protocol/messages.cddl"
_TOKEN: Final = re.compile(
    r"""\s+|;[^\n]*|(?P<text>"[^"]*"|h'[0-9a-f]*'|\#6\.\d+|\.\.|\.[a-z]+|=>"""
    r"""|-?\d+|[A-Za-z_][\w-]*|[][(){}=:,/?*])"""
)
Check = Callable[[Any], bool]

_PLAIN: Final[dict[str, Check]] = {
    "tstr": lambda v: isinstance(v, str),
    "bstr": lambda v: isinstance(v, bytes),
    "bool": lambda v: isinstance(v, bool),
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "nil": lambda v: v is None,
    "any": lambda _: True,
}


@dataclass(frozen=True)
class _Typed:
    """What a type takes; its default, if it names one."""

    check: Check
    default: tuple[Any, ...] = ()


@dataclass(frozen=True)
class _Field:
    typed: _Typed
    optional: bool


class Schema:
    """The rules of the file, by name."""

    def __init__(self, text: str) -> None:
        self._tokens = [m["text"] for m in _TOKEN.finditer(text) if m["text"]]
        self._at = 0
        self._rules: dict[str, _Typed] = {}
        while self._at < len(self._tokens):
            name = self._take()
            self._take("=")
            assert name not in self._rules, name
            self._rules[name] = self._type()

    @property
    def names(self) -> frozenset[str]:
        """Every rule."""
        return frozenset(self._rules)

    def fits(self, name: str, value: Any) -> bool:
        """Tell whether a value is what a rule says."""
        return self._rules[name].check(value)

    def _next(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ""

    def _take(self, wanted: str | None = None) -> str:
        token = self._next()
        assert wanted in (None, token), f"{token!r} where {wanted!r} belongs"
        self._at += 1
        return token

    def _took(self, token: str) -> bool:
        found = self._next() == token
        self._at += found
        return found

    def _type(self) -> _Typed:
        first = self._controlled()
        choices = [first.check]
        while self._took("/"):
            choices.append(self._controlled().check)
        return _Typed(lambda v: any(c(v) for c in choices), first.default)

    def _controlled(self) -> _Typed:
        plain = self._single()
        if self._took(".default"):
            return _Typed(plain, (_literal(self._take()),))
        if self._took(".size"):
            least, most = self._sizes()
            return _Typed(lambda v: plain(v) and least <= len(v) <= most)
        return _Typed(plain)

    def _sizes(self) -> tuple[int, int]:
        if not self._took("("):
            size = int(self._take())
            return size, size
        least = int(self._take())
        self._take("..")
        most = int(self._take())
        self._take(")")
        return least, most

    def _single(self) -> Check:
        token = self._take()
        inside = {"(": self._group, "{": self._map, "[": self._array}.get(token)
        if inside is not None:
            return inside()
        if token.startswith("#6."):
            self._take("(")
            return _tagged(int(token[3:]), self._group())
        if token.lstrip("-").isdigit() and self._took(".."):
            return _between(int(token), int(self._take()))
        if token[0] == '"' or token[0].isdigit():
            return _same(_literal(token))
        # A rule may stand before the one that it leans on.
        return _PLAIN.get(token) or (lambda v: self.fits(token, v))

    def _group(self) -> Check:
        inner = self._type().check
        self._take(")")
        return inner

    def _array(self) -> Check:
        least, most = self._occurrence()
        item = self._type().check
        self._take("]")
        return lambda v: (
            isinstance(v, list) and least <= len(v) <= most and all(map(item, v))
        )

    def _occurrence(self) -> tuple[int, float]:
        least = int(self._take())
        self._take("*")
        most = int(self._take()) if self._next().isdigit() else float("inf")
        return least, most

    def _map(self) -> Check:
        if self._next().isdigit():
            return self._table()
        fields: dict[str, _Field] = {}
        while not self._took("}"):
            optional = self._took("?")
            name = self._take().strip('"')
            self._take(":")
            fields[name] = _Field(self._type(), optional)
            self._took(",")
        return lambda v: _fits_map(fields, v)

    def _table(self) -> Check:
        least, most = self._occurrence()
        key = self._type().check
        self._take("=>")
        value = self._type().check
        self._take("}")
        return lambda v: (
            isinstance(v, dict)
            and least <= len(v) <= most
            and all(key(k) and value(each) for k, each in v.items())
        )


def _fits_map(fields: dict[str, _Field], value: Any) -> bool:
    if not isinstance(value, dict) or not set(value) <= set(fields):
        return False
    for name, field in fields.items():
        if name not in value:
            if not field.optional:
                return False
        elif (
            not field.typed.check(value[name]) or (value[name],) == field.typed.default
        ):
            return False
    return True


def _tagged(tag: int, inner: Check) -> Check:
    return lambda v: isinstance(v, cbor2.CBORTag) and v.tag == tag and inner(v.value)


def _between(least: int, most: int) -> Check:
    return lambda v: _PLAIN["int"](v) and least <= v <= most


def _same(wanted: Any) -> Check:
    return lambda v: type(v) is type(wanted) and v == wanted


def _literal(token: str) -> Any:
    if token.startswith('"'):
        return token.strip('"')
    if token.startswith("h'"):
        return bytes.fromhex(token[2:-1])
    return {"true": True, "false": False}.get(token) if token.isalpha() else int(token)


@cache
def published() -> Schema:
    """Return the schema that is published."""
    return Schema(FILE.read_text())


RULES: Final = {"call": "call-for-bids", "job-report": "report"}
"""Kinds of statement whose record has another name."""


def check(kind: str, value: Any) -> None:
    """Assert that what was received, or is about to be sent, is what is published."""
    assert published().fits(RULES.get(kind, kind), value), (kind, value)
