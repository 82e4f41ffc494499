"""A provider's record of a job changes by facts, and only as the states allow."""

import pytest

from nunet_node.errors import MisuseError
from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.lifecycle import MOVES, State
from nunet_node.jobs.specification import job_id_of
from nunet_node.protocol.facts import (
    CancelAccepted,
    JobAccepted,
    JobForgotten,
    JobMoved,
    JobStaged,
)
from nunet_node.protocol.provider.custody import apply_job
from tests.unit.protocol.puppet import spec_cid
from tests.unit.protocol.world import INPUT, spec

OWNER = SigningKey(b"o" * 32).did


def accepted(**more):
    wanted = more.pop("spec", spec())
    given = {
        "job": job_id_of(OWNER, spec_cid(spec()), b"s" * 16),
        "owner": OWNER,
        "attempt": 1,
        "spec": wanted,
        "spec_cid": spec_cid(wanted),
        "at_s": 10,
        "lease_until_s": 100,
        "queue_tag": 1,
        "answer": b"answer",
    }
    return JobAccepted(**{**given, **more})


def moved(state, **more):
    given = {
        "job": accepted().job,
        "attempt": 1,
        "state": state,
        "at_s": 11,
        "notice": b"n",
    }
    return JobMoved(**{**given, **more})


def in_state(state):
    return apply_job(apply_job(None, accepted(), 1), moved(state), 1)


def test_an_accepted_job_has_its_owner_and_its_place():
    job = apply_job(None, accepted(), 7)
    assert (job.owner, job.sequence, job.state) == (OWNER, 7, None)
    assert job.staged
    assert not job.ended
    assert not job.holding


def test_a_job_with_inputs_waits_for_them():
    job = apply_job(None, accepted(spec=spec(inputs=INPUT)), 1)
    assert not job.staged
    assert apply_job(job, JobStaged(job=job.job), 2).staged


@pytest.mark.parametrize("before", list(State))
@pytest.mark.parametrize("after", list(State))
def test_only_moves_of_the_table_are_applied(before, after):
    job = in_state(before)
    if after in MOVES[before]:
        assert apply_job(job, moved(after), 2).state is after
    else:
        with pytest.raises(MisuseError):
            apply_job(job, moved(after), 2)


def test_a_fact_about_a_job_nobody_accepted_is_a_mistake():
    with pytest.raises(MisuseError):
        apply_job(None, moved(State.QUEUED), 1)


@pytest.mark.parametrize("owner", [OWNER, SigningKey(b"x" * 32).did])
def test_a_job_that_goes_on_is_not_accepted_again(owner):
    with pytest.raises(MisuseError):
        apply_job(in_state(State.RUNNING), accepted(owner=owner), 2)


def test_a_job_that_ended_is_not_accepted_for_another_owner():
    with pytest.raises(MisuseError):
        apply_job(in_state(State.LOST), accepted(owner=SigningKey(b"x" * 32).did), 2)


def test_a_new_attempt_keeps_the_history_and_begins_a_new_chain():
    job = apply_job(in_state(State.LOST), accepted(attempt=2), 9)
    assert (job.attempt, job.sequence, job.notices) == (2, 9, ())
    assert [m.state for m in job.history] == [State.LOST]


def test_an_attempt_of_the_providers_own_forgets_how_the_last_one_ended():
    job = in_state(State.STARTING)
    job = apply_job(job, moved(State.STORING, exit_code=3, limit="wall"), 1)
    again = apply_job(job, moved(State.QUEUED, attempt=2), 1)
    assert (again.exit_code, again.limit, again.attempt) == (None, "", 2)


def test_a_cancel_and_an_end_leave_the_job_until_it_is_forgotten():
    job = apply_job(
        in_state(State.RUNNING), CancelAccepted(job=accepted().job, at_s=1), 1
    )
    assert job.cancelling
    ended = apply_job(job, moved(State.CANCELLED), 1)
    assert ended.ended
    assert apply_job(ended, JobForgotten(job=job.job), 1) is None


def test_each_notice_can_name_the_one_before():
    assert apply_job(None, accepted(), 1).previous_digest == b""
    assert len(in_state(State.QUEUED).previous_digest) == 32
