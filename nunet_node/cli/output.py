"""What a command prints: JSON for programs, plain lines for people.

Rule: under ``--json`` standard output carries JSON documents alone, one a line, and
everything for people goes to standard error. Text that a peer chose is shown with
its control characters made visible, so that no peer can drive the terminal. What a
stream cannot carry, such as a file name that is not UTF-8, is shown escaped.
"""

import codecs
import contextlib
import io
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from nunet_node.quantities import size_text

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
_SHOWN: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_LAYOUT: Final = frozenset(map(ord, "\t\n\r"))
"""Control characters that a job may use on a terminal: they stay on its own lines."""

_HARMLESS: Final = {code: text for code, text in _SHOWN.items() if code not in _LAYOUT}
_REDRAW_S: Final = 0.1
_BAR_CHARS: Final = 30
_CLEAR_LINE: Final = "\r\x1b[K"
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
            _write_utf_8(sys.stdout, _json(value) + b"\n")

    def say(self, text: str) -> None:
        """Print what a person asked for: to standard output unless it is JSON's."""
        stream = sys.stderr if self.json else sys.stdout
        stream.write(text + "\n")
        stream.flush()

    def note(self, text: str) -> None:
        """Print what a person should know beside what was asked for.

        Where nobody can read it, on a full disk, say, that changes nothing.
        """
        lines = (line.translate(_SHOWN) for line in text.split("\n"))
        try:
            sys.stderr.write("\n".join(lines) + "\n")
            sys.stderr.flush()
        except BrokenPipeError:
            raise
        except OSError:
            forget(sys.stderr)

    def fail(self, code: str, message: str) -> None:
        """Print an error: a sentence for people, a document for programs.

        It raises nothing: the exit code says the same where neither can be read.
        """
        with contextlib.suppress(OSError):
            self.document({"error": {"code": code, "message": message}})
        with contextlib.suppress(OSError):
            self.note(f"nunet-node: {visible(message)}")


class Bar:
    """Shows how much has come of what is fetched: on a terminal, and nowhere else."""

    def __init__(self, settings: Settings) -> None:
        self._shown = not settings.json and sys.stderr.isatty()
        self._next_s = 0.0

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        """Show where it stands, if it has not just been shown."""
        now_s = time.monotonic()
        if not self._shown or (done_bytes < total_bytes and now_s < self._next_s):
            return
        self._next_s = now_s + _REDRAW_S
        share = done_bytes / total_bytes if total_bytes else 1
        bar = "#" * int(share * _BAR_CHARS)
        sizes = f"{size_text(done_bytes)} of {size_text(total_bytes)}"
        text = f"  [{bar:<{_BAR_CHARS}}] {share:4.0%}  {sizes}"
        sys.stderr.write(_CLEAR_LINE + text)
        sys.stderr.flush()

    def clear(self) -> None:
        """Take it away, for what is printed next."""
        if self._shown:
            sys.stderr.write(_CLEAR_LINE)
            sys.stderr.flush()


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


def stand_up_streams() -> None:
    """Let a stream that was closed lead nowhere, and none stumble over a character.

    A descriptor that stays closed would be the next file's or connection's, and what
    is printed would go there.
    """
    for wanted, name in enumerate(("stdin", "stdout", "stderr")):
        if _is_closed(wanted):
            # The lowest free number is taken, and those before this one are taken.
            # A process of ours inherits it, as any stream.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            mode = "w" if wanted else "r"
            setattr(sys, name, open(wanted, mode, closefd=False))  # noqa: SIM115 - a descriptor, for the process's life
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def forget(stream: TextIO) -> None:
    """Send what a stream could not be rid of nowhere.

    Python would try to write it again at exit, and complain.
    """
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def _write_utf_8(stream: TextIO, line: bytes) -> None:
    """Write a line of JSON: that is UTF-8 in any locale, RFC 8259, section 8.1."""
    if isinstance(stream, io.TextIOWrapper):
        stream.flush()
        stream.buffer.write(line)
    else:
        stream.write(line.decode())
    stream.flush()


def _json(value: object) -> bytes:
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, builtin_types=(Decimal,))
        return _ENCODER.encode(_spelled(plain))


def _spelled(value: Any) -> Any:
    """Return plain data whose every text is Unicode: a stray byte as an escape."""
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case Mapping():
            return {_spelled(name): _spelled(each) for name, each in value.items()}
        case list() | tuple():
            return [_spelled(each) for each in value]
        case _:
            return value


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
