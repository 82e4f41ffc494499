"""Cancellation, back-pressure and timer races in the real shell, seed by seed."""

import pytest
import trio

from nunet_node.jobs.lifecycle import State
from nunet_node.network.memory import MemoryNetwork
from nunet_node.protocol.inputs import NeighbourFound
from nunet_node.runtime.clock import Clock, Timers
from nunet_node.runtime.driver import INPUTS_MAX
from tests.simulation.virtual_time import START_S, Shell, run_in_virtual_time

SEEDS = range(8)


async def serve(network, trace, *, providers=2, jobs=6):
    """Run jobs on providers; return how they ended and where the journals stand."""
    shells = [Shell(network, f"provider-{n}", trace, cpus=2) for n in range(providers)]
    user = Shell(network, "user", trace)
    async with trio.open_nursery() as nursery:
        for shell in shells:
            await nursery.start(shell.live)
        addresses = [network_address(shell) for shell in shells]
        await nursery.start(user.live, addresses)
        placed = [await user.submit(number) for number in range(jobs)]
        orders = [await user.ended(job) for job in placed]
        nursery.cancel_scope.cancel()
    return [order.state for order in orders]


def network_address(shell):
    return shell.sessions._host.addresses()


async def story(jobs=6):
    trace = []
    states = await serve(MemoryNetwork(), trace, jobs=jobs)
    return states, tuple(trace)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_job_completes_under_any_schedule(seed):
    states, _ = run_in_virtual_time(story, seed=seed)
    assert states == [State.COMPLETED] * 6


def test_a_seed_gives_one_schedule_and_others_give_others():
    traces = {seed: run_in_virtual_time(story, seed=seed)[1] for seed in (1, 2, 3)}
    assert run_in_virtual_time(story, seed=1)[1] == traces[1]
    assert len(set(traces.values())) > 1


async def cancelled_at(moment_s):
    """Cancel a provider's whole process at a moment, and start it again."""
    network, trace = MemoryNetwork(), []
    provider = Shell(network, "provider", trace, cpus=2)
    user = Shell(network, "user", trace)
    async with trio.open_nursery() as nursery:
        first = await nursery.start(_cancellable, provider)
        await nursery.start(user.live, [network_address(provider)])
        job = await user.submit(1)
        await trio.sleep(moment_s)
        first.cancel()
        await trio.sleep(2)
        await nursery.start(provider.live)
        order = await user.ended(job, within_s=10**6)
        kept = dict(provider.node.jobs)
        nursery.cancel_scope.cancel()
    return order, kept


async def _cancellable(shell, *, task_status):
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(shell.live)
            task_status.started(scope)


@pytest.mark.parametrize("moment_s", [0, 0.001, 1, 2.999999, 3, 3.5])
def test_a_shell_cancelled_at_any_moment_leaves_a_journal_to_go_on_from(moment_s):
    order, kept = run_in_virtual_time(cancelled_at, moment_s, seed=1)
    assert order.ended
    assert all(job.ended for job in kept.values())


async def flooded():
    network, trace = MemoryNetwork(), []
    shell = Shell(network, "provider", trace, cpus=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(shell.live)
        sent = 0

        async def flood():
            nonlocal sent
            for _ in range(INPUTS_MAX * 3):
                await shell.driver.post(NeighbourFound(peer_id=shell.peer_id))
                sent += 1

        nursery.start_soon(flood)
        with trio.fail_after(1000):
            while sent < INPUTS_MAX * 3:
                await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return sent


def test_whoever_brings_more_than_the_queue_holds_waits_and_loses_nothing():
    assert run_in_virtual_time(flooded, seed=1) == INPUTS_MAX * 3


async def rung():
    clock = Clock(lambda: START_S)
    timers, heard = Timers(clock), []
    async with trio.open_nursery() as nursery:

        async def ring(name):
            heard.append((name, clock.now().elapsed_ns // 10**9))

        async def set_and_cancel():
            for name, after_s in (("c", 3), ("a", 1), ("b", 2), ("lost", 2), ("b", 5)):
                timers.set(name, after_s * 10**9)
                await trio.lowlevel.checkpoint()
            timers.cancel("lost")

        nursery.start_soon(timers.run, ring)
        nursery.start_soon(set_and_cancel)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    return heard


@pytest.mark.parametrize("seed", SEEDS)
def test_timers_ring_once_and_in_time_under_any_schedule(seed):
    assert run_in_virtual_time(rung, seed=seed) == [("a", 1), ("c", 3), ("b", 5)]
