"""No way of arranging delegations gives more than the owner gave."""

import random
from itertools import product

import pytest

from nunet_node.capability.delegation import seal_delegation
from nunet_node.capability.errors import (
    CapabilityError,
    InvalidClaimError,
    MatchError,
)
from nunet_node.capability.invocation import open_invocation, seal_invocation
from nunet_node.capability.policy import POLICY_STEPS_MAX, parse_policy
from nunet_node.identity.keys import SigningKey
from nunet_node.wire.cid import Cid

OWNER, FRIEND, THIEF, NODE = (SigningKey(bytes([i]) * 32) for i in range(1, 5))
GRANTED = [("<=", ".cpu", 500), ("like", ".image", "safe/*")]


def delegation(giver, taker, **changes):
    given = {
        "signer": giver,
        "audience": taker.did,
        "subject": OWNER.did,
        "command": "/nunet/job/submit",
        "nonce": bytes(12),
        "expires_at_s": 1000,
    }
    return seal_delegation(**{**given, **changes})


def attempt(signer, chain, args=None, **changes):
    cids = [Cid.of_dag_cbor(token) for token in chain]
    given = {
        "signer": signer,
        "subject": OWNER.did,
        "audience": NODE.did,
        "command": "/nunet/job/submit",
        "args": {"cpu": 1, "image": "safe/x"} if args is None else args,
        "nonce": bytes(12),
        "expires_at_s": 1000,
        "proofs": cids,
    }
    return open_invocation(
        seal_invocation(**{**given, **changes}),
        now_s=500,
        audience=NODE.did,
        proofs=dict(zip(cids, chain, strict=True)),
    )


GIVEN = delegation(OWNER, FRIEND, policy=GRANTED)


def test_the_friend_may_do_what_was_given():
    assert attempt(FRIEND, [GIVEN])


@pytest.mark.parametrize(
    "args",
    [
        {"cpu": 501, "image": "safe/x"},
        {"cpu": True, "image": "safe/x"},
        {"cpu": "1", "image": "safe/x"},
        {"image": "safe/x"},
        {"cpu": 1},
        {"cpu": 1, "image": "evil/x"},
        {"cpu": 1, "image": ["safe/x"]},
        {"cpu": 1, "image": b"safe/x"},
        {},
    ],
)
def test_the_friend_may_do_no_more(args):
    with pytest.raises(MatchError):
        attempt(FRIEND, [GIVEN], args)


@pytest.mark.parametrize("command", ["/nunet/job/cancel", "/nunet/job", "/nunet", "/"])
def test_the_friend_may_do_nothing_else(command):
    with pytest.raises(CapabilityError):
        attempt(FRIEND, [GIVEN], command=command)
    with pytest.raises(CapabilityError):
        attempt(
            THIEF, [GIVEN, delegation(FRIEND, THIEF, command=command)], command=command
        )


@pytest.mark.parametrize(
    "command", ["/nunet/job/submit", "/nunet/result/read", "/nunet", "/ucan", "/"]
)
def test_who_may_take_tokens_back_may_do_nothing_else(command):
    given = delegation(OWNER, FRIEND, command="/ucan/revoke")
    assert attempt(FRIEND, [given], {}, command="/ucan/revoke")
    with pytest.raises(InvalidClaimError):
        attempt(FRIEND, [given], {}, command=command)
    onward = delegation(FRIEND, THIEF, command=command)
    with pytest.raises(InvalidClaimError):
        attempt(THIEF, [given, onward], {}, command=command)


def test_a_policy_cannot_be_shed_further_down():
    onward = delegation(FRIEND, THIEF, policy=[])
    assert attempt(THIEF, [GIVEN, onward])
    with pytest.raises(MatchError):
        attempt(THIEF, [GIVEN, onward], {"cpu": 501, "image": "safe/x"})


def test_no_chain_of_links_without_the_owners_lets_a_stranger_act():
    people = (OWNER, FRIEND, THIEF)
    forged = [
        delegation(giver, taker, subject=subject)
        for giver, taker, subject in product(
            (FRIEND, THIEF), people, (OWNER.did, THIEF.did, None)
        )
    ]
    chance = random.Random(3)
    for _ in range(300):
        chain = chance.sample(forged, chance.randrange(4))
        with pytest.raises(CapabilityError):
            attempt(THIEF, chain)


def test_the_owners_gift_to_a_friend_is_of_no_use_to_a_stranger():
    for chain in (
        [GIVEN],
        [GIVEN, delegation(THIEF, THIEF)],
        [delegation(THIEF, FRIEND), GIVEN],
        [GIVEN, GIVEN],
    ):
        with pytest.raises(CapabilityError):
            attempt(THIEF, chain)


def test_patterns_and_nesting_that_explode_elsewhere_are_cheap_here():
    stars = parse_policy([("like", ".t", "*a" * 5_000 + "b")])
    assert not stars.holds({"t": "a" * 10_000})
    nested = ("==", ".", 1)
    for _ in range(12):
        nested = ("any", ".", nested)
    deep = 0
    for _ in range(12):
        deep = (deep,) * 4
    with pytest.raises(MatchError):
        parse_policy([nested]).holds(deep)


def test_a_long_chain_buys_no_more_time_than_a_single_link():
    costly = [("all", ".x", ("==", ".", 0))] * (POLICY_STEPS_MAX * 2 // 3 // 100)
    args = {"cpu": 1, "image": "safe/x", "x": [0] * 100}
    first, second = (
        delegation(giver, taker, policy=costly)
        for giver, taker in ((OWNER, FRIEND), (FRIEND, THIEF))
    )
    assert attempt(FRIEND, [first], args)
    with pytest.raises(MatchError, match="too long"):
        attempt(THIEF, [first, second], args)


def test_copying_the_values_of_a_large_map_is_work_too():
    args = {"x": {str(number): 0 for number in range(30_000)}}
    cheap = parse_policy([("!=", ".x[]", 0)])
    assert cheap.holds(args)
    with pytest.raises(MatchError, match="too long"):
        parse_policy([("!=", ".x[]", 0)] * 30).holds(args)


def test_thousands_of_proofs_are_refused_before_one_is_looked_at():
    named = [Cid.of_raw(b"%d" % number) for number in range(6_000)]
    data = seal_invocation(
        signer=THIEF,
        subject=OWNER.did,
        audience=NODE.did,
        command="/nunet/job/submit",
        args={},
        nonce=bytes(12),
        expires_at_s=2_000,
        proofs=named,
    )
    # Its own signature is not looked at either, or this would be what is wrong.
    bent = data[:3] + bytes(64) + data[67:]
    with pytest.raises(InvalidClaimError, match="at most 8 links"):
        open_invocation(bent, now_s=1_000, audience=NODE.did, proofs={})


def test_a_chain_that_comes_back_to_itself_is_refused():
    there, back = delegation(OWNER, FRIEND), delegation(FRIEND, OWNER)
    again = delegation(OWNER, FRIEND, nonce=bytes([9]) * 12)
    for chain in ([there, back, there], [there, back], [there, again]):
        with pytest.raises(CapabilityError):
            attempt(THIEF, chain)
