"""Terms become conditions and budgets that mean what was said."""

import pytest

from nunet_node.capability.delegation import open_delegation, seal_delegation
from nunet_node.capability.errors import InvalidClaimError
from nunet_node.capability.held.terms import (
    BUDGET_KEY,
    Budget,
    Defaults,
    Terms,
    budget_of,
    link_of,
    meta_of,
    policy_of,
)
from nunet_node.capability.policy import parse_policy
from nunet_node.identity.keys import SigningKey

GIVER, TAKER = SigningKey(bytes(32)), SigningKey(bytes([1]) * 32)
DEFAULTS = Defaults(cpu_millis=1000, memory_bytes=256, run_s=3600)


def holds(terms, **args):
    return parse_policy(policy_of(terms, DEFAULTS)).holds(args)


def delegation(meta):
    data = seal_delegation(
        signer=GIVER,
        audience=TAKER.did,
        subject=GIVER.did,
        command="/nunet",
        nonce=bytes(12),
        expires_at_s=1000,
        meta=meta,
    )
    return open_delegation(data)


@pytest.mark.parametrize(
    ("limit", "spec", "within"),
    [
        (2000, {"resources": {"cpu_millis": 2000}}, True),
        (2000, {"resources": {"cpu_millis": 2001}}, False),
        (2000, {"resources": {"memory_bytes": 1}}, True),
        (2000, {}, True),
        (500, {}, False),
        (500, {"resources": {"cpu_millis": 500}}, True),
        (500, {"resources": {"memory_bytes": 1}}, True),
        (0, {"resources": {"cpu_millis": 1}}, False),
    ],
)
def test_processors_are_limited_whether_they_are_said_or_left_out(limit, spec, within):
    assert holds(Terms(cpu_millis=limit), spec=spec) is within


@pytest.mark.parametrize(
    ("limit", "spec", "within"),
    [
        (7200, {}, True),
        (7200, {"timeouts": {"queue_s": 9}}, True),
        (7200, {"timeouts": {"run_s": 7200}}, True),
        (7200, {"timeouts": {"run_s": 7201}}, False),
        (60, {}, False),
        (60, {"timeouts": {"queue_s": 9}}, False),
        (60, {"timeouts": {"run_s": 60}}, True),
    ],
)
def test_the_run_is_limited_whether_it_is_said_or_left_out(limit, spec, within):
    assert holds(Terms(run_s=limit), spec=spec) is within


def test_a_job_is_named_exactly():
    assert holds(Terms(job="a"), job="a")
    assert not holds(Terms(job="a"), job="b")
    assert not holds(Terms(job="a"))


def test_no_terms_are_no_conditions_and_no_meta():
    assert policy_of(Terms(), DEFAULTS) == ()
    assert meta_of(Terms()) is None


def test_a_budget_survives_the_token():
    terms = Terms(jobs=3, cpu_millis=4000, memory_bytes=5)
    budget = budget_of(delegation(meta_of(terms)))
    assert budget == Budget(jobs=3, cpu_millis=4000, memory_bytes=5)
    assert budget_of(delegation(None)) is None


@pytest.mark.parametrize(
    "plain", [{"jobs": -1}, {"jobs": "3"}, {"jobs": True}, {"gpus": 1}, [], "3"]
)
def test_a_budget_that_is_not_understood_refuses_the_token(plain):
    with pytest.raises(InvalidClaimError):
        budget_of(delegation({BUDGET_KEY: plain}))


def test_a_link_is_only_read_as_text():
    assert link_of(meta_of(Terms(), "nunet://x")) == "nunet://x"
    assert link_of({"nunet/link": 1}) == link_of({}) == ""
