"""Commands of an owner: cancel in every state, notices again, results and logs."""

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.statements import Confirmation, Notice, Receipt, Report
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import GrantLogs, GrantRead, StopJob
from nunet_node.protocol.messages import CANCEL, LOGS, READ, STATUS, SUBMIT, WATCH
from tests.unit.protocol.puppet import Puppet, code_of
from tests.unit.protocol.world import INPUT, OUTPUT, World, spec

STATES = [
    State.QUEUED,
    State.ALLOCATED,
    State.STARTING,
    State.RUNNING,
    State.STORING,
]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2)


@pytest.fixture
def owner(world):
    return Puppet(world, 50)


@pytest.fixture
def session(owner, provider):
    return owner.dial(provider)


def bring_to(state, provider, owner, session):
    """Submit a job and leave it in a state; return its id."""
    if state is State.QUEUED:
        full = owner.submit_args(spec(cpus=2), salt=b"f" * 16)
        owner.command(session, provider, SUBMIT, full)
    inputs = INPUT if state is State.ALLOCATED else None
    args = owner.submit_args(spec(inputs=inputs))
    owner.world.starts_at_once = state is not State.STARTING
    owner.command(session, provider, SUBMIT, args)
    if state is State.STORING:
        provider.finish()
    assert provider.jobs[args["job"]].state is state
    return args["job"]


def step(world):
    """Let exactly one thing happen."""
    heap = world._heap
    rest = heap[1:]
    world._heap = heap[:1]
    world.run()
    for entry in rest:
        world.later(entry[0] - world.elapsed_ns, entry[2], entry[4], entry[5])


@pytest.mark.parametrize("state", STATES)
def test_a_cancel_ends_the_job_in_every_state(provider, owner, session, state):
    job = bring_to(state, provider, owner, session)

    heard = owner.command(session, provider, CANCEL, {"job": job})

    said = heard.body.payload
    assert isinstance(said, Confirmation)
    assert (said.job, said.state, said.already_ended) == (job, State.CANCELLED, False)
    assert provider.jobs[job].state is State.CANCELLED
    assert not provider.jobs[job].holding
    assert all(r.job != job for r in provider.running)


@pytest.mark.parametrize("state", STATES)
def test_what_comes_from_the_world_after_a_cancel_changes_nothing(
    provider, owner, session, state
):
    job = bring_to(state, provider, owner, session)
    owner.command(session, provider, CANCEL, {"job": job})
    before = provider.jobs[job]

    for late in (
        ins.InputsArrived(job=job, attempt=1),
        ins.JobStarted(job=job, attempt=1),
        ins.JobExited(job=job, attempt=1, exit_code=0),
        ins.ResultStored(job=job, attempt=1, root=OUTPUT, size_bytes=1),
        ins.ResultNotStored(job=job, attempt=1, reason="late"),
        ins.TimerFired(name=f"queue:{job}"),
        ins.TimerFired(name=f"staging:{job}"),
    ):
        provider.give(late)

    assert provider.jobs[job] == before


def test_a_job_that_exits_as_it_is_cancelled_is_cancelled(provider, owner, session):
    job = bring_to(State.RUNNING, provider, owner, session)
    stops = []
    provider.world.watch = lambda _, e: stops.append(e) if isinstance(e, StopJob) else 0
    args = {"job": job}
    challenge = owner.challenge(session, provider, CANCEL, args)
    owner.say(session, owner.invocation(provider, CANCEL, args, challenge))
    while not stops:
        step(provider.world)
    provider.give(ins.JobExited(job=job, attempt=1, exit_code=0))
    provider.world.run()

    assert provider.jobs[job].state is State.CANCELLED
    ends = [h for h in owner.heard if isinstance(h.body.payload, Confirmation)]
    assert len(ends) == 1


