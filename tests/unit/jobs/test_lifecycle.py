"""A job moves only along the table, and what is final stays so."""

import itertools

import pytest

from nunet_node.errors import MisuseError
from nunet_node.jobs.lifecycle import (
    HOLDING,
    MOVES,
    STARTED,
    State,
    check_move,
    is_final,
)

FINAL = {
    State.COMPLETED,
    State.FAILED,
    State.CANCELLED,
    State.TIMED_OUT,
    State.LOST,
    State.REFUSED,
}


def test_every_state_has_a_row():
    assert set(MOVES) == set(State)


def test_final_states_are_those_without_moves():
    assert {state for state in State if is_final(state)} == FINAL


@pytest.mark.parametrize("before", sorted(FINAL))
def test_a_final_state_never_changes(before):
    for after in State:
        with pytest.raises(MisuseError):
            check_move(before, after)


def test_what_is_not_in_the_table_is_our_bug():
    for before, after in itertools.product(State, State):
        if after in MOVES[before]:
            check_move(before, after)
        else:
            with pytest.raises(MisuseError, match=f"{before} to {after}"):
                check_move(before, after)


def test_a_job_completes_only_after_its_result_is_stored():
    assert {s for s in State if State.COMPLETED in MOVES[s]} == {State.STORING}


def test_a_job_runs_only_after_it_has_its_resources():
    assert {s for s in State if State.STARTING in MOVES[s]} == {State.ALLOCATED}
    assert {s for s in State if State.RUNNING in MOVES[s]} == {State.STARTING}


def test_every_unfinished_state_can_reach_an_end():
    for state in set(State) - FINAL:
        assert MOVES[state] & FINAL


def test_whatever_may_have_a_process_holds_its_resources():
    assert STARTED < HOLDING
    assert not HOLDING & FINAL
    assert State.QUEUED not in HOLDING


def test_nothing_returns_to_a_refusal():
    assert all(State.REFUSED not in moves for moves in MOVES.values())
