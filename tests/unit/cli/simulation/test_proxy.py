"""The proxy holds bytes up and back, and never changes them."""

from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from nunet_node.cli.simulation.proxy import Proxy
from nunet_node.simulator.medium.links import Paths
from nunet_node.simulator.plan import Parted
from nunet_node.simulator.scenario import Faults, Fleet, Links, Scenario
from nunet_node.simulator.world.population import populate

QUICK = Links(regions=1, near_us=100, far_us=0, jitter_us=100)


class Pair:
    """Two machines, the second of which repeats what the first says."""

    def __init__(self, faults):
        scenario = Scenario(fleet=Fleet(providers=2, submitters=1), links=QUICK)
        self.one, self.two, _ = populate(scenario, 1)
        paths = Paths(QUICK, faults, Random("proxy"))
        self.proxy = Proxy(paths, lambda _: self.one)
        self.tasks = None

    async def dial(self):
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@asynccontextmanager
async def pair(faults=None):
    both = Pair(faults or Faults())
    async with trio.open_nursery() as nursery:
        both.tasks = nursery
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, echo, listeners)
        both.proxy.ports[both.two.index] = listeners[0].socket.getsockname()[1]
        both.port = await both.proxy.open(both.two, nursery)
        yield both
        nursery.cancel_scope.cancel()


async def echo(stream):
    try:
        async for data in stream:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass


async def heard(stream, count):
    found = b""
    while len(found) < count:
        found += await stream.receive_some()
    return found


async def test_bytes_come_whole_and_in_order_however_much_is_lost_on_the_way():
    said = Random("said").randbytes(300_000)
    faults = Faults(loss_permille=50, delay_permille=300, delay_ms_max=20)
    async with pair(faults) as both, await both.dial() as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, said)
            assert await heard(stream, len(said)) == said
        assert both.proxy.carried_bytes == 2 * len(said)


async def test_what_a_partition_holds_back_comes_when_it_ends():
    parted = Parted(at_ns=0, for_ns=1, kind="halves", salt=1)
    async with pair() as both, await both.dial() as stream:
        await stream.send_all(b"before")
        assert await heard(stream, 6) == b"before"
        both.proxy.cut(parted, 2)
        assert not both.proxy.paths.passes(both.one, both.two)
        await stream.send_all(b"across")
        with trio.move_on_after(0.1) as patience:
            await heard(stream, 1)
        assert patience.cancelled_caught
        both.proxy.mend(parted)
        assert await heard(stream, 6) == b"across"


async def test_of_a_dark_machine_not_even_the_end_is_heard_and_who_gives_up_is_noted():
    async with pair() as both:
        stream = await both.dial()
        await stream.send_all(b"before")
        await heard(stream, 6)
        both.proxy.darken(both.two)
        await stream.send_all(b"anybody")
        with trio.move_on_after(0.1) as patience:
            await stream.receive_some()
        assert patience.cancelled_caught
        assert not both.proxy.notices_ns
        await stream.aclose()
        while not both.proxy.notices_ns:
            await wait_all_tasks_blocked(0.01)
        by, about, after_ns = both.proxy.notices_ns[0]
        assert (by, about) == (both.one.index, both.two.index)
        assert after_ns > 0


async def test_a_dark_machine_cannot_be_dialled_and_one_that_is_back_can():
    async with pair() as both:
        both.proxy.darken(both.two)
        async with await both.dial() as stream:
            await stream.send_all(b"anybody")
            with trio.move_on_after(0.1) as patience:
                await stream.receive_some()
            assert patience.cancelled_caught
        both.proxy.lighten(both.two)
        async with await both.dial() as stream:
            await stream.send_all(b"again")
            assert await heard(stream, 5) == b"again"


@pytest.mark.parametrize("side", ["dialler", "listener"])
async def test_an_end_on_one_side_is_an_end_on_the_other(side):
    async with pair() as both:
        stream = await both.dial()
        await stream.send_all(b"x")
        await heard(stream, 1)
        if side == "dialler":
            await stream.send_eof()
        else:
            both.proxy.ports.clear()
            await stream.send_eof()
        assert await stream.receive_some() == b""
        await stream.aclose()
