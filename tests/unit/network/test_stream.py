"""Frames and raw bytes on one stream."""

import pytest
import trio

from nunet_node.errors import MisuseError
from nunet_node.network.memory import MemoryNetwork
from nunet_node.network.stream import SEND_S, StreamBroken
from nunet_node.wire.limits import FRAME_BYTES_MAX
from tests.network_peers import HOLD, hold


@pytest.fixture
async def stuck():
    """A stream whose peer never reads."""
    network = MemoryNetwork()
    async with (
        network.open_host("12D3KooWme1") as me,
        network.open_host("12D3KooWyou1") as you,
    ):
        you.serve(HOLD, hold)
        await me.connect(you.addresses())
        yield await me.open_stream(you.peer_id, HOLD)


async def test_a_frame_that_is_not_read_is_given_up_in_time(stuck, autojump_clock):
    began_s = trio.current_time()
    with pytest.raises(StreamBroken, match="did not read on"):
        for _ in range(3):
            await stuck.send(bytes(FRAME_BYTES_MAX))
    assert trio.current_time() - began_s <= SEND_S
    with pytest.raises(StreamBroken):
        await stuck.send(b"more")


async def test_cancelling_a_frame_waits_no_longer_than_the_limit(stuck, autojump_clock):
    began_s = trio.current_time()
    with trio.move_on_after(1), pytest.raises(StreamBroken):
        for _ in range(3):
            await stuck.send(bytes(FRAME_BYTES_MAX))
    assert trio.current_time() - began_s <= SEND_S


async def test_a_cancelled_raw_send_resets_the_stream(stuck, autojump_clock):
    with trio.move_on_after(1):
        await stuck.send_raw(bytes(1_000_000))
    with pytest.raises(StreamBroken):
        await stuck.send_raw(b"more")


async def test_a_frame_over_the_limit_is_misuse(stuck):
    with pytest.raises(MisuseError):
        await stuck.send(bytes(FRAME_BYTES_MAX + 1))


async def test_an_exception_in_the_block_resets_the_stream(stuck):
    with pytest.raises(KeyError):
        async with stuck:
            raise KeyError
    with pytest.raises(StreamBroken):
        await stuck.send(b"more")


async def test_resetting_twice_is_resetting_once(stuck):
    await stuck.reset()
    await stuck.reset()
    with pytest.raises(StreamBroken, match="was reset"):
        await stuck.send(b"more")
