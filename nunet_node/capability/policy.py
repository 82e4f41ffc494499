"""Policies: conditions on a command's arguments that a delegation adds (UCAN 1.0).

Rule: evaluating never raises because of the arguments. What cannot be compared is
not equal and not ordered, with types taken strictly (true is not 1). Work is metered
instead: policies and arguments are both a stranger's, and a policy that would take
too long is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any, Final

from nunet_node.capability.errors import InvalidClaimError, MatchError
from nunet_node.capability.selector import (
    UNRESOLVABLE,
    VALUES_PER_STEP,
    Selector,
    parse_selector,
    values_of,
)
from nunet_node.wire import cbor

POLICY_NODES_MAX: Final = 256
"""Most conditions in one delegation's policy; a budget of every kind takes ten."""

POLICY_DEPTH_MAX: Final = 16
"""Deepest nesting of conditions, as of every value that is read."""

POLICY_STEPS_MAX: Final = 10_000
"""Most work for the policies of one chain on one command's arguments: about five
milliseconds, which whoever proves nothing yet can make a node spend."""

_ORDERINGS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}
_LITERAL_BYTES_PER_STEP: Final = 64
_TEXT_CHARS_PER_STEP: Final = 1024


class Meter:
    """Counts the work of evaluating policies, all those of one chain together."""

    def __init__(self) -> None:
        self._steps_left = POLICY_STEPS_MAX

    def spend(self, steps: int) -> None:
        """Do so much more work.

        Raises:
            MatchError: it is too much.
        """
        self._steps_left -= steps
        if self._steps_left < 0:
            raise MatchError("its policies take too long on these arguments")


@dataclass(frozen=True, slots=True)
class _Equal:
    selector: Selector
    literal: Any
    negated: bool
    cost: int

    def holds(self, value: Any, meter: Meter) -> bool:
        meter.spend(self.cost)
        found = self.selector.of(value, meter.spend)
        if found is UNRESOLVABLE:
            return False
        return _equal(self.literal, found) != self.negated


@dataclass(frozen=True, slots=True)
class _Ordered:
    selector: Selector
    compare: Callable[[Any, Any], bool]
    literal: Any

    def holds(self, value: Any, meter: Meter) -> bool:
        meter.spend(1)
        found = self.selector.of(value, meter.spend)
        return type(found) is type(self.literal) is int and self.compare(
            found, self.literal
        )


