"""YAML with nothing clever in it: maps, lists and the text that somebody wrote.

Rule: a scalar is the text in the file, never a guess at its type. YAML 1.1 makes
``on`` and ``NO`` booleans and ``1:30`` ninety; a reader that asks for text gets
``on``, ``NO`` and ``1:30``. Anchors, aliases and tags are refused, so a small file
cannot grow large in memory and cannot name Python objects (YAML 1.1, chapter 3).
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import yaml

from nunet_node.errors import PeerError

YAML_BYTES_MAX: Final = 256 << 10
"""Largest file read: a specification must fit a frame of 256 KiB anyway."""

YAML_DEPTH_MAX: Final = 8
"""Deepest nesting: the deepest option needs three."""

_NULL: Final = "tag:yaml.org,2002:null"
_OPENERS: Final = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSERS: Final = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


class JobFileError(PeerError):
    """A job file, or an option that stands for a line of one, cannot be used."""

    code: ClassVar[str] = "spec.file"


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a file, and where it stands."""

    node: yaml.Node
    path: str

    def wrong(self, wanted: str) -> JobFileError:
        """Return the error that says what should stand here."""
        return JobFileError(f"line {self._line()}: {self.path or 'the file'}: {wanted}")

    @property
    def is_map(self) -> bool:
        """Tell whether a map stands here."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_empty(self) -> bool:
        """Tell whether null, an empty text, or a list or map of nothing stands here."""
        if isinstance(self.node, yaml.ScalarNode):
            return self.node.tag == _NULL or not self.node.value
        return not self.node.value

    def text(self) -> str:
        """Return what is written here.

        Raises:
            JobFileError: it is a list, a map, nothing at all, or no text in UTF-8.
        """
        node = self.node
        if not isinstance(node, yaml.ScalarNode):
            raise self.wrong(f"expected text, not a {_kind(node)}")
        if node.tag == _NULL:
            raise self.wrong("no value given; leave the whole line out")
        text = str(node.value)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise self.wrong("half of a surrogate pair is no letter")
        return text

    def items(self) -> list["Value"]:
        """Return the values of a list.

        Raises:
            JobFileError: it is not a list.
        """
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.wrong(f"expected a list, not {_kind(self.node)}")
        return [
            Value(node, f"{self.path}[{place}]")
            for place, node in enumerate(self.node.value)
        ]

    def pairs(self) -> dict[str, "Value"]:
        """Return the values of a map by their names.

        Raises:
            JobFileError: it is not a map, or a name is repeated or not text.
        """
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong(f"expected names with values, not {_kind(self.node)}")
        found: dict[str, Value] = {}
        for key_node, node in self.node.value:
            key = Value(key_node, self.path).text()
            shown = key if key.isprintable() else repr(key)
            path = f"{self.path}.{shown}" if self.path else shown
            if key in found:
                raise Value(key_node, path).wrong("given twice")
            found[key] = Value(node, path)
        return found

    def known_pairs(self, names: Iterable[str]) -> dict[str, "Value"]:
        """Return the values of a map that may hold these names alone.

        Raises:
            JobFileError: it holds another name; the nearest right one is named.
        """
        known = list(names)
        pairs = self.pairs()
        for name, value in pairs.items():
            if name not in known:
                raise value.wrong(f"no such option{nearest(name, known)}")
        return pairs

    def _line(self) -> int:
        return int(self.node.start_mark.line) + 1


def read_yaml(text: str) -> Value:
    """Read a file's text.

    Raises:
        JobFileError: it is not YAML, or YAML with something clever in it.
    """
    if len(text.encode()) > YAML_BYTES_MAX:
        raise JobFileError(f"larger than {YAML_BYTES_MAX} bytes")
    try:
        _check(yaml.parse(text, Loader=yaml.SafeLoader))
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise JobFileError(f"{line}not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise JobFileError(f"not YAML: {' '.join(str(error).split())}") from None
    if node is None:
        raise JobFileError("the file is empty")
    return Value(node, "")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message that says which name was meant."""
    names: Mapping[str, str] = {each.lower(): str(each) for each in known}
    close = difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {names[close[0]]!r}?"
    return f"; there are {', '.join(sorted(names.values()))}"


def _check(events: Iterator[yaml.Event]) -> None:
    """Refuse what the composer would follow or build without a limit."""
    depth = 0
    for event in events:
        depth += isinstance(event, _OPENERS) - isinstance(event, _CLOSERS)
        line = event.start_mark.line + 1 if event.start_mark else 0
        if depth > YAML_DEPTH_MAX:
            raise JobFileError(f"line {line}: nested deeper than {YAML_DEPTH_MAX}")
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            raise JobFileError(f"line {line}: anchors and aliases are not read")
        if getattr(event, "tag", None) is not None:
            raise JobFileError(f"line {line}: tags are not read")


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "map"
    return "list" if isinstance(node, yaml.SequenceNode) else f"{node.value!r}"
