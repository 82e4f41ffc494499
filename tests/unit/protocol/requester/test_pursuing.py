"""Driving an order to its end, whatever the provider and the network do."""

import msgspec
import pytest

from nunet_node.identity.statement import Statement
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Retry, Timeouts
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import (
    CancelConfirmed,
    CommandRefused,
    JobMovedHere,
    OrderAccepted,
    OrderChanged,
    ProviderUnreachable,
)
from nunet_node.protocol.facts import JobMoved
from nunet_node.protocol.messages import WATCH, Invoke
from nunet_node.protocol.requester.memory import LOST_AFTER_S
from tests.unit.protocol.world import INPUT, World, place, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2)


@pytest.fixture
def user(world, provider):
    user = world.peer(2)
    world.run(for_s=1)
    return user


def drop_answer_to_submit(world, provider, user):
    """Break the connection once, just as the provider has accepted."""

    def watch(peer, effect):
        news = getattr(effect, "news", None)
        if isinstance(news, JobMovedHere) and peer is provider:
            world.watch = None
            world.part(provider, user)

    world.watch = watch


def test_notices_that_were_missed_come_in_order_and_once(world, provider, user):
    job = place(user, spec())
    world.part(provider, user)
    provider.finish()
    provider.store()
    world.run(for_s=5)
    assert user.orders[job].state is State.RUNNING

    world.heal()
    world.run(for_s=10)

    told = [
        n.notice.sequence
        for n in user.told(OrderChanged)
        if n.job == job and n.notice is not None
    ]
    assert told == [1, 2, 3, 4, 5]
    assert user.orders[job].state is State.COMPLETED


def test_an_owner_who_was_away_hears_all_with_the_next_command(world, provider, user):
    job = place(user, spec())
    user.kill()
    provider.finish()
    provider.store()
    user.restart()
    assert user.orders[job].state is State.RUNNING

    user.give(ins.FollowWanted(job=job))
    world.run()

    assert user.orders[job].state is State.COMPLETED


def test_every_order_of_a_broken_connection_is_taken_up_again(world, provider, user):
    jobs = [place(user, spec(), bytes([n]) * 16) for n in (1, 2)]
    user.give(ins.ReportWanted(job=jobs[0]))
    world.cut(provider, user)
    world.run(for_s=10)
    while provider.running:
        provider.finish()
    while provider.storing:
        provider.store()

    assert {user.orders[j].state for j in jobs} == {State.COMPLETED}


def test_a_provider_whose_acceptance_was_not_heard_is_asked_again_and_nobody_else(
    world, provider, user
):
    other = world.peer(3, cpus=2, price=9)
    world.run(for_s=1)
    drop_answer_to_submit(world, provider, user)
    job = place(user, spec())
    world.run(for_s=20)
    assert user.orders[job].award.accepted is None
    assert other.jobs == {}

    world.heal()
    world.run(for_s=10)

    assert user.orders[job].state is State.RUNNING
    assert len(provider.running) == 1
    assert other.jobs == {}


def test_nor_is_it_forgotten_over_a_restart_of_the_submitter(world, provider, user):
    other = world.peer(3, cpus=2, price=9)
    world.run(for_s=1)
    drop_answer_to_submit(world, provider, user)
    job = place(user, spec())
    user.kill()
    user.restart()
    user.give(ins.FollowWanted(job=job))
    world.run(for_s=20)
    assert other.jobs == {}

    world.heal()
    world.run(for_s=10)

    assert user.orders[job].state is State.RUNNING
    assert len(provider.running) == 1
    assert other.jobs == {}


def test_an_unheard_provider_that_is_lost_costs_an_attempt(world, provider, user):
    other = world.peer(3, cpus=2, price=9)
    world.run(for_s=1)
    drop_answer_to_submit(world, provider, user)
    job = place(user, spec(retry=Retry(attempts=2)))
    world.run(for_s=LOST_AFTER_S + 20)

    assert [j.attempt for j in other.jobs.values()] == [2]
    assert user.orders[job].award.provider == other.did
    assert user.orders[job].state is State.RUNNING


def test_a_provider_that_cannot_be_reached_at_all_is_passed_over(world, provider, user):
    other = world.peer(3, cpus=2, price=9)
    world.run(for_s=1)
    world.part(provider, user)

    job = place(user, spec())
    world.run(for_s=5)

    assert user.orders[job].award.provider == other.did
    assert user.orders[job].award.attempt == 1


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_lost_provider_is_replaced_only_if_the_owner_allows(
    world, provider, user, attempts
):
    other = world.peer(3, cpus=2, price=9)
    world.run(for_s=1)
    job = place(user, spec(retry=Retry(attempts=attempts)))
    assert user.orders[job].award.provider == provider.did
    provider.kill()
    world.run(for_s=LOST_AFTER_S - 5)
    assert other.jobs == {}, "silence is not lost"

    world.run(for_s=30)

    assert any(n.lost for n in user.told(ProviderUnreachable))
    order = user.orders[job]
    if attempts == 1:
        assert order.award.provider == provider.did
        assert order.state is State.RUNNING
    else:
        assert (order.award.provider, order.award.attempt) == (other.did, 2)
        assert order.state is State.RUNNING


