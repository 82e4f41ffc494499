"""Selectors: how a policy names a part of the arguments (UCAN 1.0, after jq).

``.`` is everything, ``.name`` or ``["name"]`` a field, ``[0]`` and ``[-1]`` an item,
``[]`` all values. A field that a map lacks is null, and so is an item beyond the
end; asking a field of what is no map is unresolvable, unless ``?`` makes it null.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from nunet_node.capability.errors import InvalidClaimError

SELECTOR_CHARS_MAX: Final = 256
"""Longest selector that is read."""

_STEP: Final = re.compile(
    r"\.?(?:(?P<name>(?<=\.)[A-Za-z_][A-Za-z0-9_-]*)"
    r'|\["(?P<quoted>[^"\\]*)"\]|\[(?P<index>-?(?:0|[1-9][0-9]{0,8}))\]|(?P<all>\[\]))'
    r"(?P<optional>\??)"
)


VALUES_PER_STEP: Final = 64
"""Values of a map that are copied in the time of one step of a policy."""


def _unmetered(_: int) -> None:
    """Let a selector take as long as it may."""


class _Unresolvable:
    """What a selector gives that asks a field of what has no fields."""


UNRESOLVABLE: Final = _Unresolvable()
"""No value at all; every comparison with it is false."""


@dataclass(frozen=True, slots=True)
class _Step:
    key: str | int | None
    """A field's name, an item's index, or None for all values."""
    optional: bool

    def of(self, value: Any, spend: Callable[[int], None]) -> Any:
        """Return what this step selects of a value."""
        if self.key is None and isinstance(value, dict):
            spend(len(value) // VALUES_PER_STEP)
        found = self._found(value)
        return None if found is UNRESOLVABLE and self.optional else found

    def _found(self, value: Any) -> Any:
        if self.key is None:
            return values_of(value)
        if isinstance(self.key, str):
            return value.get(self.key) if isinstance(value, dict) else UNRESOLVABLE
        if not isinstance(value, tuple | list | bytes):
            return UNRESOLVABLE
        in_range = -len(value) <= self.key < len(value)
        return value[self.key] if in_range else None


@dataclass(frozen=True, slots=True)
class Selector:
    """A path into the arguments."""

    steps: tuple[_Step, ...]

    def of(self, value: Any, spend: Callable[[int], None] = _unmetered) -> Any:
        """Return what the path leads to, or `UNRESOLVABLE`.

        Args:
            value: the arguments, or a part of them.
            spend: is told the work of copying the values of large maps, in steps.
        """
        for step in self.steps:
            value = step.of(value, spend)
            if value is UNRESOLVABLE:
                return value
        return value


def values_of(value: Any) -> Any:
    """Return the values of an array or a map, or `UNRESOLVABLE`."""
    if isinstance(value, tuple | list):
        return tuple(value)
    return tuple(value.values()) if isinstance(value, dict) else UNRESOLVABLE


def parse_selector(text: object) -> Selector:
    """Read a selector.

    Raises:
        InvalidClaimError: not a selector of this language.
    """
    if not isinstance(text, str) or not 0 < len(text) <= SELECTOR_CHARS_MAX:
        raise InvalidClaimError("a selector is a short text")
    if not text.startswith("."):
        raise InvalidClaimError("a selector begins with a dot")
    steps: list[_Step] = []
    position = 0
    while position < len(text) and text != ".":
        match = _STEP.match(text, position)
        if match is None:
            raise InvalidClaimError("not a selector such as .resources.cpu_millis")
        steps.append(_step(match))
        position = match.end()
    return Selector(tuple(steps))


def _step(match: re.Match[str]) -> _Step:
    optional = bool(match["optional"])
    if match["all"]:
        return _Step(None, optional)
    if match["index"] is not None:
        return _Step(int(match["index"]), optional)
    name = match["name"] if match["name"] is not None else match["quoted"]
    return _Step(name, optional)
