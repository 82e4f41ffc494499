"""The CDDL of every record, made from the records themselves.

`python -m tests.vectors.cddl` writes `docs/protocol/messages.cddl`; a test compares
the two, so what is published is what is checked (RFC 8610).
"""

import re
import sys
from pathlib import Path
from typing import Any

from msgspec import inspect

from nunet_node.capability import delegation, invocation, revocation
from nunet_node.capability.held import parcel, terms
from nunet_node.protocol.messages import Frame
from tests.vectors.samples import ARGUMENTS, PAYLOADS

FILE = Path(__file__).parents[2] / "docs/protocol/messages.cddl"
NAMES: dict[type[Any], str] = {
    revocation._Signed: "revocation",
    parcel._Parcel: "parcel",
    delegation._Payload: "delegation-payload",
    invocation._Payload: "invocation-payload",
    terms.Budget: "budget",
}
"""Records whose name in the code says nothing by itself."""

HEAD = """; What peers say to each other, field by field (RFC 8610). Written by
; `python -m tests.vectors.cddl` from the records that read it.
;
; A field that has its default is absent; no other field may be present or absent.
; Lengths of text are in characters, and stand as comments. How these values are
; encoded and signed is in wire.md and sessions.md.

cid = #6.42(bstr .size 37)              ; 00, then the 36 bytes of a content id
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
        for each in info.fields:
            mark = "" if each.required else "? "
            lines.append(self._field(mark, each))
        return "{\n" + "\n".join(lines) + "\n}"

    def _field(self, mark: str, each: Any) -> str:
        plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", each.encode_name)
        name = each.encode_name if plain else f'"{each.encode_name}"'
        line = f"  {mark}{name}: {self.type(each.type)},"
        note = _note(each.type)
        return f"{line:<58}; {note}" if note else line

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
                return " / ".join(f'"{each.value}"' for each in cls)
            case inspect.LiteralType(values=values):
                return " / ".join(
                    f'"{v}"' if isinstance(v, str) else str(v) for v in values
                )
        return _PLAIN[type(info)]

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


def _range(least: int | None, most: int | None) -> str:
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
