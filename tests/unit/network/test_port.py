"""What every host promises, shown on the real one and on the one in memory."""

from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from nunet_node.errors import MisuseError
from nunet_node.network.host import open_host
from nunet_node.network.memory import MemoryNetwork
from nunet_node.network.port import (
    AddressError,
    ConnectFailed,
    HostSettings,
    NotConnected,
    PeerConnected,
    PeerGone,
    ProtocolRefused,
)
from nunet_node.network.stream import StreamBroken
from nunet_node.wire.errors import TooLargeError
from nunet_node.wire.limits import FRAME_BYTES_MAX, GOSSIP_BYTES_MAX

ECHO = "/nunet/test-echo/1"
STRANGER = "12D3KooWCugzopk9fYBy1pvYVi94Qr2y9PL4CjSpYZUaXir3YWb7"


@asynccontextmanager
async def real_hosts(count):
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                open_host(HostSettings(seed=bytes([number + 1]) * 32))
            )
            for number in range(count)
        ]


@asynccontextmanager
async def memory_hosts(count):
    network = MemoryNetwork()
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(network.open_host(f"12D3KooWpeer{number}x"))
            for number in range(1, count + 1)
        ]


@pytest.fixture(params=[real_hosts, memory_hosts], ids=["libp2p", "memory"])
def hosts(request):
    return request.param


async def echo(stream):
    while (data := await stream.receive()) is not None:
        await stream.send(data)


async def test_a_frame_comes_back_as_it_was_sent(hosts):
    async with hosts(2) as (a, b):
        a.serve(ECHO, echo)
        assert await b.connect(a.addresses()) == a.peer_id
        async with await b.open_stream(a.peer_id, ECHO) as stream:
            for data in (b"", b"x", b"y" * FRAME_BYTES_MAX):
                await stream.send(data)
                assert await stream.receive() == data


async def test_each_side_knows_who_the_other_is(hosts):
    async with hosts(2) as (a, b):
        met = []
        done = trio.Event()

        async def handler(stream):
            met.append((stream.peer_id, stream.protocol))
            done.set()

        a.serve(ECHO, handler)
        await b.connect(a.addresses())
        stream = await b.open_stream(a.peer_id, ECHO)
        await done.wait()
        assert met == [(b.peer_id, ECHO)]
        assert (stream.peer_id, stream.protocol) == (a.peer_id, ECHO)


async def test_after_a_finish_the_other_direction_still_works(hosts):
    async with hosts(2) as (a, b):

        async def count_then_answer(stream):
            count = 0
            while await stream.receive() is not None:
                count += 1
            await stream.send(str(count).encode())

        a.serve(ECHO, count_then_answer)
        await b.connect(a.addresses())
        async with await b.open_stream(a.peer_id, ECHO) as stream:
            for _ in range(3):
                await stream.send(b"more")
            await stream.finish()
            assert await stream.receive() == b"3"
            assert await stream.receive() is None
            assert await stream.receive() is None


async def test_sending_after_our_own_finish_is_misuse(hosts):
    async with hosts(2) as (a, b):
        a.serve(ECHO, echo)
        await b.connect(a.addresses())
        stream = await b.open_stream(a.peer_id, ECHO)
        await stream.finish()
        with pytest.raises(MisuseError):
            await stream.send(b"late")


async def test_a_reset_is_not_an_end(hosts):
    async with hosts(2) as (a, b):

        async def drop(stream):
            await stream.receive()
            await stream.reset()

        a.serve(ECHO, drop)
        await b.connect(a.addresses())
        stream = await b.open_stream(a.peer_id, ECHO)
        await stream.send(b"x")
        with pytest.raises(StreamBroken), trio.fail_after(10):
            await stream.receive()


async def test_a_handler_that_raises_breaks_its_own_stream_and_no_other(hosts):
    async with hosts(2) as (a, b):

        async def fail(stream):
            await stream.receive()
            raise ValueError("a bug of ours")

        a.serve(ECHO, echo)
        a.serve("/nunet/test-fail/1", fail)
        await b.connect(a.addresses())
        good = await b.open_stream(a.peer_id, ECHO)
        bad = await b.open_stream(a.peer_id, "/nunet/test-fail/1")
        await bad.send(b"x")
        with pytest.raises(StreamBroken), trio.fail_after(10):
            await bad.receive()
        await good.send(b"still here")
        assert await good.receive() == b"still here"


