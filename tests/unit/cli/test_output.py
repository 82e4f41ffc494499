"""Standard output carries what was asked for, and nothing that drives a terminal."""

import contextlib
import io
import json
import sys
from decimal import Decimal

import pytest

from nunet_node.cli.output import (
    Bar,
    Echo,
    Settings,
    fields,
    forget,
    table,
    visible,
)


def test_json_goes_to_standard_output_and_people_s_text_does_not(capsys):
    settings = Settings(json=True)
    settings.document({"price": Decimal("0.25")})
    settings.say("hello")
    settings.note("next")

    out, err = capsys.readouterr()
    assert json.loads(out) == {"price": 0.25}
    assert err == "hello\nnext\n"


def test_people_s_text_goes_to_standard_output_without_json(capsys):
    settings = Settings()
    settings.document({"x": 1})
    settings.say("hello")

    assert capsys.readouterr().out == "hello\n"


def test_an_error_is_a_document_and_a_sentence(capsys):
    Settings(json=True).fail("spec.file", "line 3: wrong")

    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "error": {"code": "spec.file", "message": "line 3: wrong"}
    }
    assert err == "nunet-node: line 3: wrong\n"


def test_control_characters_are_shown_and_not_obeyed():
    assert visible("a\x1b[2Jb\nc\x9b") == "a\\x1b[2Jb\\x0ac\\x9b"


def test_what_people_are_told_keeps_its_lines_and_drives_no_terminal(capsys):
    Settings().note("failed: \x1b[2J\nnext: x")
    assert capsys.readouterr().err == "failed: \\x1b[2J\nnext: x\n"


class Screen(io.TextIOWrapper):
    """A standard stream that may say that it is a terminal."""

    def __init__(self, *, is_terminal):
        super().__init__(io.BytesIO(), encoding="utf-8", newline="")
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal

    @property
    def shown(self):
        return self.buffer.getvalue()


@pytest.fixture
def screens(monkeypatch):
    def put(*, is_terminal):
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, Screen(is_terminal=is_terminal))
        return sys.stdout, sys.stderr

    return put


def test_a_job_s_output_is_passed_on_byte_for_byte(screens):
    out, err = screens(is_terminal=False)
    echo = Echo(Settings())
    echo.write("stdout", b"\x00\xff\x1b[31m\r\n")
    echo.write("stderr", b"\x9b\n")
    assert (out.shown, err.shown) == (b"\x00\xff\x1b[31m\r\n", b"\x9b\n")


def test_a_job_s_output_cannot_drive_a_terminal(screens):
    out, err = screens(is_terminal=True)
    echo = Echo(Settings())
    echo.write("stdout", b"50%\r100%\n\tdone \x1b]0;title\x07")
    echo.write("stderr", "\x9bH".encode())
    assert out.shown == b"50%\r100%\n\tdone \\x1b]0;title\\x07"
    assert err.shown == b"\\x9bH"


def test_a_character_in_two_pieces_is_shown_whole(screens):
    out, _ = screens(is_terminal=True)
    echo = Echo(Settings())
    for byte in "ü".encode():
        echo.write("stdout", bytes([byte]))
    assert out.shown == "ü".encode()


def test_under_json_a_job_s_output_leaves_standard_output_alone(screens):
    out, err = screens(is_terminal=False)
    Echo(Settings(json=True)).write("stdout", b"text")
    assert (out.shown, err.shown) == (b"", b"text")


def test_a_table_is_aligned_and_has_no_trailing_spaces():
    assert table(("A", "LONG"), [("xyz", "1"), ("", "")]) == "A    LONG\nxyz  1\n"


def test_fields_leave_out_what_is_empty_and_keep_zero():
    assert fields({"a": "", "code": 0, "b": None}) == "code: 0"


class Terminal(io.StringIO):
    """A terminal, as far as one can tell."""

    def isatty(self):
        return True


def test_a_bar_is_drawn_on_a_terminal_and_taken_away(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    bar = Bar(Settings())
    bar(0, 4 << 20)
    bar(2 << 20, 4 << 20)
    bar(4 << 20, 4 << 20)
    bar.clear()
    drawn = screen.getvalue().split("\r\x1b[K")
    assert "0%" in drawn[1]
    assert "#" not in drawn[1]
    assert "100%" in drawn[-2]
    assert drawn[-2].count("#") == 30
    assert drawn[-1] == ""


def test_a_bar_of_nothing_is_full(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    Bar(Settings())(0, 0)
    assert "100%" in screen.getvalue()


def test_no_bar_is_drawn_for_programs_or_into_files(capsys, monkeypatch):
    for settings in (Settings(json=True), Settings()):
        bar = Bar(settings)
        bar(1, 2)
        bar.clear()
    assert capsys.readouterr() == ("", "")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    Bar(Settings(json=True))(1, 2)
    assert screen.getvalue() == ""


def test_a_name_that_is_no_text_is_still_one_document(capsys):
    stray = b"caf\xe9".decode(errors="surrogateescape")
    Settings(json=True).document([{stray: Decimal("0.25"), "path": (stray, None)}])

    out, _ = capsys.readouterr()
    assert json.loads(out) == [{"caf\\udce9": 0.25, "path": ["caf\\udce9", None]}]


def test_json_is_utf_8_in_every_locale(screens, monkeypatch):
    out, _ = screens(is_terminal=False)
    out.reconfigure(encoding="ascii")
    Settings(json=True).document({"name": "caf\u00e9"})

    assert json.loads(out.shown) == {"name": "caf\u00e9"}


def test_what_nobody_can_read_changes_nothing(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, open("/dev/full", "w"))  # noqa: SIM115
    settings = Settings(json=True)

    settings.note("next: x")
    settings.fail("usage", "wrong")

    sys.stderr.close()
    forget(sys.stdout)
    sys.stdout.close()


def test_a_stream_that_takes_text_alone_gets_its_documents():
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        Settings(json=True).document({"x": 1})

    assert json.loads(told.getvalue()) == {"x": 1}
