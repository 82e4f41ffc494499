"""Nobody but the owner learns of a job, reads it or ends it.

A job of somebody else and a job that does not exist are one thing to the asker: the
very same payload, and nothing granted.
"""

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.statements import Accepted, Confirmation, Receipt, Report
from nunet_node.protocol.messages import CANCEL, LOGS, READ, STATUS, SUBMIT, WATCH
from nunet_node.wire.schema import encode_record, to_plain
from tests.unit.protocol.puppet import Puppet, code_of
from tests.unit.protocol.world import World, place, spec

ABOUT_A_JOB = [STATUS, LOGS, WATCH, READ, CANCEL]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2)


@pytest.fixture
def owner(world, provider):
    return world.peer(2)


@pytest.fixture
def stranger(world):
    return Puppet(world, 60)


@pytest.mark.parametrize("command", ABOUT_A_JOB)
@pytest.mark.parametrize("when", ["running", "ended"])
def test_a_stranger_hears_the_same_of_a_job_as_of_none(
    provider, owner, stranger, command, when
):
    job = place(owner, spec())
    if when == "ended":
        provider.finish()
        provider.store()
    before, session = list(provider.journal), stranger.dial(provider)

    real = stranger.command(session, provider, command, {"job": job})
    none = stranger.command(session, provider, command, {"job": "a" * 32})

    assert code_of(real) == "job.unknown"
    assert encode_record(real.body.payload) == encode_record(none.body.payload)
    assert len(real.body.data) == len(none.body.data)
    assert provider.grants == []
    assert provider.journal == before


@pytest.mark.parametrize("command", ABOUT_A_JOB)
def test_the_owner_of_another_job_is_a_stranger(provider, owner, stranger, command):
    job = place(owner, spec())
    session = stranger.dial(provider)
    stranger.command(session, provider, SUBMIT, stranger.submit_args(spec()))

    heard = stranger.command(session, provider, command, {"job": job})

    assert code_of(heard) == "job.unknown"
    assert provider.jobs[job].state is State.RUNNING


def test_the_owners_node_is_not_the_owner(world, provider, owner):
    job = place(owner, spec())
    node = Puppet(world, 61, user=owner.key)

    heard = node.command(node.dial(provider), provider, CANCEL, {"job": job})

    assert code_of(heard) == "job.unknown"
    assert not provider.jobs[job].cancelling


def test_the_provider_cannot_command_its_own_jobs(world, provider, owner):
    job = place(owner, spec())
    itself = Puppet(world, 62, user=provider.key)

    heard = itself.command(itself.dial(provider), provider, CANCEL, {"job": job})

    assert code_of(heard) == "job.unknown"


def test_the_owner_is_obeyed_from_any_peer(world, provider, owner):
    job = place(owner, spec())
    elsewhere = Puppet(world, 63, user=owner.user)
    session = elsewhere.dial(provider)

    report = elsewhere.command(session, provider, STATUS, {"job": job})
    done = elsewhere.command(session, provider, CANCEL, {"job": job})

    assert isinstance(report.body.payload, Report)
    assert isinstance(done.body.payload, Confirmation)
    assert provider.jobs[job].state is State.CANCELLED


def test_the_result_is_granted_to_the_owners_connection_alone(provider, owner, world):
    job = place(owner, spec())
    provider.finish()
    provider.store()
    reader = Puppet(world, 64, user=owner.user)

    heard = reader.command(reader.dial(provider), provider, READ, {"job": job})

    assert isinstance(heard.body.payload, Receipt)
    (grant,) = provider.grants
    assert (grant.peer_id, grant.job) == (reader.peer_id, job)
    assert grant.root == heard.body.payload.result


def test_before_the_end_there_is_no_result_to_read(provider, owner, world):
    job = place(owner, spec())
    reader = Puppet(world, 64, user=owner.user)

    heard = reader.command(reader.dial(provider), provider, READ, {"job": job})

    assert code_of(heard) == "result.none"
    assert "running" in heard.body.payload.reason
    assert provider.grants == []


def test_a_job_cannot_be_submitted_in_anothers_name(provider, stranger, owner):
    wanted = spec()
    theirs = {**stranger.submit_args(wanted), "job": place(owner, wanted)}
    session = stranger.dial(provider)

    heard = stranger.command(session, provider, SUBMIT, theirs)

    assert code_of(heard) == "job.id-mismatch"
    assert [j.owner for j in provider.jobs.values()] == [owner.user.did]


def test_an_id_that_was_made_for_other_work_is_refused(provider, stranger):
    args = stranger.submit_args(spec())
    other = {**args, "spec": to_plain(spec(cpus=2))}

    heard = stranger.command(stranger.dial(provider), provider, SUBMIT, other)

    assert code_of(heard) == "job.id-mismatch"
    assert provider.jobs == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"spec": {}},
        {"spec": "text"},
        {"job": 7},
        {"attempt": 0},
        {"attempt": 17},
        {"attempt": -1},
        {"attempt": True},
        {"salt": b"short"},
        {"salt": b"s" * 17},
        {"x" * 5000: 1},
    ],
)
def test_a_submit_that_is_none_is_refused(provider, stranger, wrong):
    args = {**stranger.submit_args(spec()), **wrong}

    heard = stranger.command(stranger.dial(provider), provider, SUBMIT, args)

    assert code_of(heard) is not None
    assert provider.journal == []


@pytest.mark.parametrize(
    "wrong", [{}, {"job": 7}, {"job": "x", "after": 1}, {"job": "../etc"}]
)
@pytest.mark.parametrize("command", [STATUS, CANCEL, "/nunet/job/no-such", "/"])
def test_a_command_that_is_none_is_refused(provider, stranger, command, wrong):
    heard = stranger.command(stranger.dial(provider), provider, command, wrong)

    assert code_of(heard) is not None
    assert provider.journal == []


def test_a_watch_from_the_far_future_sends_nothing_and_harms_nothing(
    provider, owner, world
):
    job = place(owner, spec())
    reader = Puppet(world, 64, user=owner.user)
    session = reader.dial(provider)

    heard = reader.command(session, provider, WATCH, {"job": job, "after": 1 << 20})

    assert isinstance(heard.body.payload, Report)
    assert [h for h in reader.heard if h.re is None] == []


@pytest.mark.parametrize("after", [-1, 2**53, "0", True])
def test_a_watch_after_no_number_is_refused(provider, owner, world, after):
    job = place(owner, spec())
    reader = Puppet(world, 64, user=owner.user)
    args = {"job": job, "after": after}

    heard = reader.command(reader.dial(provider), provider, WATCH, args)

    assert code_of(heard) is not None


def test_the_same_submit_from_another_peer_of_the_owner_is_the_same_job(
    provider, owner, world
):
    job = place(owner, spec())
    before = list(provider.journal)
    again = Puppet(world, 65, user=owner.user)

    heard = again.command(
        again.dial(provider), provider, SUBMIT, again.submit_args(spec())
    )

    assert isinstance(heard.body.payload, Accepted)
    assert heard.body.data == provider.jobs[job].answer
    assert provider.journal == before
    assert len(provider.running) == 1
