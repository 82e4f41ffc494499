"""A chain is found if the delegations at hand hold one, and only then."""

from nunet_node.capability.command import Command
from nunet_node.capability.delegation import open_delegation, seal_delegation
from nunet_node.capability.held.holdings import HELD_MAX, Holdings
from nunet_node.capability.proof_chain import Act
from nunet_node.identity.keys import SigningKey

OWNER, TEAM, PERSON, STRANGER = (SigningKey(bytes([i]) * 32) for i in range(1, 5))
NOW_S = 500
SUBMIT = Command("/nunet/job/submit")


def link(giver, taker, **changes):
    given = {
        "signer": giver,
        "audience": taker.did,
        "subject": OWNER.did,
        "command": "/nunet/job",
        "nonce": bytes(12),
        "expires_at_s": 1000,
    }
    return open_delegation(seal_delegation(**{**given, **changes}))


FIRST, SECOND = link(OWNER, TEAM), link(TEAM, PERSON)


def act(invoker=PERSON, subject=OWNER, command=SUBMIT, **args):
    return Act(invoker=invoker.did, subject=subject.did, command=command, args=args)


def test_a_chain_of_several_links_is_found_in_order():
    held = Holdings([SECOND, FIRST])
    assert held.chain(act(), NOW_S) == (FIRST, SECOND)
    assert held.chain(act(TEAM), NOW_S) == (FIRST,)


def test_nothing_is_found_for_others_or_for_other_commands():
    held = Holdings([FIRST, SECOND])
    assert held.chain(act(STRANGER), NOW_S) is None
    assert held.chain(act(command=Command("/nunet/result/read")), NOW_S) is None
    assert held.chain(act(subject=TEAM), NOW_S) is None
    assert Holdings([SECOND]).chain(act(), NOW_S) is None


def test_a_wider_chain_is_taken_where_a_narrow_one_forbids():
    narrow = link(OWNER, TEAM, policy=[("==", ".job", "other")])
    held = Holdings([narrow, FIRST, SECOND])
    assert held.chain(act(job="this"), NOW_S) == (FIRST, SECOND)


def test_the_best_that_there_is_may_fail_so_that_the_receiver_says_why():
    narrow = link(OWNER, TEAM, policy=[("==", ".job", "other")])
    held = Holdings([narrow])
    assert held.chain(act(TEAM, job="this"), NOW_S) is None
    assert held.best(act(TEAM, job="this"), NOW_S) == (narrow,)
    assert held.best(act(STRANGER), NOW_S) is None


def test_what_is_void_or_over_is_not_used():
    held = Holdings([FIRST, SECOND])
    assert held.chain(act(), 1001) is None
    held.void([FIRST.cid])
    assert held.chain(act(), NOW_S) is None
    assert held.from_subject(PERSON.did, OWNER.did, SUBMIT) is None
    assert FIRST.cid in held.revoked


def test_principals_are_those_on_whose_behalf_somebody_may_act_now():
    held = Holdings([FIRST, SECOND])
    assert held.principals(PERSON.did, SUBMIT, NOW_S) == {OWNER.did}
    assert held.principals(STRANGER.did, SUBMIT, NOW_S) == frozenset()
    assert held.principals(PERSON.did, SUBMIT, 1001) == frozenset()
    assert held.subjects() == {OWNER.did}


def test_whatever_is_passed_on_without_a_name_is_part_of_a_chain():
    passed_on = link(TEAM, PERSON, subject=None)
    held = Holdings([FIRST, passed_on])
    assert held.chain(act(), NOW_S) == (FIRST, passed_on)


def test_a_circle_ends_the_search():
    held = Holdings([link(TEAM, PERSON), link(PERSON, TEAM)])
    assert held.chain(act(), NOW_S) is None


def test_beyond_the_limit_the_oldest_leave():
    many = [
        link(OWNER, TEAM, nonce=i.to_bytes(12, "big"), expires_at_s=1000 + i)
        for i in range(3)
    ]
    held = Holdings(many)
    assert held.all() == tuple(many)
    assert len(held) <= HELD_MAX
    assert held.from_subject(TEAM.did, OWNER.did, SUBMIT) == (many[0],)
