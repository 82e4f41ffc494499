"""What a command prints: JSON for programs, plain lines for people.

Rule: under ``--json`` standard output carries JSON documents alone, one a line, and
everything for people goes to standard error. Text that a peer chose is shown with
its control characters made visible, so that no peer can drive the terminal.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
_SHOWN: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options that stand before the command."""

    home: Path | None = None
    json: bool = False
    verbosity: int = 0

    def document(self, value: object) -> None:
        """Print a JSON document, if JSON is wanted."""
        if self.json:
            sys.stdout.write(_ENCODER.encode(value).decode() + "\n")
            sys.stdout.flush()

    def say(self, text: str) -> None:
        """Print what a person asked for: to standard output unless it is JSON's."""
        stream = sys.stderr if self.json else sys.stdout
        stream.write(text + "\n")
        stream.flush()

    def note(self, text: str) -> None:
        """Print what a person should know beside what was asked for."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def fail(self, code: str, message: str) -> None:
        """Print an error: a sentence for people, a document for programs."""
        self.document({"error": {"code": code, "message": message}})
        self.note(f"nunet-node: {visible(message)}")


def visible(text: str) -> str:
    """Return text on one line, with control characters as escapes."""
    return text.translate(_SHOWN)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return aligned columns under their headings."""
    lines = [tuple(head), *(tuple(visible(cell) for cell in row) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def fields(values: Mapping[str, Any]) -> str:
    """Return one ``name: value`` a line, aligned; what is empty is left out."""
    shown = {
        name: str(value) for name, value in values.items() if value not in ("", None)
    }
    width = max((len(name) for name in shown), default=0) + 1
    return "\n".join(
        f"{name + ':':<{width}} {visible(value)}" for name, value in shown.items()
    )
