"""Timers and moments under a virtual clock."""

import pytest
import trio

from nunet_node.errors import MisuseError
from nunet_node.runtime import clock as clock_module
from nunet_node.runtime.clock import Clock, Timers

S = 1_000_000_000


class Fired:
    """Names as they fire, with the elapsed second of each."""

    def __init__(self, clock):
        self.clock = clock
        self.names = []

    async def fire(self, name):
        self.names.append((name, self.clock.now().elapsed_ns // S))


async def run_for(seconds, timers, fired):
    with trio.move_on_after(seconds):
        await timers.run(fired.fire)


async def test_timers_fire_in_the_order_of_their_times(autojump_clock):
    clock = Clock()
    timers, fired = Timers(clock), Fired(clock)
    for name, at_s in (("late", 5), ("early", 1), ("middle", 3)):
        timers.set(name, at_s * S)
    await run_for(10, timers, fired)
    assert fired.names == [("early", 1), ("middle", 3), ("late", 5)]


async def test_a_timer_set_again_fires_once_at_its_new_time(autojump_clock):
    clock = Clock()
    timers, fired = Timers(clock), Fired(clock)
    timers.set("a", 1 * S)
    timers.set("a", 4 * S)
    timers.set("b", 5 * S)
    timers.set("b", 2 * S)
    await run_for(10, timers, fired)
    assert fired.names == [("b", 2), ("a", 4)]


async def test_a_cancelled_timer_never_fires(autojump_clock):
    clock = Clock()
    timers, fired = Timers(clock), Fired(clock)
    timers.set("a", 1 * S)
    timers.cancel("a")
    timers.cancel("never-set")
    await run_for(5, timers, fired)
    assert fired.names == []


async def test_a_time_that_has_passed_fires_at_once(autojump_clock):
    clock = Clock()
    timers, fired = Timers(clock), Fired(clock)
    await trio.sleep(7)
    timers.set("past", 1 * S)
    await run_for(1, timers, fired)
    assert fired.names == [("past", 7)]


async def test_a_timer_set_while_another_is_awaited_is_noticed(autojump_clock):
    clock = Clock()
    timers, fired = Timers(clock), Fired(clock)
    timers.set("late", 9 * S)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_for, 20, timers, fired)
        await trio.sleep(1)
        timers.set("early", 2 * S)
    assert fired.names == [("early", 2), ("late", 9)]


async def test_a_timer_may_set_itself_again(autojump_clock):
    clock = Clock()
    timers = Timers(clock)
    times = []

    async def fire(name):
        times.append(clock.now().elapsed_ns)
        timers.set(name, clock.now().elapsed_ns + S)

    timers.set("again", S)
    with trio.move_on_after(3.5):
        await timers.run(fire)
    assert times == [1 * S, 2 * S, 3 * S]


async def test_a_timer_never_fires_before_its_nanosecond(autojump_clock):
    clock = Clock()
    timers = Timers(clock)
    early = []

    async def fire(name):
        if clock.now().elapsed_ns < int(name):
            early.append(name)

    for at_ns in range(1, 400_000_000, 1_234_567):
        timers.set(str(at_ns), at_ns)
    with trio.move_on_after(2):
        await timers.run(fire)
    assert early == []


async def test_unix_time_is_read_anew_and_may_step(autojump_clock):
    wall = iter((100, 50, 7))
    clock = Clock(lambda: next(wall))
    assert [clock.now().unix_s for _ in range(3)] == [100, 50, 7]


async def test_replacing_one_timer_for_ever_keeps_memory_small(autojump_clock):
    timers = Timers(Clock())
    for at_ns in range(10_000):
        timers.set("a", at_ns)
    assert len(timers._heap) < 200


async def test_too_many_timers_are_our_own_bug(autojump_clock, monkeypatch):
    monkeypatch.setattr(clock_module, "TIMERS_MAX", 2)
    timers = Timers(Clock())
    timers.set("a", 1)
    timers.set("b", 1)
    timers.set("a", 2)
    with pytest.raises(MisuseError):
        timers.set("c", 1)
