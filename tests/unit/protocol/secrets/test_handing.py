"""Handing secrets over: after the award, to the awarded provider, for each attempt."""

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.secrets import SecretsUse, open_secrets
from nunet_node.jobs.specification import Retry, RetryCause, Timeouts
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import Called, OrderAccepted
from nunet_node.protocol.messages import SUBMIT
from nunet_node.protocol.requester.memory import LOST_AFTER_S
from nunet_node.protocol.secrets.events import SecretsAwaited
from nunet_node.protocol.secrets.handing import AGAIN_S
from nunet_node.wire.schema import encode_record
from tests.unit.protocol.trust.givers import COLD, link, place_for
from tests.unit.protocol.world import INPUT, World, place, spec

MARKER = b"marker-4e7a"


@pytest.fixture
def world():
    return World()


def a_user(world, number=9):
    user = world.peer(number)
    user.environment = {"TOKEN": MARKER}
    world.run(for_s=1)
    return user


def wanted(**more):
    return spec(secrets=("TOKEN",), **more)


def opened(provider, order):
    """Return what a provider that starts a job finds in its secrets."""
    use = SecretsUse(
        job=order.job, attempt=order.attempt, provider=provider.did, owner=order.owner
    )
    secret = provider.key.key_agreement_secret()
    return open_secrets(order.secrets, use, order.spec.secrets, reader_secret=secret)


def test_a_job_starts_with_its_secrets(world):
    provider, user = world.peer(1, cpus=2), a_user(world)
    place(user, wanted())
    [order] = provider.running
    assert opened(provider, order) == {"TOKEN": MARKER}


def test_a_job_without_secrets_hands_none(world):
    provider, user = world.peer(1, cpus=2), a_user(world)
    place(user, spec())
    assert provider.running[0].secrets == b""
    assert user.sealed == []


def test_nothing_is_sealed_before_a_provider_signed_that_it_has_the_job(world):
    provider, user = world.peer(1, cpus=2), a_user(world)
    before = []

    def watch(peer, effect):
        if peer is user and isinstance(getattr(effect, "news", None), Called):
            before.append(len(user.sealed))
        if user.sealed and len(before) == 1:
            before.append(user.orders[user.sealed[0].job].award.accepted)

    world.watch = watch
    place(user, wanted())
    assert before[0] == 0
    assert before[1] is not None
    assert [each.provider for each in user.sealed] == [provider.did]


def test_a_losing_bidder_is_sent_nothing(world):
    loser, winner = world.peer(1, cpus=2, price=9), world.peer(2, cpus=2, price=1)
    loser.raw, winner.raw = [], []
    user = a_user(world)
    place(user, wanted())
    assert len(winner.running) == 1
    assert [each.provider for each in user.sealed] == [winner.did]
    assert not any(b"sealed" in frame for frame in loser.raw)
    assert any(b"sealed" in frame for frame in winner.raw)


def test_neither_journal_has_the_values_in_any_form(world):
    provider, user = world.peer(1, cpus=2), a_user(world)
    place(user, wanted())
    sealed = provider.running[0].secrets
    for peer in (provider, user):
        for fact in peer.journal:
            data = encode_record(fact)
            assert MARKER not in data
            assert sealed not in data


def test_the_submitter_hears_that_its_provider_has_all_once_it_has(world):
    _, user = world.peer(1, cpus=2), a_user(world)
    job = place(user, wanted())
    assert [n.staged for n in user.told(OrderAccepted)] == [False, True]
    assert not user.orders[job].needs_us


def test_inputs_and_secrets_are_both_waited_for(world):
    provider, user = world.peer(1, cpus=2), a_user(world)
    job = place(user, wanted(inputs=INPUT, inputs_bytes=3))
    assert [n.staged for n in user.told(OrderAccepted)] == [False, True]
    assert provider.jobs[job].state is State.RUNNING


def test_a_secret_that_cannot_be_read_is_told_and_tried_again(world):
    provider, user = world.peer(1, cpus=2), a_user(world)
    user.environment = {}
    job = place(user, wanted())
    [told] = user.told(SecretsAwaited)
    assert told.reason == "no TOKEN"
    assert provider.running == []

    user.environment = {"TOKEN": MARKER}
    world.run(for_s=AGAIN_S)
    assert provider.jobs[job].state is State.RUNNING


