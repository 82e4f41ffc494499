"""What is believed of a custodian, and what is not."""

from dataclasses import replace

import msgspec
import pytest

from nunet_node.identity.statement import Statement
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.statements import Confirmation, Notice, Report
from nunet_node.protocol.requester import believing
from nunet_node.protocol.turn import Turn
from tests.unit.protocol.world import World, place, spec

OTHER = "did:key:z6MkkkW1fAB6NkuY4Hw4APFs5cAMFMrrTqtHPQ6U8AWGF4Uo"


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2)


@pytest.fixture
def user(world, provider):
    return world.peer(2)


@pytest.fixture
def order(world, user):
    world.run(for_s=1)
    return user.orders[place(user, spec())]


def notice_of(provider, user, order, **more):
    given = {
        "job": order.job,
        "owner": user.user.did,
        "attempt": 1,
        "sequence": order.notice.sequence + 1,
        "previous": order.notice_digest,
        "state": State.STORING,
        "at_s": 1,
    }
    return Statement(
        issuer=provider.did,
        audience=user.user.did,
        issued_at_s=1,
        expires_at_s=2,
        cti=b"c" * 16,
        domain=b"",
        payload=Notice(**{**given, **more}),
        data=b"data",
    )


def hear(user, heard):
    turn = Turn(user.node._ledger, user.world.now)
    due = believing.notice(user.node._requester.memory, turn, heard)
    return due, turn.batch().facts


def test_the_next_notice_is_kept(provider, user, order):
    due, facts = hear(user, notice_of(provider, user, order))
    assert due is None
    assert len(facts) == 1
    assert user.orders[order.job].state is State.STORING


def test_the_last_notice_asks_for_a_step(provider, user, order):
    due, facts = hear(user, notice_of(provider, user, order, state=State.LOST))
    assert due == user.orders[order.job]
    assert len(facts) == 1


def test_a_gap_asks_for_a_step_and_keeps_nothing(provider, user, order):
    due, facts = hear(user, notice_of(provider, user, order, sequence=9))
    assert due == order
    assert facts == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequence": 1},
        {"sequence": 3},
        {"previous": b""},
        {"owner": OTHER},
        {"job": "a" * 32},
        {"sequence": believing.NOTICES_MAX + 1},
    ],
)
def test_what_is_no_next_notice_is_ignored(provider, user, order, wrong):
    due, facts = hear(user, notice_of(provider, user, order, **wrong))
    assert (due, facts) == (None, ())


def test_a_notice_of_anybody_else_is_ignored(provider, user, order):
    notice = notice_of(provider, user, order)
    heard = msgspec.structs.replace(notice, issuer=user.did)
    assert hear(user, heard) == (None, ())


@pytest.mark.parametrize("other", [{"previous": b""}, {"previous": b"x" * 32}])
def test_a_notice_that_follows_another_contradicts(provider, user, order, other):
    turn = Turn(user.node._ledger, user.world.now)
    heard = notice_of(provider, user, order, **other)
    assert believing.contradicted(turn, heard) == order
    assert believing.contradicted(turn, notice_of(provider, user, order)) is None


def test_another_notice_of_the_same_number_contradicts(provider, user, order):
    turn = Turn(user.node._ledger, user.world.now)
    heard = notice_of(provider, user, order, sequence=order.notice.sequence)
    assert believing.contradicted(turn, heard) == order


@pytest.mark.parametrize("other", [{"sequence": 1}, {"sequence": 9}, {"owner": OTHER}])
def test_old_notices_and_gaps_contradict_nothing(provider, user, order, other):
    turn = Turn(user.node._ledger, user.world.now)
    heard = notice_of(provider, user, order, **{"previous": b"", **other})
    assert believing.contradicted(turn, heard) is None


@pytest.mark.parametrize(
    ("said", "less"),
    [
        ({}, False),
        ({"sequence": 9, "state": State.STORING}, False),
        ({"attempt": 2, "sequence": 1}, False),
        ({"sequence": 1}, True),
        ({"state": State.STORING}, True),
        ({"attempt": 0}, True),
    ],
)
def test_a_report_of_less_than_was_told_takes_it_back(order, said, less):
    known = order.notice
    report = Report(
        job=order.job,
        owner=known.owner,
        name="",
        resources=order.spec.resources,
        **{
            "attempt": known.attempt,
            "state": known.state,
            "sequence": known.sequence,
            "history": (),
            **said,
        },
    )
    assert believing.takes_back(order, report) is less
    assert not believing.takes_back(replace(order, cancel_wanted=True), report)


@pytest.mark.parametrize(
    "wrong",
    [{"job": "a" * 32}, {"owner": OTHER}, {"attempt": 2}, {"spec": None}],
)
def test_an_acceptance_of_something_else_is_none(user, order, wrong):
    right = order.award.accepted
    assert believing.accepted(order, right)
    if wrong == {"spec": None}:
        from tests.unit.protocol.puppet import spec_cid

        wrong = {"spec": spec_cid(spec(cpus=2))}
    assert not believing.accepted(order, msgspec.structs.replace(right, **wrong))


def test_an_acceptance_of_nothing_that_was_awarded_is_none(user, order):
    right = order.award.accepted
    assert not believing.accepted(replace(order, award=None), right)
    assert not believing.accepted(replace(order, spec=None), right)


def test_a_confirmation_must_be_about_this_job_and_its_owner(user, order):
    right = Confirmation(
        job=order.job,
        owner=user.user.did,
        attempt=1,
        state=State.CANCELLED,
        at_s=1,
    )
    assert believing.confirmed(order, right)
    for wrong in ({"job": "a" * 32}, {"owner": OTHER}):
        assert not believing.confirmed(order, msgspec.structs.replace(right, **wrong))