def test_the_notices_of_the_old_provider_are_not_believed_after_that(
    world, provider, user
):
    other = world.peer(3, cpus=2, price=9)
    world.run(for_s=1)
    job = place(user, spec(retry=Retry(attempts=2)))
    world.part(provider, user)
    world.run(for_s=LOST_AFTER_S + 20)
    assert user.orders[job].award.provider == other.did
    before = user.orders[job]

    provider.finish()
    provider.store()
    world.heal()
    world.run(for_s=30)

    assert provider.jobs[job].state is State.COMPLETED
    assert user.orders[job] == before


def test_silence_beyond_the_lease_is_lost(world, provider, user):
    job = place(user, spec(timeouts=Timeouts(run_s=5, queue_s=5)))
    provider.kill()
    world.run(for_s=spec(timeouts=Timeouts(run_s=5, queue_s=5)).lease_s - 10)
    assert user.orders[job].state is State.RUNNING

    world.run(for_s=30)

    assert user.orders[job].state is State.LOST
    assert "lease" in user.orders[job].reason


def test_what_comes_after_the_order_was_given_up_changes_nothing(world, provider, user):
    timeouts = Timeouts(run_s=5, queue_s=5)
    job = place(user, spec(timeouts=timeouts))
    world.part(provider, user)
    world.run(for_s=spec(timeouts=timeouts).lease_s + 20)
    assert user.orders[job].state is State.LOST

    world.heal()
    provider.finish()
    provider.store()
    user.give(ins.FollowWanted(job=job))
    world.run(for_s=20)

    assert user.orders[job].state is State.LOST


@pytest.mark.parametrize("while_away", ["running", "ended"])
def test_a_cancel_that_cannot_reach_the_provider_is_tried_until_it_does(
    world, provider, user, while_away
):
    job = place(user, spec())
    world.part(provider, user)
    user.give(ins.CancelWanted(job=job))
    world.run(for_s=20)
    assert user.orders[job].confirmation is None
    assert user.told(ProviderUnreachable)
    if while_away == "ended":
        provider.finish()
        provider.store()

    world.heal()
    world.run(for_s=20)

    said = user.orders[job].confirmation
    assert said.already_ended == (while_away == "ended")
    assert user.orders[job].state is said.state is provider.jobs[job].state
    assert len(user.told(CancelConfirmed)) == 1


def test_a_cancel_is_kept_over_a_crash_of_the_submitter(world, provider, user):
    job = place(user, spec())
    world.part(provider, user)
    user.give(ins.CancelWanted(job=job))
    world.run(for_s=2)
    user.kill()
    user.restart()
    world.heal()

    user.give(ins.FollowWanted(job=job))
    world.run(for_s=10)

    assert provider.jobs[job].state is State.CANCELLED
    assert user.orders[job].state is State.CANCELLED


def test_a_cancel_before_any_provider_had_it_ends_the_order(world):
    user = world.peer(2)
    job = place(user, spec())
    user.give(ins.CancelWanted(job=job))
    world.run(for_s=1)
    assert user.orders[job].state is State.CANCELLED

    provider = world.peer(1, cpus=2)
    world.run(for_s=30)

    assert provider.jobs == {}


def test_a_cancel_between_the_bids_and_the_acceptance_wins(world, provider, user):
    seen = []

    def watch(peer, effect):
        # As the user hears of the challenge it has signed the submit already.
        if peer is user and type(effect).__name__ == "Tell":
            name = type(effect.news).__name__
            if name == "Challenged" and not seen:
                seen.append(name)
                world.later(0, user, ins.CancelWanted(job=effect.news.job))

    world.watch = watch
    job = place(user, spec())
    world.run(for_s=5)

    assert seen
    assert user.orders[job].state is State.CANCELLED
    assert provider.running == []
    assert provider.reserved().cpu_millis == 0


