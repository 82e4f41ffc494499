"""A key that is elsewhere: the node asks for signatures, and waits for none of them."""

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import (
    Challenged,
    CommandRefused,
    OrderAccepted,
    ProviderUnreachable,
    ReportReceived,
    SignatureWanted,
)
from nunet_node.protocol.messages import CANCEL, STATUS, SUBMIT, WATCH
from nunet_node.protocol.requester.errands import ERRAND_S
from nunet_node.protocol.requester.pursuing import SIGN_AGAIN_S
from nunet_node.protocol.signing.events import (
    SIGN_S,
    SIGNER_FAILED,
    SignatureMade,
)
from tests.unit.protocol.world import World, place, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def provider(world):
    return world.peer(1, cpus=2)


@pytest.fixture
def user(world, provider):
    user = world.peer(2, absent=True)
    world.run(for_s=1)
    return user


def wanted(user):
    return [news.command for news in user.told(SignatureWanted)]


def commanded(user):
    return [news.command for news in user.told(Challenged)]


def errands_of(user):
    return user.node._requester.memory.errands


def test_a_job_goes_through_once_its_signatures_come(world, provider, user):
    job = place(user, spec())
    assert (wanted(user), commanded(user)) == ([SUBMIT], [])
    assert provider.jobs == {}

    user.sign()
    assert commanded(user) == [SUBMIT]
    assert user.told(OrderAccepted)
    provider.finish()
    provider.store()

    assert user.orders[job].state is State.COMPLETED
    assert errands_of(user) == {}


def test_nothing_times_out_while_a_person_takes_their_time(world, provider, user):
    job = place(user, spec())
    world.run(for_s=SIGN_S)
    assert not user.told(ProviderUnreachable)

    user.sign()
    assert user.orders[job].state is State.RUNNING


def test_another_job_and_another_question_go_on_meanwhile(world, provider, user):
    quick = world.peer(3)
    place(user, spec())
    mine = place(quick, spec())
    quick.give(ins.ReportWanted(job=mine))
    world.run()

    assert quick.told(ReportReceived)
    assert len(user.asked) == 1


def test_who_does_not_sign_submits_nothing(world, provider, user):
    job = place(user, spec())
    user.decline("no finger on the button")

    order = user.orders[job]
    assert order.state is State.REFUSED
    assert "no finger on the button" in order.reason
    (told,) = user.told(CommandRefused)
    assert (told.refusal.code, told.provider) == (SIGNER_FAILED, "")
    assert provider.jobs == {}
    assert errands_of(user) == {}


def test_who_does_not_sign_a_question_hears_no_answer_and_loses_nothing(
    world, provider, user
):
    job = place(user, spec())
    user.sign()
    user.give(ins.ReportWanted(job=job))
    world.run()
    user.decline()

    assert user.told(CommandRefused)[-1].command == STATUS
    assert user.orders[job].state is State.RUNNING
    assert not user.told(ReportReceived)


def test_a_custodian_is_not_silent_because_nobody_signs(world, provider, user):
    job = place(user, spec())
    user.sign()
    world.cut(provider, user)
    world.run(for_s=2)
    for _ in range(3):
        assert wanted(user)[-1] == WATCH
        user.decline()
        assert user.asked == []
        world.run(for_s=SIGN_AGAIN_S + 1)

    assert user.orders[job].state is State.RUNNING
    assert not any(news.lost for news in user.told(ProviderUnreachable))
    user.sign()
    provider.finish()
    provider.store()
    assert user.orders[job].state is State.COMPLETED


def test_a_cancel_before_the_signature_needs_none(world, provider, user):
    job = place(user, spec())
    user.give(ins.CancelWanted(job=job))
    world.run()

    assert user.orders[job].state is State.CANCELLED
    assert (user.asked, provider.jobs, errands_of(user)) == ([], {}, {})


def test_a_cancel_after_it_is_signed_like_any_command(world, provider, user):
    job = place(user, spec())
    user.sign()
    user.give(ins.CancelWanted(job=job))
    world.run()
    assert wanted(user) == [SUBMIT, CANCEL]
    user.sign()

    assert user.orders[job].state is State.CANCELLED


def test_a_cancel_does_not_stand_in_line_behind_the_watching(world, provider, user):
    job = place(user, spec())
    user.sign()
    world.cut(provider, user)
    world.run(for_s=2)
    assert wanted(user)[-1] == WATCH

    user.give(ins.CancelWanted(job=job))
    world.run()
    assert (wanted(user)[-1], len(user.asked)) == (CANCEL, 1)
    user.sign()
    assert user.orders[job].confirmation.state is State.CANCELLED
    user.sign()
    assert user.orders[job].state is State.CANCELLED


def test_a_person_is_asked_for_one_signature_at_a_time(world, provider, user):
    jobs = [place(user, spec(), salt=bytes([n]) * 16) for n in range(3)]
    for _ in jobs:
        assert len(user.asked) == 1
        # What waits its turn is challenged only then, so its challenge is fresh.
        world.run(for_s=SIGN_S)
        user.sign()

    assert user.asked == []
    assert set(provider.jobs) == set(jobs)
    assert len(user.told(OrderAccepted)) >= len(jobs)


def test_the_next_is_asked_for_when_one_is_declined(world, provider, user):
    first = place(user, spec())
    second = place(user, spec(), salt=b"t" * 16)
    user.decline()
    user.sign()

    assert user.orders[first].state is State.REFUSED
    assert second in provider.jobs


def test_a_connection_that_breaks_lets_the_signer_go(world, provider, user):
    place(user, spec())
    world.part(provider, user)
    world.run()
    assert user.asked == []


def test_a_signature_that_comes_too_late_does_nothing(world, provider, user):
    job = place(user, spec())
    (asked,) = user.asked
    user.give(ins.CancelWanted(job=job))
    signature = user.user.sign(asked.message)
    user.give(SignatureMade(errand=asked.errand, signature=signature))
    world.run()

    assert user.orders[job].state is State.CANCELLED
    assert provider.jobs == {}


def test_a_full_disk_lets_the_signer_go_and_asks_anew(world, provider, user):
    job = place(user, spec())
    user.disk_full = True
    user.give(
        ins.CustodianNamed(
            job="a" * 32, provider=provider.did, peer_id="", addresses=()
        )
    )
    user.disk_has_room()
    world.run(for_s=ERRAND_S)
    assert len(user.asked) == 1
    user.sign()
    assert user.orders[job].state is State.RUNNING


def test_what_was_not_signed_before_a_crash_is_asked_for_again(world, provider, user):
    job = place(user, spec())
    user.kill()
    user.restart()
    user.give(ins.FollowWanted(job=job))
    world.run()
    user.sign()
    assert job in provider.jobs


def test_copies_are_allowed_by_a_signature_of_their_own(world, provider, user):
    holder = world.peer(4, cpus=1, store_bytes=1 << 30)
    world.run(for_s=1)
    job = place(user, spec(replicas=1, cpus=2))
    assert commanded(user) == []
    user.sign()
    assert commanded(user) == []
    user.sign()
    assert commanded(user) == [SUBMIT]
    provider.finish()
    provider.store()
    world.run(for_s=5)
    assert user.orders[job].state is State.COMPLETED
    assert holder.node.replicas


def test_copies_that_nobody_allows_are_no_reason_to_submit(world, provider, user):
    job = place(user, spec(replicas=1))
    user.decline()
    assert user.orders[job].state is State.REFUSED
    assert provider.jobs == {}
