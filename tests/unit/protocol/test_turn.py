"""A turn sees its own facts, and can be taken back whole."""

import pytest

from nunet_node.errors import MisuseError
from nunet_node.jobs.lifecycle import State
from nunet_node.protocol.effects import CancelTimer, Drained, Tell
from nunet_node.protocol.facts import CancelIntended, JobForgotten
from nunet_node.protocol.turn import NS_PER_S, Ledger, Turn
from nunet_node.quantities import Now
from tests.unit.protocol.provider.test_custody import accepted, moved
from tests.unit.protocol.test_order import JOB, PLACED

NOW = Now(unix_s=1000, elapsed_ns=7)


@pytest.fixture
def ledger():
    return Ledger()


def state_of(ledger):
    return (
        dict(ledger.jobs),
        dict(ledger.orders),
        dict(ledger.active),
        ledger.started_tag,
        ledger.sequence,
    )


def test_a_turn_sees_what_it_decided(ledger):
    turn = Turn(ledger, NOW)
    turn.record(PLACED, CancelIntended(job=JOB, at_s=1))
    assert ledger.orders[JOB].cancel_wanted
    assert len(turn.batch().facts) == 2


def test_effects_stand_in_the_order_in_which_they_were_ordered(ledger):
    turn = Turn(ledger, NOW)
    turn.do(CancelTimer(name="a"))
    turn.tell(Drained())
    turn.do(CancelTimer(name="b"))
    assert turn.batch().effects == (
        CancelTimer(name="a"),
        Tell(news=Drained()),
        CancelTimer(name="b"),
    )


def test_a_moment_is_counted_on_the_clock_that_never_steps(ledger):
    assert Turn(ledger, NOW).after_s(2) == 7 + 2 * NS_PER_S


@pytest.mark.parametrize(
    "facts",
    [
        (PLACED,),
        (accepted(),),
        (accepted(), moved(State.ALLOCATED)),
        (accepted(), moved(State.QUEUED), moved(State.CANCELLED)),
        (accepted(), moved(State.LOST), JobForgotten(job=accepted().job)),
    ],
)
def test_a_turn_that_is_taken_back_leaves_nothing(ledger, facts):
    before = state_of(ledger)
    turn = Turn(ledger, NOW)
    turn.record(*facts)
    assert state_of(ledger) != before or len(facts) == 3

    turn.undo()

    assert state_of(ledger) == before


@pytest.mark.parametrize(
    "facts",
    [
        (moved(State.CANCELLED),),
        (moved(State.ALLOCATED),),
        (moved(State.LOST), accepted(attempt=2), moved(State.QUEUED, attempt=2)),
        (moved(State.LOST), JobForgotten(job=accepted().job)),
    ],
)
def test_what_was_there_before_is_there_again(ledger, facts):
    Turn(ledger, NOW).record(accepted(), moved(State.QUEUED))
    before = state_of(ledger)
    turn = Turn(ledger, NOW)
    turn.record(*facts)

    turn.undo()

    assert state_of(ledger) == before


def test_the_active_jobs_stand_in_order_of_acceptance(ledger):
    turn = Turn(ledger, NOW)
    for name in ("b" * 32, "a" * 32, "c" * 32):
        turn.record(accepted(job=name), moved(State.QUEUED, job=name))
    turn.record(moved(State.CANCELLED, job="a" * 32))
    assert [j.job for j in ledger.active_jobs()] == ["b" * 32, "c" * 32]


def test_a_fact_that_does_not_fit_is_a_mistake(ledger):
    with pytest.raises(MisuseError):
        Turn(ledger, NOW).record(moved(State.QUEUED))


def test_the_tag_of_the_job_started_last_only_grows(ledger):
    turn = Turn(ledger, NOW)
    for tag, name in ((5, "b" * 32), (3, "c" * 32)):
        turn.record(accepted(job=name, queue_tag=tag))
        turn.record(moved(State.ALLOCATED, job=name))
    assert ledger.started_tag == 5
