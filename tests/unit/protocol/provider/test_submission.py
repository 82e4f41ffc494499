"""Custody: who is taken, what is recorded, what a retry hears, what is too much."""

import pytest

from nunet_node.identity.keys import EcdsaSigningKey
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.scheduler import QUEUE_PER_OWNER_MAX
from nunet_node.jobs.specification import Engine, ResultKind, Retry, Timeouts
from nunet_node.jobs.statements import Accepted, Notice
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.messages import CANCEL, SUBMIT
from nunet_node.protocol.provider import submission
from nunet_node.quantities import ResourceVector
from nunet_node.wire.cose import ALG_ES256
from tests.unit.protocol.puppet import Puppet, code_of
from tests.unit.protocol.world import INPUT, START_S, World, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2, price=7)


@pytest.fixture
def owner(world):
    return Puppet(world, 50)


def submit(owner, provider, wanted, *, session=None, **more):
    session = session or owner.dial(provider)
    args = owner.submit_args(wanted, **more)
    return owner.command(session, provider, SUBMIT, args), args["job"]


def salt(number):
    return number.to_bytes(16, "big")


def test_an_accepted_job_is_tagged_with_its_owner_and_reserved(provider, owner):
    heard, job = submit(owner, provider, spec())

    said = heard.body.payload
    assert isinstance(said, Accepted)
    assert (said.owner, said.attempt) == (owner.user.did, 1)
    assert (said.state, said.queue) == (State.ALLOCATED, None)
    assert said.price_micro_ntx == 7
    assert said.lease_until_s == START_S + spec().lease_s
    assert provider.jobs[job].owner == owner.user.did
    assert provider.reserved() == spec().resources


def test_a_retry_is_the_same_job_with_the_same_answer(world, provider, owner):
    first, _job = submit(owner, provider, spec())
    journal = list(provider.journal)
    world.cut(owner, provider)
    world.run()
    owner.heard.clear()

    again, _ = submit(owner, provider, spec())

    assert again.body.data == first.body.data
    assert provider.journal == journal
    notices = [h.body.payload for h in owner.heard if h.re is None]
    assert [n.sequence for n in notices] == [1, 2, 3]
    assert all(isinstance(n, Notice) for n in notices)


def test_a_retry_after_the_end_hears_the_same_and_starts_nothing(provider, owner):
    first, job = submit(owner, provider, spec())
    provider.finish()
    provider.store()

    again, _ = submit(owner, provider, spec())

    assert again.body.data == first.body.data
    assert provider.running == []
    assert provider.jobs[job].state is State.COMPLETED


def test_a_retry_after_a_restart_is_still_the_same_job(provider, owner):
    first, _ = submit(owner, provider, spec())
    provider.kill()
    provider.restart()

    again, _ = submit(owner, provider, spec())

    assert again.body.data == first.body.data
    assert len(provider.jobs) == 1


def test_the_inputs_are_expected_again_on_a_retry(world, provider, owner):
    submit(owner, provider, spec(inputs=INPUT, inputs_bytes=5))
    submit(owner, provider, spec(inputs=INPUT, inputs_bytes=5))

    assert [(e.root, e.bytes_max) for e in provider.expecting] == [(INPUT, 5)] * 2
    assert {e.peer_id for e in provider.expecting} == {owner.peer_id}


def test_the_next_attempt_waits_for_the_end_of_the_last(provider, owner):
    _, job = submit(owner, provider, spec())
    early, _ = submit(owner, provider, spec(), attempt=2)
    assert code_of(early) == "job.attempt-running"

    provider.finish(exit_code=1)
    provider.store()
    later, _ = submit(owner, provider, spec(), attempt=2)

    assert later.body.payload.attempt == 2
    assert provider.jobs[job].state is State.RUNNING
    assert provider.jobs[job].owner == owner.user.did


def test_an_attempt_that_is_past_is_refused(provider, owner):
    submit(owner, provider, spec(), attempt=2)

    heard, _ = submit(owner, provider, spec(), attempt=1)

    assert code_of(heard) == "job.attempt-past"
    assert len(provider.running) == 1


def test_an_attempt_that_the_provider_began_itself_is_known(provider, owner):
    wanted = spec(retry=Retry(attempts=2))
    first, job = submit(owner, provider, wanted)
    provider.kill()
    provider.restart()
    assert provider.jobs[job].attempt == 2

    for attempt in (1, 2):
        heard, _ = submit(owner, provider, wanted, attempt=attempt)
        assert heard.body.data == first.body.data
    assert len(provider.running) == 1


def test_a_cancelled_job_is_not_begun_again(provider, owner):
    session = owner.dial(provider)
    _, job = submit(owner, provider, spec(), session=session)
    owner.command(session, provider, CANCEL, {"job": job})

    heard, _ = submit(owner, provider, spec(), attempt=2)

    assert code_of(heard) == "job.cancelled"
    assert provider.jobs[job].state is State.CANCELLED


