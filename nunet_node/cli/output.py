"""What a command prints: JSON for programs, plain lines for people.

Rule: under ``--json`` standard output carries JSON documents alone, one a line, and
everything for people goes to standard error. Text that a peer chose is shown with
its control characters made visible, so that no peer can drive the terminal.
"""

import codecs
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
_SHOWN: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_LAYOUT: Final = frozenset(map(ord, "\t\n\r"))
"""Control characters that a job may use on a terminal: they stay on its own lines."""

_HARMLESS: Final = {code: text for code, text in _SHOWN.items() if code not in _LAYOUT}
_UTF8: Final = codecs.getincrementaldecoder("utf-8")


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
        lines = (line.translate(_SHOWN) for line in text.split("\n"))
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()

    def fail(self, code: str, message: str) -> None:
        """Print an error: a sentence for people, a document for programs."""
        self.document({"error": {"code": code, "message": message}})
        self.note(f"nunet-node: {visible(message)}")


class Echo:
    """Passes a job's output on: byte for byte, but harmless on a terminal.

    A job is a stranger's program or handles strangers' data, and may not move the
    cursor, set a title or answer for the person at the keyboard.
    """

    def __init__(self, settings: Settings) -> None:
        streams = {"stdout": sys.stdout, "stderr": sys.stderr}
        # Under JSON standard output is not the job's.
        self._streams = dict.fromkeys(streams, sys.stderr) if settings.json else streams
        # A piece may end within a character; the rest comes with the next one.
        self._decode = {name: _UTF8(errors="replace").decode for name in streams}

    def write(self, stream: str, data: bytes) -> None:
        """Pass on some of what the job wrote to ``stdout`` or ``stderr``."""
        out = self._streams[stream]
        if out.isatty():
            out.write(self._decode[stream](data).translate(_HARMLESS))
        else:
            out.buffer.write(data)
        out.flush()


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