def test_an_attempt_elsewhere_gets_secrets_of_its_own(world):
    first, user = world.peer(1, cpus=2), a_user(world)
    place(user, wanted(retry=Retry(attempts=2)))
    before = first.running[0].secrets
    second = world.peer(2, cpus=2)
    first.kill()
    world.run(for_s=3 * LOST_AFTER_S)
    [order] = second.running
    assert order.attempt == 2
    assert order.secrets != before
    assert opened(second, order) == {"TOKEN": MARKER}


def test_an_attempt_that_the_provider_begins_itself_gets_secrets_of_its_own(world):
    provider, user = world.peer(1, cpus=2), a_user(world)
    retry = Retry(attempts=2, on=(RetryCause.FAILED,))
    place(user, wanted(retry=retry))
    provider.finish(exit_code=1)
    provider.store()
    [order] = provider.running
    assert order.attempt == 2
    assert opened(provider, order) == {"TOKEN": MARKER}
    assert [each.attempt for each in user.sealed] == [1, 2]


def test_a_provider_that_went_down_before_the_start_is_given_them_again(world):
    provider, user = world.peer(1, cpus=1), a_user(world)
    other = place(user, spec(), salt=b"o" * 16)
    job = place(user, wanted())
    assert provider.jobs[job].state is State.QUEUED
    provider.kill()
    provider.restart()
    # Whoever waits for it watches again, and hears what it lacks.
    world.run(for_s=60)
    assert provider.jobs[other].ended
    [order] = provider.running
    assert (order.job, opened(provider, order)) == (job, {"TOKEN": MARKER})


def test_a_submitter_that_restarted_reads_them_anew(world):
    provider, user = world.peer(1, cpus=2), a_user(world)
    user.environment = {}
    job = place(user, wanted())
    user.kill()
    user.environment = {"TOKEN": MARKER}
    user.restart()
    user.give(ins.FollowWanted(job=job))
    world.run(for_s=2)
    assert opened(provider, provider.running[0]) == {"TOKEN": MARKER}


def test_a_job_is_not_offered_where_secrets_cannot_be_handed(world):
    world.peer(1, cpus=2, engines=("python",))
    user = a_user(world)
    job = place(user, spec(engine="python", secrets=("TOKEN",)))
    assert user.orders[job].state is State.REFUSED
    assert "with secrets is offered by none" in user.orders[job].reason
    assert user.sealed == []


def test_who_may_only_submit_within_limits_hands_over_what_it_submits(world):
    provider = world.peer(1, cpus=2)
    user = world.peer(9)
    chain = link(
        COLD, user.user, command=SUBMIT, policy=(("<=", ".spec.timeouts.run_s", 60),)
    )
    user.holdings.add([chain])
    user.environment = {"TOKEN": MARKER}
    world.run(for_s=1)
    job = place_for(user, COLD, wanted(timeouts=Timeouts(run_s=60)))
    [order] = provider.running
    assert (order.job, order.owner) == (job, COLD.did)
    assert opened(provider, order) == {"TOKEN": MARKER}


def test_jobs_of_one_kind_at_two_providers_are_sealed_to_each(world):
    first, second = world.peer(1, cpus=1), world.peer(2, cpus=1)
    user = a_user(world)
    place(user, wanted(), salt=b"1" * 16)
    place(user, wanted(), salt=b"2" * 16)
    for provider in (first, second):
        [order] = provider.running
        assert opened(provider, order) == {"TOKEN": MARKER}
    assert {each.provider for each in user.sealed} == {first.did, second.did}


def test_a_cancelled_job_hands_nothing_over(world):
    provider, user = world.peer(1, cpus=2), a_user(world)
    user.environment = {}
    job = place(user, wanted())
    user.give(ins.CancelWanted(job=job))
    world.run()
    user.environment = {"TOKEN": MARKER}
    world.run(for_s=2 * AGAIN_S)
    assert user.orders[job].state is State.CANCELLED
    assert provider.running == []
    assert len(user.sealed) == 1