@pytest.mark.parametrize(
    ("wanted", "code", "dimension"),
    [
        (spec(cpus=3), "provider.never-cpu-millis", "cpu_millis"),
        (
            spec(resources=ResourceVector(memory_bytes=9 << 30)),
            "provider.never-memory-bytes",
            "memory_bytes",
        ),
        (
            spec(resources=ResourceVector(disk_bytes=9 << 30)),
            "provider.never-disk-bytes",
            "disk_bytes",
        ),
        (spec(engine=Engine.WASM), "provider.never-engine", "engine"),
        (spec(price_micro_ntx_max=6), "provider.never-price", "price"),
        (
            spec(inputs=INPUT, inputs_bytes=2 << 20),
            "job.inputs-too-large",
            "disk_bytes",
        ),
    ],
)
def test_what_never_fits_is_refused_by_name_and_reserves_nothing(
    provider, owner, wanted, code, dimension
):
    heard, _ = submit(owner, provider, wanted)

    refusal = heard.body.payload
    assert (refusal.code, refusal.dimension, refusal.never) == (code, dimension, True)
    assert refusal.reason
    assert provider.journal == []


def test_an_owner_who_cannot_be_sealed_to_asks_for_public_results(world, provider):
    owner = Puppet(world, 51, user=EcdsaSigningKey(bytes(31) + b"\x07", ALG_ES256))
    heard, job = submit(owner, provider, spec())
    assert code_of(heard) == "job.owner-cannot-read"
    assert heard.body.payload.never
    assert job not in provider.jobs

    _, job = submit(owner, provider, spec(results=ResultKind.PUBLIC))
    assert provider.jobs[job].owner == owner.user.did


def test_a_node_that_offers_nothing_takes_nothing(world, owner):
    idle = world.peer(5)
    heard, _ = submit(owner, idle, spec())
    assert code_of(heard) == "provider.none"


def test_no_room_now_is_a_place_in_the_queue_with_reason_and_estimate(provider, owner):
    submit(owner, provider, spec(cpus=2, timeouts=Timeouts(run_s=60)), salt=salt(1))

    heard, job = submit(owner, provider, spec(), salt=salt(2))

    said = heard.body.payload
    assert said.state is State.QUEUED
    assert said.queue.position == 1
    assert 0 < said.queue.estimate_s <= 60
    assert said.queue.reason
    assert provider.jobs[job].state is State.QUEUED
    last = [h.body.payload for h in owner.heard if h.re is None][-1]
    assert (last.state, last.queue.position) == (State.QUEUED, 1)


def test_one_owner_cannot_fill_the_queue(world, provider, owner):
    session = owner.dial(provider)
    submit(owner, provider, spec(cpus=2), session=session, salt=salt(0))
    for number in range(1, QUEUE_PER_OWNER_MAX + 1):
        heard, _ = submit(owner, provider, spec(), session=session, salt=salt(number))
        assert code_of(heard) is None

    heard, _ = submit(owner, provider, spec(), session=session, salt=salt(999))
    assert code_of(heard) == "provider.owner-queue-full"
    other = Puppet(world, 51)
    heard, _ = submit(other, provider, spec())
    assert heard.body.payload.state is State.QUEUED


def test_owners_take_turns(world, provider, owner):
    session = owner.dial(provider)
    many = [
        submit(owner, provider, spec(cpus=2), session=session, salt=salt(n))[1]
        for n in range(6)
    ]
    other = Puppet(world, 51)
    _, single = submit(other, provider, spec(cpus=2))
    started = []
    for _ in range(3):
        provider.finish()
        provider.store()
        started.append(provider.running[0].job)

    assert single in started[:2]
    assert started[0] == many[1] or started[1] == many[1]


def test_the_queue_of_a_provider_is_bounded(world, provider, monkeypatch):
    monkeypatch.setattr("nunet_node.protocol.provider.offering.QUEUE_MAX", 3)
    codes = []
    for number in range(6):
        owner = Puppet(world, 60 + number)
        heard, _ = submit(owner, provider, spec(cpus=2))
        codes.append(code_of(heard))
    assert codes == [None] * 4 + ["provider.queue-full"] * 2


def test_the_oldest_ended_job_leaves_the_ledger_for_a_new_one(
    provider, owner, monkeypatch
):
    monkeypatch.setattr(submission, "JOBS_KEPT_MAX", 2)
    jobs = []
    for number in range(3):
        jobs.append(submit(owner, provider, spec(), salt=salt(number))[1])
        provider.finish()
        provider.store()

    assert set(provider.jobs) == set(jobs[1:])


def test_a_full_disk_refuses_new_work(provider, owner):
    provider.give(ins.StoreFilled(full=True))
    heard, _ = submit(owner, provider, spec())
    assert code_of(heard) == "provider.disk-full"