def test_cancelling_twice_at_once_confirms_twice_and_ends_once(
    provider, owner, session
):
    job = bring_to(State.RUNNING, provider, owner, session)
    args = {"job": job}
    for _ in range(2):
        challenge = owner.challenge(session, provider, CANCEL, args)
        owner.say(session, owner.invocation(provider, CANCEL, args, challenge))
    provider.world.run()

    ends = [h for h in owner.heard if isinstance(h.body.payload, Confirmation)]
    assert len(ends) == 2
    states = [move.state for move in provider.jobs[job].history]
    assert states.count(State.CANCELLED) == 1


@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_cancel_after_the_end_says_so_and_harms_nothing(
    provider, owner, session, exit_code
):
    job = bring_to(State.RUNNING, provider, owner, session)
    provider.finish(exit_code=exit_code)
    provider.store()
    before = provider.jobs[job]

    heard = owner.command(session, provider, CANCEL, {"job": job})

    assert heard.body.payload.already_ended
    assert heard.body.payload.state is before.state
    assert provider.jobs[job] == before


def test_a_cancel_before_a_crash_is_kept_after_it(world, provider, owner, session):
    job = bring_to(State.RUNNING, provider, owner, session)
    args = {"job": job}
    challenge = owner.challenge(session, provider, CANCEL, args)
    owner.say(session, owner.invocation(provider, CANCEL, args, challenge))
    while not provider.jobs[job].cancelling:
        step(world)
    provider.kill()
    provider.restart()

    assert provider.jobs[job].state is State.CANCELLED
    heard = owner.command(owner.dial(provider), provider, CANCEL, args)
    assert heard.body.payload.state is State.CANCELLED


def test_room_that_a_cancel_frees_goes_to_the_next(provider, owner, session):
    full = owner.submit_args(spec(cpus=2), salt=b"f" * 16)
    owner.command(session, provider, SUBMIT, full)
    args = owner.submit_args(spec())
    owner.command(session, provider, SUBMIT, args)

    owner.command(session, provider, CANCEL, {"job": full["job"]})

    assert provider.jobs[args["job"]].state is State.RUNNING


@pytest.mark.parametrize("after", range(5))
def test_a_watch_sends_what_was_missed_and_then_what_comes(
    world, provider, owner, session, after
):
    job = bring_to(State.RUNNING, provider, owner, session)
    away = Puppet(world, 51, user=owner.user)
    watching = away.dial(provider)
    args = {"job": job, "after": after} if after else {"job": job}

    heard = away.command(watching, provider, WATCH, args)
    provider.finish()
    provider.store()

    assert isinstance(heard.body.payload, Report)
    said = [h.body.payload for h in away.heard if h.re is None]
    assert all(isinstance(n, Notice) for n in said)
    backlog = [n.sequence for n in said if n.sequence <= 3]
    assert backlog == list(range(after + 1, 4))
    assert [n.sequence for n in said if n.sequence > 3] == [4, 5]


def test_logs_are_granted_to_the_connection_that_asked(provider, owner, session):
    job = bring_to(State.RUNNING, provider, owner, session)

    heard = owner.command(session, provider, LOGS, {"job": job})

    assert isinstance(heard.body.payload, Report)
    assert provider.grants == [GrantLogs(peer_id=owner.peer_id, job=job, attempt=1)]


def test_a_result_is_granted_with_its_receipt(provider, owner, session):
    job = bring_to(State.STORING, provider, owner, session)
    assert code_of(owner.command(session, provider, READ, {"job": job})) == (
        "result.none"
    )
    provider.store()

    heard = owner.command(session, provider, READ, {"job": job})

    receipt = heard.body.payload
    assert isinstance(receipt, Receipt)
    assert heard.body.data == provider.jobs[job].receipt
    assert (receipt.owner, receipt.result) == (owner.user.did, OUTPUT)
    assert GrantRead(peer_id=owner.peer_id, job=job, root=OUTPUT) in provider.grants


def test_a_report_tells_where_the_job_stands(provider, owner, session):
    job = bring_to(State.QUEUED, provider, owner, session)

    report = owner.command(session, provider, STATUS, {"job": job}).body.payload

    assert (report.state, report.name) == (State.QUEUED, "work")
    assert report.queue.position == 1
    assert report.queue.estimate_s > 0
    assert "CPU" in report.queue.reason
