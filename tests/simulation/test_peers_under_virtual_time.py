"""Races of whole peers, seed by seed: cancelling, being killed, draining, not reading."""

import pytest
import trio

from nunet_node.jobs.lifecycle import State
from nunet_node.protocol.inputs import CancelWanted
from tests.simulation.virtual_peers import RUN_S, ended, play, spec


async def several(city, jobs=4):
    async with city.provider("one"), city.provider("two"), city.user() as user:
        placed = [await user.place(spec(number)) for number in range(jobs)]
        orders = [await ended(user, job) for job in placed]
    return [order.state for order in orders], tuple(city.trace)


@pytest.mark.parametrize("seed", range(4))
def test_every_job_completes_under_any_schedule(tmp_path, seed):
    states, _ = play(several, tmp_path, seed=seed)
    assert states == [State.COMPLETED] * 4


def test_a_seed_gives_one_course_of_events_and_others_give_others(tmp_path):
    traces = [
        play(several, tmp_path / str(number), seed=seed)[1]
        for number, seed in enumerate((1, 1, 2))
    ]
    assert traces[0] == traces[1]
    assert traces[0] != traces[2]


async def looked_twice(city):
    async with city.provider(), city.client() as client:
        before = await client.nodes()
        await trio.sleep(600)
        return before, await client.nodes()


def test_a_client_that_lives_long_asks_again_who_is_there(tmp_path):
    before, after = play(looked_twice, tmp_path, seed=1)
    assert [node["did"] for node in before] == [node["did"] for node in after]
    assert len(after) == 1


async def cancelled_at(city, moment_s):
    async with city.provider() as provider, city.user() as user:
        job = await user.place(spec(1))
        await trio.sleep(moment_s)
        await user.tell(CancelWanted(job=job))
        order = await ended(user, job)
        with trio.fail_after(100):
            while not all(kept.ended for kept in provider.jobs.values()):
                await trio.sleep(0.5)
        kept = [held.state for held in provider.jobs.values()]
        return order, kept, city.backends["provider"].running


@pytest.mark.parametrize("moment_s", [0, RUN_S - 0.000001, RUN_S, RUN_S + 0.000001])
@pytest.mark.parametrize("seed", range(3))
def test_a_cancel_that_races_with_the_end_has_one_outcome(tmp_path, seed, moment_s):
    order, kept, running = play(cancelled_at, tmp_path, moment_s, seed=seed)
    assert order.state in (State.CANCELLED, State.COMPLETED)
    assert kept in ([order.state], [])
    assert not running


async def killed_at(city, moment_s):
    async with trio.open_nursery() as nursery:
        scope = await nursery.start(_doomed, city)
        async with city.user() as user:
            job = await user.place(spec(1))
            await trio.sleep(moment_s)
            scope.cancel()
            await trio.sleep(1)
            async with city.provider() as provider:
                order = await ended(user, job)
                kept = [held.ended for held in provider.jobs.values()]
        nursery.cancel_scope.cancel()
    return order, kept


async def _doomed(city, *, task_status):
    with trio.CancelScope() as scope:
        async with city.provider():
            task_status.started(scope)
            await trio.sleep_forever()


@pytest.mark.parametrize("moment_s", [0, 0.01, 1, RUN_S, RUN_S + 0.01])
def test_a_peer_that_is_killed_at_any_moment_goes_on_from_its_disk(tmp_path, moment_s):
    order, kept = play(killed_at, tmp_path, moment_s, seed=1)
    assert order.ended
    assert all(kept)


async def drained(city, moment_s, grace_s):
    async with city.provider(drain_s=grace_s) as provider, city.user() as user:
        job = await user.place(spec(1))
        await trio.sleep(moment_s)
        await provider.drain()
        kept = [held.state for held in provider.jobs.values()]
        return await ended(user, job), kept


@pytest.mark.parametrize(
    ("moment_s", "grace_s", "state"),
    [(1, 60, State.COMPLETED), (1, 1, None), (1, RUN_S - 1, None), (RUN_S, 0, None)],
)
@pytest.mark.parametrize("seed", range(2))
def test_a_drain_lets_a_job_end_or_ends_it_whatever_falls_together(
    tmp_path, seed, moment_s, grace_s, state
):
    order, kept = play(drained, tmp_path, moment_s, grace_s, seed=seed)
    assert order.ended
    assert state in (None, order.state)
    assert order.state in kept or not kept


async def unread(city, jobs=6):
    async with city.provider("one") as provider, city.user() as user:
        # Nobody ever reads these, and nothing may wait for it.
        ignored = [provider.subscribe(), user.subscribe()]
        placed = [await user.place(spec(number)) for number in range(jobs)]
        states = [(await ended(user, job)).state for job in placed]
        return states, len(ignored)


def test_whoever_does_not_read_the_news_holds_nobody_up(tmp_path):
    states, _ = play(unread, tmp_path, seed=1)
    assert states == [State.COMPLETED] * 6