@dataclass(frozen=True, slots=True)
class _Like:
    selector: Selector
    pieces: tuple[str, ...]
    """What stands between the stars; one piece alone has to be the whole text."""

    def holds(self, value: Any, meter: Meter) -> bool:
        found = self.selector.of(value, meter.spend)
        if not isinstance(found, str):
            meter.spend(1)
            return False
        meter.spend(len(self.pieces) + len(found) // _TEXT_CHARS_PER_STEP)
        return _like(self.pieces, found)


@dataclass(frozen=True, slots=True)
class _Connective:
    parts: tuple["_Statement", ...]
    any_of: bool

    def holds(self, value: Any, meter: Meter) -> bool:
        meter.spend(1)
        if self.any_of and self.parts:
            return any(part.holds(value, meter) for part in self.parts)
        # An empty "or" is true, as an empty "and" is: so says the specification.
        return all(part.holds(value, meter) for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Not:
    part: "_Statement"

    def holds(self, value: Any, meter: Meter) -> bool:
        meter.spend(1)
        return not self.part.holds(value, meter)


@dataclass(frozen=True, slots=True)
class _Quantified:
    selector: Selector
    part: "_Statement"
    any_of: bool

    def holds(self, value: Any, meter: Meter) -> bool:
        meter.spend(1)
        values = values_of(self.selector.of(value, meter.spend))
        if values is UNRESOLVABLE:
            return False
        meter.spend(len(values) // VALUES_PER_STEP)
        quantifier = any if self.any_of else all
        return quantifier(self.part.holds(item, meter) for item in values)


_Statement = _Equal | _Ordered | _Like | _Connective | _Not | _Quantified


@dataclass(frozen=True, slots=True)
class Policy:
    """Conditions that the arguments must all satisfy."""

    statements: tuple[_Statement, ...]

    def holds(self, args: Any, meter: Meter | None = None) -> bool:
        """Tell whether decoded arguments satisfy every condition.

        Args:
            args: the arguments.
            meter: what is left for all policies of a chain; new if absent.

        Raises:
            MatchError: telling would take too long.
        """
        if not self.statements:
            return True
        meter = meter or Meter()
        return all(statement.holds(args, meter) for statement in self.statements)


def parse_policy(plain: object) -> Policy:
    """Read a policy.

    Raises:
        InvalidClaimError: an unknown operator, a selector that is none, or too many
            or too deeply nested conditions.
    """
    if plain == ():
        return _NO_POLICY
    return Policy(_Parser().statements(plain, POLICY_DEPTH_MAX))


_NO_POLICY: Final = Policy(())


class _Parser:
    """Reads one policy, counting its conditions."""

    def __init__(self) -> None:
        self._nodes_left = POLICY_NODES_MAX

    def statements(self, plain: object, depth_left: int) -> tuple[_Statement, ...]:
        """Read an array of conditions."""
        return tuple(self.statement(item, depth_left) for item in _sequence(plain))

    def statement(self, plain: object, depth_left: int) -> _Statement:
        """Read one condition."""
        self._nodes_left -= 1
        if self._nodes_left < 0 or depth_left == 0:
            raise InvalidClaimError("the policy is too large")
        match tuple(_sequence(plain)):
            case ("==" | "!=" as name, selector, literal):
                return _Equal(
                    parse_selector(selector), literal, name == "!=", _cost(literal)
                )
            case (str() as name, selector, literal) if name in _ORDERINGS:
                return _Ordered(parse_selector(selector), _ORDERINGS[name], literal)
            case ("like", selector, str() as pattern):
                return _Like(parse_selector(selector), _pieces(pattern))
            case ("and" | "or" as name, parts):
                return _Connective(self.statements(parts, depth_left - 1), name == "or")
            case ("not", part):
                return _Not(self.statement(part, depth_left - 1))
            case ("any" | "all" as name, selector, part):
                return _Quantified(
                    parse_selector(selector),
                    self.statement(part, depth_left - 1),
                    name == "any",
                )
            case _:
                raise InvalidClaimError("a condition that no policy can have")


def _sequence(plain: object) -> Sequence[Any]:
    if not isinstance(plain, tuple | list):
        raise InvalidClaimError("a policy is arrays of conditions")
    return plain


def _cost(literal: object) -> int:
    return 1 + len(cbor.encode(literal)) // _LITERAL_BYTES_PER_STEP


def _equal(literal: Any, found: Any) -> bool:
    if isinstance(literal, tuple | list):
        return (
            isinstance(found, tuple | list)
            and len(literal) == len(found)
            and all(map(_equal, literal, found))
        )
    if isinstance(literal, dict):
        return (
            isinstance(found, dict)
            and literal.keys() == found.keys()
            and all(_equal(part, found[key]) for key, part in literal.items())
        )
    return type(literal) is type(found) and literal == found


def _pieces(pattern: str) -> tuple[str, ...]:
    pieces = [""]
    escaped = False
    for character in pattern:
        if character == "*" and not escaped:
            pieces.append("")
            continue
        if escaped and character != "*":
            pieces[-1] += "\\"
        escaped = character == "\\" and not escaped
        if not escaped:
            pieces[-1] += character
    pieces[-1] += "\\" * escaped
    return tuple(pieces)


def _like(pieces: tuple[str, ...], text: str) -> bool:
    first, *middle = pieces
    if not middle:
        return text == first
    last = middle.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        # The leftmost place for each piece leaves the most room for the next ones.
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return text.endswith(last)
