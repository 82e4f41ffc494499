"""A chain gives what every one of its links gives, and only while they hold."""

from itertools import pairwise

import pytest

from nunet_node.capability.delegation import open_delegation, seal_delegation
from nunet_node.capability.errors import (
    ExpiredError,
    InvalidAudienceError,
    InvalidClaimError,
    InvalidSubjectError,
    MatchError,
    RevokedError,
    TooEarlyError,
    UnavailableProofError,
)
from nunet_node.capability.proof_chain import (
    CHAIN_LINKS_MAX,
    Act,
    check_chain,
    check_joints,
    check_revocation,
    open_chain,
)
from nunet_node.identity.keys import SigningKey
from nunet_node.wire.cid import Cid

PEOPLE = [SigningKey(bytes([i]) * 32) for i in range(1, 12)]
OWNER, TEAM, PERSON, STRANGER = PEOPLE[:4]
NOW_S = 500


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


def act(invoker=PERSON, subject=OWNER, command="/nunet/job/submit", **args):
    return Act(invoker=invoker.did, subject=subject.did, command=command, args=args)


def check(*chain, act=act(), **changes):  # noqa: B008 - it is frozen
    check_chain(chain, act, **{"now_s": NOW_S, **changes})


FIRST = link(OWNER, TEAM)
SECOND = link(TEAM, PERSON)


def test_a_subject_may_act_without_proof():
    check(act=act(OWNER))


def test_nobody_else_may():
    with pytest.raises(InvalidClaimError):
        check(act=act(PERSON))


def test_a_chain_from_the_subject_to_the_invoker_is_enough():
    check(FIRST, SECOND)
    check(FIRST, link(TEAM, PERSON, subject=None))


@pytest.mark.parametrize(
    ("chain", "error"),
    [
        ((SECOND, FIRST), InvalidSubjectError),
        ((FIRST,), InvalidAudienceError),
        ((SECOND,), InvalidSubjectError),
        ((FIRST, link(STRANGER, PERSON)), InvalidAudienceError),
        ((link(OWNER, TEAM, subject=None), SECOND), InvalidClaimError),
        ((link(STRANGER, PERSON),), InvalidSubjectError),
        ((link(STRANGER, PERSON, subject=STRANGER.did),), InvalidSubjectError),
        ((FIRST, link(TEAM, PERSON, subject=TEAM.did)), InvalidSubjectError),
        ((FIRST, link(TEAM, PERSON, command="/nunet")), InvalidClaimError),
        ((FIRST, link(TEAM, PERSON, command="/nunet/job/cancel")), InvalidClaimError),
        ((link(OWNER, TEAM, command="/nunet/result"), SECOND), InvalidClaimError),
    ],
)
def test_a_chain_that_does_not_lead_there_is_refused(chain, error):
    with pytest.raises(error):
        check(*chain)


def test_every_link_must_hold_at_the_moment_of_acting():
    check(FIRST, SECOND, now_s=1000)
    with pytest.raises(ExpiredError):
        check(FIRST, SECOND, now_s=1001)
    early = link(TEAM, PERSON, not_before_s=600)
    check(FIRST, early, now_s=600)
    with pytest.raises(TooEarlyError):
        check(FIRST, early, now_s=599)


def test_a_longer_life_than_the_link_above_gives_nothing():
    with pytest.raises(ExpiredError):
        check(FIRST, link(TEAM, PERSON, expires_at_s=9999), now_s=1001)


def test_every_policy_must_hold():
    cpu = link(OWNER, TEAM, policy=[("<=", ".cpu", 500)])
    memory = link(TEAM, PERSON, policy=[("<=", ".memory", 100)])
    check(cpu, memory, act=act(cpu=500, memory=100))
    for args in ({"cpu": 501, "memory": 100}, {"cpu": 500, "memory": 101}, {}):
        with pytest.raises(MatchError):
            check(cpu, memory, act=act(**args))


@pytest.mark.parametrize("revoked", [FIRST.cid, SECOND.cid])
def test_a_revoked_link_breaks_the_chain(revoked):
    with pytest.raises(RevokedError):
        check(FIRST, SECOND, revoked={revoked})


def test_revoking_something_else_does_not():
    check(FIRST, SECOND, revoked={Cid.of_dag_cbor(b"")})
    check_revocation(SECOND.cid, {FIRST.cid})


def test_a_chain_is_opened_in_the_order_of_its_ids():
    proofs = {FIRST.cid: FIRST.data, SECOND.cid: SECOND.data}
    assert open_chain((FIRST.cid, SECOND.cid), proofs) == (FIRST, SECOND)
    assert open_chain((), proofs) == ()


def test_a_proof_that_was_not_sent_is_unavailable():
    with pytest.raises(UnavailableProofError):
        open_chain((FIRST.cid,), {})


def test_a_proof_under_another_id_is_refused():
    with pytest.raises(InvalidClaimError):
        open_chain((FIRST.cid,), {FIRST.cid: SECOND.data})


def test_one_link_twice_is_refused():
    proofs = {FIRST.cid: FIRST.data}
    with pytest.raises(InvalidClaimError):
        open_chain((FIRST.cid, FIRST.cid), proofs)


def test_a_chain_has_a_longest_length():
    chain = [link(*pair) for pair in pairwise(PEOPLE)]
    proofs = {each.cid: each.data for each in chain}
    cids = tuple(proofs)
    longest = open_chain(cids[:CHAIN_LINKS_MAX], proofs)
    check(*longest, act=act(PEOPLE[CHAIN_LINKS_MAX]))
    with pytest.raises(InvalidClaimError):
        open_chain(cids[: CHAIN_LINKS_MAX + 1], proofs)
    with pytest.raises(InvalidClaimError):
        open_chain(cids * 1000, proofs)


def test_joints_are_checked_apart_from_acts():
    check_joints((FIRST, SECOND))
    check_joints(())
    with pytest.raises(InvalidAudienceError):
        check_joints((SECOND, FIRST))
