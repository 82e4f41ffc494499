"""The CDDL of every record, made from the records themselves.

`python -m tests.vectors.cddl` writes `docs/protocol/messages.cddl`; a test compares
the two, so what is published is what is checked (RFC 8610).
"""

import re
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import NODEFAULT, UNSET, inspect

from nunet_node.capability import delegation, invocation, revocation
from nunet_node.capability.held import parcel, terms
from nunet_node.protocol.messages import Frame
from nunet_node.quantities import INT53_MAX
from nunet_node.results import manifest, sealed_tree
from nunet_node.results.logs import chain
from tests.vectors.samples import ARGUMENTS, BULK, PAYLOADS

FILE = Path(__file__).parents[2] / "docs/protocol/messages.cddl"
NAMES: dict[type[Any], str] = {
    revocation._Signed: "revocation",
    parcel._Parcel: "parcel",
    delegation._Payload: "delegation-payload",
    invocation._Payload: "invocation-payload",
    terms.Budget: "budget",
    manifest.FileEntry: "file",
    manifest.Manifest: "manifest",
    manifest.Page: "page",
    sealed_tree.SealedIndex: "index",
    chain.LogHeader: "log-header",
    chain.LogLink: "log-link",
    chain.LogBytes: "log-bytes",
}
"""Records that no frame, statement or command holds by its type."""

CHOICES_IN_PLACE_MAX = 4
"""Words that are listed where they stand; more of them get a name."""

HEAD = """; What peers say to each other, field by field (RFC 8610). Written by
; `python -m tests.vectors.cddl` from the records that read it.
;
; A field marked `?` is absent when it has its default, and never present with it:
; the value after `.default` or in a comment, an empty array or map where `1*` asks
; for items, and otherwise "nothing is said". No other field may be present or absent.
; Lengths of text are in characters, and stand as comments. What the fields mean, and
; how these values are encoded and signed, is in the pages beside this one.

cid = #6.42(bstr .size 37)              ; 00, then the 36 bytes of a content id
count = 0..9007199254740991
"""


class _Writer:
    """Collects definitions, each once."""

    def __init__(self) -> None:
        self.rules: dict[str, str] = {}

    def rule(self, kind: type[Any], name: str = "") -> str:
        """Define a record, if it is not yet, and return its name."""
        name = name or NAMES.get(kind) or _kebab(kind.__name__)
        if name not in self.rules:
            self.rules[name] = ""
            self.rules[name] = self._struct(inspect.type_info(kind))
        return name

    def _struct(self, info: Any) -> str:
        lines = []
        if info.tag_field is not None:
            lines.append(f'  {info.tag_field}: "{info.tag}",')
        # Records leave out a field that has its default; other structs spell it out.
        omits = info.cls.__struct_config__.omit_defaults
        lines += [
            self._optional(each)
            if not each.required and (omits or _default(each) is NODEFAULT)
            else self._field(each)
            for each in info.fields
        ]
        return "{\n" + "\n".join(lines) + "\n}"

    def _field(self, each: Any) -> str:
        text = f"{_key(each)}: {self.type(each.type)}"
        return _line(text, _note(each.type))

    def _optional(self, each: Any) -> str:
        default = _default(each)
        kind, notes = each.type, [_note(each.type)]
        if default is NODEFAULT:
            text = self.type(kind)
        elif default is None:
            text = self.type(_without_none(kind))
        elif default in ((), {}):
            text = self.type(kind).replace("0*", "1*", 1)
        elif isinstance(default, int | str | bytes):
            text = f"{_controlled(self.type(kind))} .default {_literal(default)}"
        else:
            text = self.type(kind)
            notes.append(f"by default {_said(default)}")
        return _line(f"? {_key(each)}: {text}", "; ".join(filter(None, notes)))

    def type(self, info: Any) -> str:  # noqa: PLR0911 - one line for each type
        match info:
            case inspect.StructType(cls=cls):
                return self.rule(cls)
            case inspect.UnionType(types=types):
                return " / ".join(self.type(each) for each in types)
            case inspect.IntType(ge=least, le=most):
                return _range(least, most)
            case inspect.BytesType(min_length=least, max_length=most):
                return f"bstr{_size(least, most)}"
            case inspect.VarTupleType(
                item_type=item, min_length=least, max_length=most
            ):
                return f"[{least or 0}*{most or ''} {self._grouped(item)}]"
            case inspect.DictType(key_type=key, value_type=value, max_length=most):
                return f"{{ 0*{most or ''} {self.type(key)} => {self.type(value)} }}"
            case inspect.EnumType(cls=cls):
                return self._choice(cls)
            case inspect.LiteralType(values=values):
                return " / ".join(
                    f'"{v}"' if isinstance(v, str) else str(v) for v in values
                )
        return _PLAIN[type(info)]

    def _choice(self, kind: Any) -> str:
        text = " / ".join(f'"{each.value}"' for each in kind)
        if len(kind) <= CHOICES_IN_PLACE_MAX:
            return text
        name = _kebab(kind.__name__)
        self.rules[name] = text
        return name

    def _grouped(self, info: Any) -> str:
        text = self.type(info)
        return f"({text})" if " / " in text else text


