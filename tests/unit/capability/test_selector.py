"""A selector finds what it names, null where there is nothing, or no value at all."""

import pytest

from nunet_node.capability.errors import InvalidClaimError
from nunet_node.capability.selector import (
    SELECTOR_CHARS_MAX,
    UNRESOLVABLE,
    parse_selector,
)

ARGS = {"a": {"b": (1, 2, {"c": "x"})}, "strange name": 5, "n": None, "bytes": b"\7"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (".", ARGS),
        (".a.b", (1, 2, {"c": "x"})),
        (".a.b[0]", 1),
        (".a.b[-1].c", "x"),
        (".a.b[2].c", "x"),
        ('.["strange name"]', 5),
        ('.a["b"][1]', 2),
        (".a[]", ((1, 2, {"c": "x"}),)),
        (".a.b[]", (1, 2, {"c": "x"})),
        (".missing", None),
        (".a.missing", None),
        (".a.b[9]", None),
        (".a.b[-9]", None),
        (".bytes[0]", 7),
        (".n", None),
        (".n.x?", None),
        (".a.b.c?", None),
        (".n[]?", None),
    ],
)
def test_a_selector_finds_what_it_names(text, found):
    assert parse_selector(text).of(ARGS) == found


@pytest.mark.parametrize(
    "text", [".n.x", ".missing.x", ".a.b.c", ".a[0]", ".n[]", ".n[0]", ".a.b[0].c"]
)
def test_what_has_no_parts_gives_no_value_at_all(text):
    assert parse_selector(text).of(ARGS) is UNRESOLVABLE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "..",
        "..a",
        ".a.",
        ".a..b",
        ".a b",
        ".[",
        ".[a]",
        ".[01]",
        ".[1",
        ".['a']",
        '.["a]',
        ".a[1:2]",
        ".a??",
        ".a|.b",
        ".9",
        "." + "a" * SELECTOR_CHARS_MAX,
        None,
        7,
        b".a",
    ],
)
def test_what_is_no_selector_is_refused(text):
    with pytest.raises(InvalidClaimError):
        parse_selector(text)