async def test_raw_bytes_may_follow_a_frame(hosts):
    async with hosts(2) as (a, b):
        sizes = []

        async def upload(stream):
            await stream.receive()
            total = 0
            while data := await stream.receive_some():
                total += len(data)
            sizes.append(total)
            await stream.send(b"stored")

        a.serve(ECHO, upload)
        await b.connect(a.addresses())
        async with await b.open_stream(a.peer_id, ECHO) as stream:
            await stream.send(b"header")
            for _ in range(20):
                await stream.send_raw(b"z" * 100_000)
            await stream.finish()
            assert await stream.receive() == b"stored"
        assert sizes == [2_000_000]


async def test_an_oversize_frame_is_refused_before_it_is_read(hosts):
    async with hosts(2) as (a, b):
        refused = trio.Event()

        async def handler(stream):
            with pytest.raises(TooLargeError):
                await stream.receive()
            refused.set()

        a.serve(ECHO, handler)
        await b.connect(a.addresses())
        stream = await b.open_stream(a.peer_id, ECHO)
        await stream.send_raw((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
        with trio.fail_after(10):
            await refused.wait()


async def test_a_stream_that_ends_within_a_frame_is_broken(hosts):
    async with hosts(2) as (a, b):
        seen = []
        done = trio.Event()

        async def handler(stream):
            try:
                await stream.receive()
            except StreamBroken as error:
                seen.append(str(error))
            done.set()

        a.serve(ECHO, handler)
        await b.connect(a.addresses())
        stream = await b.open_stream(a.peer_id, ECHO)
        await stream.send_raw((10).to_bytes(4, "big") + b"five!")
        await stream.finish()
        with trio.fail_after(10):
            await done.wait()
        assert seen == ["the stream ended within a frame"]


async def test_a_cancelled_receive_loses_nothing(hosts):
    async with hosts(2) as (a, b):
        go = trio.Event()

        async def handler(stream):
            await stream.send_raw((4).to_bytes(4, "big") + b"on")
            await go.wait()
            await stream.send_raw(b"ce")
            await stream.receive()

        a.serve(ECHO, handler)
        await b.connect(a.addresses())
        async with await b.open_stream(a.peer_id, ECHO) as stream:
            with trio.move_on_after(0.1) as scope:
                await stream.receive()
            assert scope.cancelled_caught
            go.set()
            assert await stream.receive() == b"once"


async def test_a_send_is_never_cut_by_cancellation(hosts):
    async with hosts(2) as (a, b):
        a.serve(ECHO, echo)
        await b.connect(a.addresses())
        async with await b.open_stream(a.peer_id, ECHO) as stream:
            for number in range(20):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await stream.send(bytes([number]) * 1000)
            await stream.send(b"last")
            heard = []
            while (data := await stream.receive()) != b"last":
                heard.append(data)
            assert all(len(set(data)) == 1 and len(data) == 1000 for data in heard)


async def test_frames_of_two_writers_do_not_mix(hosts):
    async with hosts(2) as (a, b):
        a.serve(ECHO, echo)
        await b.connect(a.addresses())
        async with await b.open_stream(a.peer_id, ECHO) as stream:
            frames = []

            async def read():
                for _ in range(8):
                    frames.append(await stream.receive())  # noqa: PERF401 - awaits

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                for letter in b"abcdefgh":
                    nursery.start_soon(stream.send, bytes([letter]) * 100_000)
            assert sorted(frames) == [bytes([c]) * 100_000 for c in b"abcdefgh"]


async def test_a_protocol_that_is_not_served_is_refused(hosts):
    async with hosts(2) as (a, b):
        await b.connect(a.addresses())
        with pytest.raises(ProtocolRefused, match="/nunet/test-echo/1"):
            await b.open_stream(a.peer_id, ECHO)


async def test_a_stream_to_an_unconnected_peer_is_refused(hosts):
    async with hosts(1) as (a,):
        with pytest.raises(NotConnected):
            await a.open_stream(STRANGER, ECHO)


async def test_connecting_where_nobody_is_names_the_address(hosts):
    async with hosts(1) as (a,):
        with pytest.raises(ConnectFailed, match=r"/ip4/127.0.0.1/tcp/9"):
            await a.connect([f"/ip4/127.0.0.1/tcp/9/p2p/{STRANGER}"])


async def test_connecting_to_oneself_is_refused(hosts):
    async with hosts(1) as (a,):
        with pytest.raises(ConnectFailed):
            await a.connect(a.addresses())


async def test_addresses_of_two_peers_are_not_one_peer(hosts):
    async with hosts(3) as (a, b, c):
        with pytest.raises(AddressError):
            await a.connect([*b.addresses(), *c.addresses()])


async def test_connecting_twice_is_connecting_once(hosts):
    async with hosts(2) as (a, b):
        await b.connect(a.addresses())
        await b.connect(a.addresses())
        assert b.connected_peers() == {a.peer_id}


async def test_peers_come_and_go_as_events(hosts):
    async with hosts(2) as (a, b):
        events = a.peer_events()
        await b.connect(a.addresses())
        with trio.fail_after(10):
            assert await events.receive() == PeerConnected(peer_id=b.peer_id)
            await b.disconnect(a.peer_id)
            assert await events.receive() == PeerGone(peer_id=b.peer_id)
        assert a.connected_peers() == frozenset()


async def test_a_disconnect_breaks_open_streams(hosts):
    async with hosts(2) as (a, b):
        broken = trio.Event()

        async def handler(stream):
            try:
                await stream.receive()
            except StreamBroken:
                broken.set()

        a.serve(ECHO, handler)
        await b.connect(a.addresses())
        stream = await b.open_stream(a.peer_id, ECHO)
        await b.disconnect(a.peer_id)
        with trio.fail_after(10):
            await broken.wait()
            with pytest.raises(StreamBroken):
                await stream.receive()


async def test_disconnecting_a_stranger_does_nothing(hosts):
    async with hosts(1) as (a,):
        await a.disconnect(STRANGER)
        assert a.connected_peers() == frozenset()


async def wait_for_mesh(author, others, topic, channels):
    """Publish numbered messages until each reader has one."""
    waiting = list(channels)
    number = 0
    with trio.fail_after(20):
        while waiting:
            number += 1
            await author.publish(topic, b"hello %d" % number)
            await trio.sleep(0.05)
            waiting = [c for c in waiting if c.statistics().current_buffer_used == 0]
    for channel in channels:
        while channel.statistics().current_buffer_used:
            channel.receive_nowait()


async def test_gossip_reaches_peers_of_peers(hosts):
    async with hosts(3) as (a, b, c):
        await b.connect(a.addresses())
        await c.connect(b.addresses())
        channels = [await h.subscribe("t", lambda _: True) for h in (b, c)]
        await a.subscribe("t", lambda _: True)
        await wait_for_mesh(a, (b, c), "t", channels)
        await a.publish("t", b"news")
        for channel in channels:
            with trio.fail_after(10):
                while (message := await channel.receive()).data != b"news":
                    pass
            assert message.from_peer == a.peer_id


async def test_what_a_validator_refuses_is_neither_delivered_nor_forwarded(hosts):
    async with hosts(3) as (a, b, c):
        await b.connect(a.addresses())
        await c.connect(b.addresses())
        middle = await b.subscribe("t", lambda data: data != b"bad")
        end = await c.subscribe("t", lambda _: True)
        await wait_for_mesh(a, (b, c), "t", [middle, end])
        await a.publish("t", b"bad")
        await a.publish("t", b"good")
        for channel in (middle, end):
            with trio.fail_after(10):
                heard = [await channel.receive()]
                while heard[-1].data != b"good":
                    heard.append(await channel.receive())
            assert b"bad" not in [message.data for message in heard]


async def test_a_message_over_the_limit_is_misuse(hosts):
    async with hosts(1) as (a,):
        with pytest.raises(MisuseError):
            await a.publish("t", b"x" * (GOSSIP_BYTES_MAX + 1))


async def test_a_topic_has_one_subscription(hosts):
    async with hosts(1) as (a,):
        await a.subscribe("t", lambda _: True)
        with pytest.raises(MisuseError):
            await a.subscribe("t", lambda _: True)


async def test_leaving_a_topic_ends_its_channel(hosts):
    async with hosts(1) as (a,):
        channel = await a.subscribe("t", lambda _: True)
        await a.unsubscribe("t")
        with pytest.raises(trio.EndOfChannel):
            await channel.receive()


async def test_a_slow_reader_loses_the_oldest_messages(hosts):
    async with hosts(1) as (a,):
        channel = await a.subscribe("t", lambda _: True)
        for number in range(1030):
            await a.publish("t", b"%d" % number)
        assert (await channel.receive()).data == b"6"


async def test_what_the_caller_raises_leaves_the_block_as_it_is(hosts):
    with pytest.raises(KeyError):
        async with hosts(1):
            raise KeyError("mine")