_PLAIN = {
    inspect.StrType: "tstr",
    inspect.BoolType: "bool",
    inspect.NoneType: "nil",
    inspect.CustomType: "cid",
    inspect.AnyType: "any",
}


def _key(each: Any) -> str:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", each.encode_name)
    return each.encode_name if plain else f'"{each.encode_name}"'


def _line(text: str, note: str) -> str:
    return f"{f'  {text},':<58}; {note}" if note else f"  {text},"


def _default(each: Any) -> Any:
    if each.default_factory is not NODEFAULT:
        return each.default_factory()
    return each.default


def _without_none(info: Any) -> Any:
    some = [t for t in info.types if not isinstance(t, inspect.NoneType)]
    return inspect.UnionType(tuple(some))


def _controlled(text: str) -> str:
    """Return a type as the target of a control operator, which takes a plain one."""
    return text if re.fullmatch(r"[\w-]+", text) else f"({text})"


def _literal(value: bool | int | str | bytes) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return f'"{value}"'
        case bytes():
            return f"h'{value.hex()}'"


def _said(value: Any) -> str:
    """Return a list, or a record with all its fields, that is a default."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if not isinstance(value, msgspec.Struct):
        return _literal(value)
    fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
    set_ones = ((name, each) for name, each in fields if each is not UNSET)
    return ", ".join(f"{name} {_said(each)}" for name, each in set_ones)


def _range(least: int | None, most: int | None) -> str:
    if (least, most) == (0, INT53_MAX):
        return "count"
    if least is None or most is None:
        return "int" if least is None else f"{least}..18446744073709551615"
    return str(least) if least == most else f"{least}..{most}"


def _size(least: int | None, most: int | None) -> str:
    if most is None:
        return ""
    return f" .size {most}" if least == most else f" .size ({least or 0}..{most})"


def _note(info: Any) -> str:
    match info:
        case inspect.UnionType(types=types):
            return next((note for each in types if (note := _note(each))), "")
        case inspect.VarTupleType(item_type=item):
            return _note(item)
        case inspect.StrType(max_length=int() as most):
            return f"at most {most} characters"
    return ""


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name.strip("_")).lower()


def text() -> str:
    """Return the whole file."""
    writer = _Writer()
    writer.rule(Frame)
    for body in BULK:
        writer.rule(body)
    for kind, record in sorted(PAYLOADS.items()):
        writer.rule(record)
        del kind
    for name, record in ARGUMENTS.items():
        writer.rule(record, f"{name}-arguments")
    for record in NAMES:
        writer.rule(record)
    rules = "\n\n".join(f"{name} = {rule}" for name, rule in writer.rules.items())
    return f"{HEAD}\n{rules}\n"


if __name__ == "__main__":
    FILE.write_text(text())
    sys.stderr.write(f"wrote {FILE.name}\n")
