"""Names of hosts have one spelling, and a rule covers what it says."""

import pytest

from nunet_node.domains import (
    ANY,
    DOMAINS_MAX,
    DomainError,
    is_name,
    not_lent,
    parse_rule,
    parse_rules,
    rule_for,
)


@pytest.mark.parametrize(
    "text",
    [
        "pypi.example",
        "a-b.c1.example",
        "*.data.example",
        "xn--bcher-kva.example",
        f"{'a' * 63}.example",
        ".".join(["a" * 60] * 4) + ".example",
    ],
)
def test_a_domain_is_read_as_it_is_spelt(text):
    assert parse_rule(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "PyPI.example",
        "pypi.example.",
        ".pypi.example",
        "pypi..example",
        "-a.example",
        "a-.example",
        "a_b.example",
        "bücher.example",
        "*",
        "*.example",
        "**.pypi.example",
        "a.*.example",
        "*pypi.example",
        "127.0.0.1",
        "1.1",
        "0x7f.0x1",
        "[::1]",
        "::1",
        "pypi.example:443",
        "http://pypi.example",
        "pypi.example/simple",
        "user@pypi.example",
        "pypi.example\n",
        f"{'a' * 64}.example",
        ".".join(["a" * 60] * 5) + ".example",
    ],
)
def test_what_is_no_domain_is_refused_with_a_remedy(text):
    with pytest.raises(DomainError, match="such as pypi"):
        parse_rule(text)


def test_rules_are_kept_once_and_are_few():
    assert parse_rules(["b.example", "a.example", "b.example"], 2) == (
        "b.example",
        "a.example",
    )
    for wrong in ([], [f"a{each}.example" for each in range(DOMAINS_MAX + 1)]):
        with pytest.raises(DomainError, match="name 1 to 16"):
            parse_rules(wrong, DOMAINS_MAX)


def test_a_star_stands_for_names_below_and_not_for_the_name_itself():
    rules = ("pypi.example", "*.data.example")
    assert rule_for("pypi.example", rules) == "pypi.example"
    assert rule_for("a.b.data.example", rules) == "*.data.example"
    for other in ("data.example", "xdata.example", "a.pypi.example", "example"):
        assert rule_for(other, rules) is None
    assert rule_for("anything.example", (ANY,)) == ANY


def test_what_is_lent_must_cover_all_that_a_rule_stands_for():
    lent = ("pypi.example", "*.data.example")
    wanted = ("pypi.example", "*.data.example", "*.a.data.example", "b.data.example")
    assert not_lent(wanted, lent) == ()
    assert not_lent(("*.pypi.example", "data.example"), lent) == (
        "*.pypi.example",
        "data.example",
    )
    assert not_lent(wanted, (ANY,)) == ()
    assert not_lent(wanted, ()) == wanted


def test_a_rule_is_no_name():
    assert is_name("pypi.example")
    assert not is_name("*.pypi.example")
    assert not is_name("")
