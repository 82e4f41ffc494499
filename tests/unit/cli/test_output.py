"""Standard output carries what was asked for, and nothing that drives a terminal."""

import json
from decimal import Decimal

from nunet_node.cli.output import Settings, fields, table, visible


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


def test_a_table_is_aligned_and_has_no_trailing_spaces():
    assert table(("A", "LONG"), [("xyz", "1"), ("", "")]) == "A    LONG\nxyz  1\n"


def test_fields_leave_out_what_is_empty_and_keep_zero():
    assert fields({"a": "", "code": 0, "b": None}) == "code: 0"
