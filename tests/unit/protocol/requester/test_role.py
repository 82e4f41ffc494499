"""What a user of the home asks for, and what comes of it."""

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.statements import Receipt
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import (
    CancelConfirmed,
    CommandRefused,
    LogsGranted,
    ProviderUnreachable,
    ReadGranted,
    ReportReceived,
    Send,
)
from tests.unit.protocol.world import OUTPUT, World, place, spec


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


def follow_link(world, number, user, provider, job, *, owner):
    """Return another home that was told where the job is."""
    home = world.peer(number)
    if owner:
        home.user = user.user
        home.boot_node()
        home.start()
    named = ins.CustodianNamed(
        job=job,
        provider=provider.did,
        peer_id=provider.peer_id,
        addresses=("/memory/x",),
    )
    home.give(named)
    return home


def test_a_report_is_told(user, provider, world):
    job = place(user, spec())
    user.give(ins.ReportWanted(job=job))
    world.run()

    (told,) = user.told(ReportReceived)
    assert (told.job, told.provider) == (job, provider.did)
    assert told.report.state is State.RUNNING


def test_a_result_is_granted_and_where_it_was_written_is_kept(user, provider, world):
    job = place(user, spec())
    provider.finish()
    provider.store()
    user.give(ins.ReadWanted(job=job))
    world.run()

    (told,) = user.told(ReadGranted)
    assert isinstance(told.receipt, Receipt)
    assert (told.receipt.result, told.peer_id) == (OUTPUT, provider.peer_id)
    assert told.receipt_data == provider.jobs[job].receipt

    user.give(ins.ResultWritten(job=job, path="here"))
    assert user.orders[job].fetched_to == "here"


def test_logs_are_granted(user, provider, world):
    job = place(user, spec())
    user.give(ins.LogsWanted(job=job))
    world.run()

    (told,) = user.told(LogsGranted)
    assert (told.job, told.peer_id, told.attempt) == (job, provider.peer_id, 1)


def test_before_the_end_a_read_says_what_the_state_is(user, world):
    job = place(user, spec())
    user.give(ins.ReadWanted(job=job))
    world.run()

    (told,) = user.told(CommandRefused)
    assert told.refusal.code == "result.none"
    assert "running" in told.refusal.reason


def test_an_unreachable_custodian_is_told(user, provider, world):
    job = place(user, spec())
    provider.kill()
    user.give(ins.ReportWanted(job=job))
    world.run()

    assert user.told(ProviderUnreachable)


def test_the_owner_finds_the_job_from_another_home(user, provider, world):
    job = place(user, spec())
    home = follow_link(world, 3, user, provider, job, owner=True)
    home.give(ins.FollowWanted(job=job))
    world.run()
    assert home.orders[job].state is State.RUNNING
    assert home.orders[job].owner == user.user.did

    home.give(ins.CancelWanted(job=job))
    world.run()

    assert home.orders[job].state is State.CANCELLED
    assert user.orders[job].state is State.CANCELLED
    assert len(home.told(CancelConfirmed)) == 1


def test_another_home_that_watches_takes_up_a_broken_connection(user, provider, world):
    job = place(user, spec())
    home = follow_link(world, 3, user, provider, job, owner=True)
    home.give(ins.FollowWanted(job=job))
    world.run()
    world.cut(home, provider)
    world.run(for_s=10)

    provider.finish()
    provider.store()

    assert home.orders[job].state is State.COMPLETED


@pytest.mark.parametrize(
    "wish", [ins.FollowWanted, ins.ReportWanted, ins.ReadWanted, ins.CancelWanted]
)
def test_a_stranger_with_the_link_is_refused_and_keeps_no_state(
    user, provider, world, wish
):
    job = place(user, spec())
    stranger = follow_link(world, 3, user, provider, job, owner=False)
    stranger.give(wish(job=job))
    world.run(for_s=20)

    codes = [n.refusal.code for n in stranger.told(CommandRefused)]
    assert codes == ["job.unknown"]
    assert provider.jobs[job].state is State.RUNNING
    assert stranger.orders[job].state is State.QUEUED


def test_a_link_cannot_move_an_order_that_was_placed_here(user, provider, world):
    other = world.peer(3, cpus=2)
    job = place(user, spec())
    before = user.orders[job]
    named = ins.CustodianNamed(
        job=job, provider=other.did, peer_id=other.peer_id, addresses=()
    )

    user.give(named)
    user.give(ins.FollowWanted(job=job))
    world.run(for_s=5)

    assert user.orders[job] == before
    assert other.jobs == {}


def test_a_cancel_that_is_confirmed_elsewhere_brings_the_last_notices_too(
    user, provider, world
):
    job = place(user, spec())
    user.kill()
    user.restart()

    user.give(ins.CancelWanted(job=job))
    world.run()

    assert user.orders[job].state is State.CANCELLED
    assert user.orders[job].notice.sequence == len(provider.jobs[job].notices)


def test_an_order_that_has_a_provider_is_not_begun_again_by_an_advert(
    user, provider, world
):
    job = place(user, spec())
    provider.finish(exit_code=None)
    user.node._requester.memory.pursuits[job].discovery_ends_ns = 1
    world.watch = lambda peer, e: asked.append(e) if peer is user else None
    asked = []

    provider.give(ins.AddressesChanged(addresses=("/memory/new",)))
    world.run(for_s=1)

    assert [e for e in asked if isinstance(e, Send)] == []