def test_a_cancel_of_a_job_that_the_provider_never_got_ends_the_order(
    world, provider, user
):
    def lose_the_invocation(peer, effect):
        if peer is user and b"\x6ainvocation" in getattr(effect, "data", b""):
            world.watch = None
            world.part(provider, user)

    world.watch = lose_the_invocation
    job = place(user, spec())
    assert provider.jobs == {}
    user.give(ins.CancelWanted(job=job))
    world.heal()
    world.run(for_s=20)

    assert user.orders[job].state is State.CANCELLED
    assert provider.jobs == {}
    assert Invoke


def test_a_refused_submit_of_a_cancelled_order_goes_to_nobody_else(
    world, provider, user
):
    other = world.peer(3, cpus=2, price=9)
    world.run(for_s=1)
    provider.give(ins.StoreFilled(full=True))

    def cancel(peer, effect):
        if getattr(getattr(effect, "news", None), "provider", "") == provider.did:
            world.watch = None
            world.later(0, user, ins.CancelWanted(job=effect.news.job))

    world.watch = cancel
    job = place(user, spec())
    world.run(for_s=20)

    assert user.orders[job].state is State.CANCELLED
    assert other.running == []


def test_cancelling_twice_and_after_the_end_says_so(world, provider, user):
    job = place(user, spec())
    for _ in range(2):
        user.give(ins.CancelWanted(job=job))
        world.run()
    assert len(user.told(CancelConfirmed)) == 1
    before = user.orders[job]

    user.give(ins.CancelWanted(job=job))
    world.run()

    assert user.orders[job] == before
    assert before.state is State.CANCELLED


def test_an_order_placed_twice_is_one(world, provider, user):
    job = place(user, spec())
    again = place(user, spec())

    assert again == job
    assert len(provider.jobs) == len(provider.running) == 1


def test_inputs_that_could_not_be_handed_over_are_handed_over_later(
    world, provider, user
):
    world._deliver = lambda peer, effect: world.later(
        0,
        peer,
        ins.InputsNotDelivered(job=effect.job, attempt=effect.attempt, reason="cut"),
    )
    job = place(user, spec(inputs=INPUT))
    world.run(for_s=3)
    assert not user.orders[job].award.inputs_handed
    del world._deliver

    world.run(for_s=10)

    assert user.orders[job].state is State.RUNNING
    assert [n.staged for n in user.told(OrderAccepted)][-1]


def test_a_provider_that_forgot_the_job_has_lost_it(world, provider, user):
    job = place(user, spec())
    provider.kill()
    provider.journal.clear()
    provider.seen.clear()
    provider.restart()
    world.run(for_s=20)

    assert user.orders[job].state is State.LOST
    assert [r.refusal.code for r in user.told(CommandRefused)] == ["job.unknown"]


def brought_back(provider, *, before):
    """Bring a provider's home back from a copy of before a job came to that state."""
    older = [
        number
        for number, fact in enumerate(provider.journal)
        if isinstance(fact, JobMoved) and fact.state is before
    ]
    provider.kill()
    del provider.journal[older[0] :]
    provider.restart()


def test_a_provider_that_tells_less_than_before_has_lost_the_job(world, provider, user):
    job = place(user, spec())
    assert user.orders[job].state is State.RUNNING
    brought_back(provider, before=State.STARTING)
    world.run(for_s=20)
    order = user.orders[job]
    assert order.state is State.LOST
    assert "contradicts what it told before" in order.reason


def test_a_job_that_its_provider_tells_in_two_ways_goes_elsewhere_if_it_may(
    world, provider, user
):
    job = place(user, spec(retry=Retry(attempts=2, on=("lost",))))
    other = world.peer(3, cpus=2)
    brought_back(provider, before=State.STARTING)
    world.run(for_s=20)
    order = user.orders[job]
    assert (order.award.provider, order.attempt) == (other.did, 2)
    assert order.state is State.RUNNING
    assert any("contradicts" in move.reason for move in order.history)
    sessions = user.told(OrderChanged)
    assert len(sessions) < 40


def test_a_cancel_is_confirmed_by_a_provider_that_was_brought_back(
    world, provider, user
):
    job = place(user, spec())
    brought_back(provider, before=State.STARTING)
    user.give(ins.CancelWanted(job=job))
    world.run(for_s=20)
    order = user.orders[job]
    assert order.confirmation is not None
    assert order.ended


def contradiction(user, provider, job):
    """Return another notice of the newest number, as its custodian would say it."""
    order = user.orders[job]
    said = Statement(
        issuer=provider.did,
        audience=user.user.did,
        issued_at_s=1,
        expires_at_s=2,
        cti=b"c" * 16,
        domain=b"",
        payload=msgspec.structs.replace(order.notice, reason="another"),
        data=b"another",
    )
    session = user.node._requester.memory.links[provider.peer_id]
    return ins.FrameReceived(session=session, frame=999, re=None, body=said)


