"""Policies say yes or no to any arguments, and take types as they are."""

import pytest

from nunet_node.capability.errors import InvalidClaimError, MatchError
from nunet_node.capability.policy import (
    POLICY_DEPTH_MAX,
    POLICY_NODES_MAX,
    parse_policy,
)

ARGS = {
    "image": "registry.example/tool:1",
    "cpu": 500,
    "gpu": False,
    "names": ("anna", "bert"),
    "limits": {"a": 1, "b": 2},
    "nested": ({"b": 1}, {"b": 2}),
    "none": None,
    "raw": b"x",
}


def holds(*statements):
    return parse_policy(statements).holds(ARGS)


@pytest.mark.parametrize(
    "statement",
    [
        ("==", ".cpu", 500),
        ("==", ".names", ["anna", "bert"]),
        ("==", ".limits", {"b": 2, "a": 1}),
        ("==", ".gpu", False),
        ("==", ".none", None),
        ("==", ".raw", b"x"),
        ("==", ".missing", None),
        ("!=", ".cpu", 501),
        ("!=", ".cpu", "500"),
        ("!=", ".missing", "evil"),
        ("<", ".cpu", 501),
        ("<=", ".cpu", 500),
        (">", ".cpu", 499),
        (">=", ".cpu", 500),
        ("like", ".image", "registry.example/*"),
        ("like", ".image", "*"),
        ("like", ".image", "*tool*1"),
        ("like", ".image", "registry.example/tool:1"),
        ("and", ()),
        ("or", ()),
        ("and", (("==", ".cpu", 500), ("==", ".gpu", False))),
        ("or", (("==", ".cpu", 1), ("==", ".gpu", False))),
        ("not", ("==", ".cpu", 1)),
        ("any", ".names", ("==", ".", "bert")),
        ("all", ".nested", (">", ".b", 0)),
        ("all", ".limits", (">", ".", 0)),
        ("any", ".limits", ("==", ".", 2)),
    ],
)
def test_a_condition_that_is_met_holds(statement):
    assert holds(statement)


@pytest.mark.parametrize(
    "statement",
    [
        ("==", ".gpu", 0),
        ("==", ".cpu", "500"),
        ("==", ".cpu", None),
        ("==", ".names", ["anna"]),
        ("==", ".limits", {"a": True, "b": 2}),
        ("==", ".raw", "x"),
        ("==", ".none.x", None),
        ("!=", ".none.x", 1),
        ("!=", ".cpu", 500),
        (">", ".gpu", -1),
        (">", ".missing", 0),
        ("<", ".missing", 0),
        ("<", ".image", "z"),
        ("<", ".cpu", True),
        ("<", ".none.x", 1),
        ("like", ".cpu", "*"),
        ("like", ".missing", "*"),
        ("like", ".image", "registry"),
        ("like", ".image", "*tool"),
        ("like", ".image", "registry.example/tool:1*1"),
        ("and", (("==", ".cpu", 500), ("==", ".gpu", True))),
        ("or", (("==", ".cpu", 1),)),
        ("not", ("==", ".cpu", 500)),
        ("all", ".cpu", ("==", ".", 1)),
        ("any", ".missing", ("==", ".", 1)),
        ("any", ".names", ("==", ".", "carl")),
        ("all", ".names", ("==", ".", "anna")),
    ],
)
def test_a_condition_that_is_not_met_does_not(statement):
    assert not holds(statement)


def test_all_conditions_must_hold():
    assert holds()
    assert not holds(("==", ".cpu", 500), ("==", ".cpu", 501))


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a\\*b", "a*b", True),
        ("a\\*b", "axb", False),
        ("a\\b", "a\\b", True),
        ("a\\", "a\\", True),
        ("*a*a*", "aa", True),
        ("*a*a*", "a", False),
        ("a*a", "a", False),
        ("", "", True),
        ("", "x", False),
        ("**", "", True),
        ("?", "x", False),
        ("[a]", "a", False),
    ],
)
def test_only_a_star_is_special_and_can_be_escaped(pattern, text, matches):
    assert parse_policy([("like", ".t", pattern)]).holds({"t": text}) is matches


@pytest.mark.parametrize(
    "policy",
    [
        None,
        "==",
        {},
        ("==", ".a", 1),
        [()],
        [("==", ".a")],
        [("==", ".a", 1, 2)],
        [("===", ".a", 1)],
        [("like", ".a", 1)],
        [("and", ("==", ".a", 1))],
        [("and",)],
        [("not", ())],
        [("not", "x")],
        [("any", ".a")],
        [("all", "a", ("==", ".", 1))],
        [(1, ".a", 1)],
        [("==", "a", 1)],
    ],
)
def test_what_is_no_policy_is_refused(policy):
    with pytest.raises(InvalidClaimError):
        parse_policy(policy)


def test_a_policy_of_too_many_conditions_is_refused():
    condition = ("==", ".cpu", 500)
    assert parse_policy([condition] * POLICY_NODES_MAX).holds(ARGS)
    with pytest.raises(InvalidClaimError):
        parse_policy([condition] * (POLICY_NODES_MAX + 1))


def test_a_policy_that_is_nested_too_deep_is_refused():
    condition = ("==", ".cpu", 500)
    for _ in range(POLICY_DEPTH_MAX):
        condition = ("not", condition)
    with pytest.raises(InvalidClaimError):
        parse_policy([condition])


def test_a_policy_that_takes_too_long_is_refused_and_not_decided():
    slow = ("any", ".a", ("any", ".", ("==", ".", 1)))
    args = {"a": ((0,) * 300,) * 300}
    for statement in (slow, ("not", slow)):
        with pytest.raises(MatchError):
            parse_policy([statement]).holds(args)
