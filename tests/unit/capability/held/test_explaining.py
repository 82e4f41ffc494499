"""The story of a chain names every fault at the very link that has it."""

import pytest

from nunet_node.capability.command import Command
from nunet_node.capability.delegation import open_delegation, seal_delegation
from nunet_node.capability.held.explaining import (
    describe,
    explain,
    moment,
    until,
)
from nunet_node.capability.proof_chain import Act
from nunet_node.identity.keys import SigningKey
from nunet_node.wire.cid import Cid

OWNER, TEAM, PERSON, STRANGER = (SigningKey(bytes([i]) * 32) for i in range(1, 5))


def link(giver, taker, **changes):
    given = {
        "signer": giver,
        "audience": taker.did,
        "subject": OWNER.did,
        "command": "/nunet/job",
        "nonce": bytes(12),
        "expires_at_s": 1000,
    }
    return seal_delegation(**{**given, **changes})


FIRST, SECOND = link(OWNER, TEAM), link(TEAM, PERSON)


def faults(*links, now_s=500, **more):
    stories = explain(links, now_s=now_s, **more)
    return [[fault.name for fault in story.faults] for story in stories]


def act(command="/nunet/job/submit", invoker=PERSON, **args):
    return Act(
        invoker=invoker.did, subject=OWNER.did, command=Command(command), args=args
    )


def test_a_sound_chain_has_no_fault():
    assert faults(FIRST, SECOND) == [[], []]
    assert faults(FIRST, SECOND, act=act()) == [[], []]


def test_a_link_says_who_gave_what_to_whom_until_when():
    story = explain([link(OWNER, TEAM, policy=[("==", ".job", "a")])], now_s=0)[0]
    for part in (OWNER.did, TEAM.did, "/nunet/job", "1970-01-01 00:16:40", ".job"):
        assert part in story.words


@pytest.mark.parametrize(
    ("links", "named"),
    [
        ((FIRST, link(STRANGER, PERSON)), [[], ["InvalidAudience"]]),
        ((FIRST, link(TEAM, PERSON, command="/nunet")), [[], ["InvalidClaim"]]),
        ((FIRST, link(TEAM, PERSON, expires_at_s=400)), [[], ["Expired"]]),
        ((FIRST, link(TEAM, PERSON, not_before_s=600)), [[], ["TooEarly"]]),
        ((FIRST, link(TEAM, PERSON, subject=TEAM.did)), [[], ["InvalidSubject"]]),
        ((link(TEAM, PERSON),), [["InvalidSubject"]]),
        ((link(OWNER, TEAM, subject=None), SECOND), [["InvalidClaim"], ["InvalidSub"]]),
    ],
)
def test_each_fault_stands_at_its_link(links, named):
    found = faults(*links)
    for here, wanted in zip(found, named, strict=True):
        assert len(here) == len(wanted)
        assert all(f.startswith(w) for f, w in zip(here, wanted, strict=True))


def test_a_revoked_link_is_named():
    assert faults(FIRST, SECOND, revoked={Cid.of_dag_cbor(FIRST)}) == [["Revoked"], []]


def test_what_cannot_be_read_hides_nothing_else():
    expired = link(TEAM, PERSON, expires_at_s=400)
    bad = bytearray(FIRST)
    bad[10] ^= 1
    assert faults(bytes(bad), expired)[0] == ["InvalidSignature"]
    assert "Expired" in faults(bytes(bad), expired)[1]


def test_an_act_is_judged_only_by_what_is_known_of_it():
    narrow = link(OWNER, TEAM, policy=[("==", ".job", "a")])
    own = act(invoker=TEAM)
    assert faults(narrow, act=own) == [[]]
    assert faults(narrow, act=act(invoker=TEAM, job="b")) == [["MatchError"]]
    assert faults(FIRST, act=act("/nunet/result/read", TEAM)) == [["InvalidClaim"]]
    assert faults(FIRST, act=act()) == [["InvalidAudience"]]


def test_a_moment_too_far_for_a_calendar_is_a_number():
    assert moment(2**53 - 1) == f"second {2**53 - 1}"
    assert until(None) == "for ever"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (("==", ".job", "a"), '.job is "a"'),
        (("!=", ".on", True), ".on is not true"),
        (("==", ".spec", None), ".spec is left out"),
        (("<=", ".cpus", 5), ".cpus is at most 5"),
        (("like", ".name", "\x1b*"), '.name is like "\\u001b*"'),
        (("or", (("<", ".a", 1), (">", ".a", 9))), "(.a is less than 1 or .a is more"),
        (("and", ()), "(anything)"),
        (("not", (">=", ".a", 1)), "not .a is at least 1"),
        (("all", ".a", ("==", ".", 1)), "of .a every item has: . is 1"),
        (("any", ".a", ("==", ".", 1)), "of .a some item has: . is 1"),
    ],
)
def test_a_condition_is_said_in_words(condition, words):
    data = link(OWNER, TEAM, policy=(condition,))
    assert f", if {words}" in describe(open_delegation(data))