def hold_answers(world, provider, *, after):
    """Hold back what a provider sends, but for the first frames; return what is."""
    held, sent, send = [], [], world._send

    def late(peer, effect):
        sent.extend([effect] if peer is provider else [])
        kept = peer is provider and len(sent) > after
        held.append(effect) if kept else send(peer, effect)

    world._send = late
    return held


def asked_of(user, command):
    """Return which question waits for such a command, and whom it was put to."""
    memory = user.node._requester.memory
    return [
        (question, memory.errands[about].provider)
        for question, (kind, about) in memory.questions.items()
        if kind == "errand"
        and about in memory.errands
        and memory.errands[about].command == command
    ]


@pytest.mark.parametrize("late", ["report", "unknown"])
def test_what_a_custodian_answers_after_the_order_left_it_counts_for_nothing(
    world, provider, user, late
):
    job = place(user, spec(retry=Retry(attempts=2)))
    other = world.peer(3, cpus=2)
    held = hold_answers(world, provider, after=1)
    user.give(contradiction(user, provider, job))
    world.run()
    ((asked, whom),) = asked_of(user, WATCH)
    assert (whom, len(held)) == (provider.did, 1)
    user.give(contradiction(user, provider, job))
    world.run(for_s=5)
    before = user.orders[job]
    assert (before.award.provider, before.attempt) == (other.did, 2)
    assert before.state is State.RUNNING

    del world._send
    if late == "report":
        world._send(provider, held[0])
    else:
        session, frame = asked
        user.give(
            ins.FrameRejected(
                session=session, frame=1, re=frame, code="job.unknown", reason="none"
            )
        )
    world.run(for_s=5)

    assert user.orders[job] == before
    other.finish()
    other.store()
    assert user.orders[job].state is State.COMPLETED


def test_the_next_custodian_is_asked_while_the_last_one_owes_an_answer(
    world, provider, user
):
    job = place(user, spec(retry=Retry(attempts=2)))
    other = world.peer(3, cpus=2)
    hold_answers(world, provider, after=1)
    for _ in range(2):
        user.give(contradiction(user, provider, job))
        world.run(for_s=1)
    assert user.orders[job].award.provider == other.did

    user.give(contradiction(user, other, job))

    assert [whom for _, whom in asked_of(user, WATCH)] == [other.did]


def following(world, user, provider, job):
    """Return another home of the same user, which follows the job by its link."""
    home = world.peer(5)
    home.user = user.user
    home.boot_node()
    home.start()
    home.give(named_by_link(provider, job))
    home.give(ins.FollowWanted(job=job))
    return home


def named_by_link(provider, job):
    return ins.CustodianNamed(
        job=job,
        provider=provider.did,
        peer_id=provider.peer_id,
        addresses=("/memory/x",),
    )


def test_a_job_followed_by_its_link_is_lost_by_a_contradiction_as_well(
    world, provider, user
):
    job = place(user, spec())
    home = following(world, user, provider, job)
    world.run(for_s=1)
    assert home.orders[job].state is State.RUNNING
    brought_back(provider, before=State.STARTING)
    world.run(for_s=20)

    assert home.orders[job].spec is None
    assert home.orders[job].state is State.LOST
    assert "contradicts what it told before" in home.orders[job].reason
    assert job not in home.node._requester.memory.pursuits


def test_a_link_to_another_custodian_is_followed_though_the_last_one_owes_an_answer(
    world, provider, user
):
    other = world.peer(3, cpus=2, price=9)
    job = place(user, spec())
    hold_answers(world, provider, after=0)
    home = following(world, user, provider, job)
    world.run()
    assert [whom for _, whom in asked_of(home, WATCH)] == [provider.did]

    home.give(named_by_link(other, job))
    home.give(ins.FollowWanted(job=job))
    world.run()

    assert provider.did not in [whom for _, whom in asked_of(home, WATCH)]
    codes = [(n.provider, n.refusal.code) for n in home.told(CommandRefused)]
    assert codes == [(other.did, "job.unknown")]


def test_a_link_to_the_next_custodian_is_no_contradiction_of_the_last_one(
    world, provider, user
):
    other = world.peer(3, cpus=2, price=9)
    world.run(for_s=1)
    job = place(user, spec(retry=Retry(attempts=2)))
    home = following(world, user, provider, job)
    world.run(for_s=1)
    provider.kill()
    world.run(for_s=LOST_AFTER_S + 20)
    home.give(named_by_link(other, job))
    home.give(ins.FollowWanted(job=job))
    world.run()
    assert home.orders[job].notice.attempt == 2

    other.finish()
    other.store()

    assert home.orders[job].state is State.COMPLETED
