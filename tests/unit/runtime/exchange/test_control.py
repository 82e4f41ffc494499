"""Sessions: numbered, bounded, and always ended with one word to the node."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from nunet_node.identity.challenge import CHALLENGES_MAX, SESSION_CHALLENGES_MAX
from nunet_node.network.libp2p import swarm
from nunet_node.network.stream import StreamBroken
from nunet_node.protocol.effects import CloseSession, OpenSession, Send
from nunet_node.protocol.inputs import (
    FrameReceived,
    SessionClosed,
    SessionFailed,
    SessionOpened,
)
from nunet_node.runtime.exchange import control as control_module
from nunet_node.runtime.exchange.control import Sessions
from nunet_node.wire.errors import WireError
from tests.runtime_kit import linked_hosts, peer_id

PROTOCOL = "/nunet/control/1"


class Side:
    """One peer's sessions, and the inputs that come of them."""

    def __init__(self, host, nursery):
        self.host = host
        self.sender, self.inputs = trio.open_memory_channel(1000)
        self.sessions = Sessions(
            host, self.sender.send, self.open_frame, self.route, nursery
        )
        self.sessions.serve()

    def open_frame(self, session, data, documents):
        if data == b"garbage":
            raise WireError("no frame")
        if data == b"cunning":
            raise RecursionError
        return FrameReceived(session=session, frame=1, re=None, body=data)

    async def route(self, to, addresses):
        await trio.lowlevel.checkpoint()
        return addresses

    def dial(self, to, session=1, addresses=()):
        self.sessions.open(
            OpenSession(session=session, peer_id=to, addresses=addresses)
        )

    def send(self, data, session=1):
        self.sessions.send(Send(session=session, data=data))

    async def next(self):
        with trio.fail_after(10):
            return await self.inputs.receive()


@pytest.fixture
async def sides(nursery):
    async with linked_hosts() as hosts:
        yield [Side(host, nursery) for host in hosts]


async def opened(one, other):
    """Open session 1 from one to the other; return the other's number for it."""
    one.dial(other.host.peer_id)
    here, there = await one.next(), await other.next()
    assert here == SessionOpened(session=1, peer_id=other.host.peer_id, ours=True)
    assert there.peer_id == one.host.peer_id
    assert not there.ours
    return there.session


async def test_frames_go_both_ways_in_order(sides):
    a, b = sides
    number = await opened(a, b)
    for data in (b"1", b"2", b"3"):
        a.send(data)
    assert [(await b.next()).body for _ in range(3)] == [b"1", b"2", b"3"]
    b.send(b"back", number)
    answer = await a.next()
    assert (answer.session, answer.body) == (1, b"back")


async def test_sessions_that_peers_open_have_even_numbers(sides):
    a, b = sides
    numbers = []
    for session in (1, 3, 5):
        a.dial(b.host.peer_id, session)
        await a.next()
        numbers.append((await b.next()).session)
    assert numbers == [2, 4, 6]


async def test_closing_sends_what_waits_and_tells_both_sides(sides):
    a, b = sides
    number = await opened(a, b)
    a.send(b"last words")
    a.sessions.close(CloseSession(session=1))
    assert (await b.next()).body == b"last words"
    assert await b.next() == SessionClosed(session=number)
    assert await a.next() == SessionClosed(session=1)


async def test_a_peer_that_is_not_there_is_a_failure(sides):
    a, _ = sides
    a.dial(peer_id(9), addresses=(f"/ip4/127.0.0.1/tcp/1/p2p/{peer_id(9)}",))
    failed = await a.next()
    assert isinstance(failed, SessionFailed)
    assert (failed.session, failed.peer_id) == (1, peer_id(9))


async def test_a_peer_without_an_address_is_a_failure(sides):
    a, _ = sides
    a.dial(peer_id(9))
    assert "no address" in (await a.next()).reason


async def test_a_wrong_address_is_a_failure(sides):
    a, b = sides
    a.dial(peer_id(9), addresses=b.host.addresses())
    assert isinstance(await a.next(), SessionFailed)
    a.dial(peer_id(8), session=3, addresses=("nonsense",))
    assert isinstance(await a.next(), SessionFailed)


async def test_a_lost_connection_closes_both_sides(sides):
    a, b = sides
    number = await opened(a, b)
    await a.host.disconnect(b.host.peer_id)
    assert await a.next() == SessionClosed(session=1)
    assert await b.next() == SessionClosed(session=number)


async def test_what_is_no_frame_ends_the_session(sides):
    a, b = sides
    number = await opened(a, b)
    a.send(b"garbage")
    assert await b.next() == SessionClosed(session=number)
    assert await a.next() == SessionClosed(session=1)


async def test_a_frame_that_finds_a_bug_ends_its_own_session_only(sides, caplog):
    a, b = sides
    number = await opened(a, b)
    b.send(b"cunning", number)
    assert await a.next() == SessionClosed(session=1)
    assert await b.next() == SessionClosed(session=number)
    a.dial(b.host.peer_id, 3)
    assert isinstance(await a.next(), SessionOpened)
    assert "met a bug" in caplog.text


async def test_frames_for_a_session_that_is_gone_go_nowhere(sides):
    a, b = sides
    number = await opened(a, b)
    a.sessions.close(CloseSession(session=1))
    a.send(b"too late")
    assert await a.next() == SessionClosed(session=1)
    a.send(b"much too late")
    a.sessions.close(CloseSession(session=1))
    a.sessions.close(CloseSession(session=77))
    assert await b.next() == SessionClosed(session=number)


async def test_a_peer_that_does_not_read_loses_its_session(
    sides, monkeypatch, autojump_clock
):
    monkeypatch.setattr(control_module, "OUTBOX_FRAMES_MAX", 4)
    a, b = sides
    stream = await a.host.open_stream(b.host.peer_id, PROTOCOL)
    number = (await b.next()).session
    for _ in range(16):
        b.send(bytes(200_000), number)
        await wait_all_tasks_blocked()
    assert await b.next() == SessionClosed(session=number)
    with pytest.raises(StreamBroken):
        while await stream.receive() is not None:
            pass


async def test_a_session_closed_while_it_is_dialled_never_opens(sides):
    a, b = sides
    a.dial(b.host.peer_id)
    a.sessions.close(CloseSession(session=1))
    assert await a.next() == SessionClosed(session=1)


async def test_a_stranger_who_says_nothing_is_cut_off(sides, autojump_clock):
    a, b = sides
    stream = await a.host.open_stream(b.host.peer_id, PROTOCOL)
    number = (await b.next()).session
    with trio.fail_after(control_module.FIRST_FRAME_S + 10):
        assert await stream.receive() is None
    assert await b.next() == SessionClosed(session=number)


async def test_sessions_of_one_peer_are_counted(sides, monkeypatch):
    monkeypatch.setattr(control_module, "SESSIONS_PER_PEER_MAX", 2)
    a, b = sides
    streams = [await a.host.open_stream(b.host.peer_id, PROTOCOL) for _ in range(3)]
    with pytest.raises(StreamBroken):
        await streams[2].receive()
    await streams[0].finish()
    assert await streams[0].receive() is None
    await wait_all_tasks_blocked()
    again = await a.host.open_stream(b.host.peer_id, PROTOCOL)
    await wait_all_tasks_blocked()
    await again.finish()
    assert await again.receive() is None


def test_no_address_alone_can_take_all_sessions_or_all_challenges():
    of_one_address = (
        swarm.PRESENT_PER_ADDRESS_MAX * control_module.SESSIONS_PER_PEER_MAX
    )
    assert of_one_address < control_module.SESSIONS_MAX
    assert control_module.SESSIONS_MAX * SESSION_CHALLENGES_MAX <= CHALLENGES_MAX


async def test_a_peer_that_talks_too_fast_is_slowed_down_not_cut(sides, autojump_clock):
    a, b = sides
    number = await opened(a, b)
    stream = await a.host.open_stream(b.host.peer_id, PROTOCOL)
    await b.next()
    began = trio.current_time()
    count = control_module.FRAMES_BURST_MAX + 3 * control_module.FRAMES_PER_S_MAX
    async with trio.open_nursery() as nursery:

        async def flood():
            for _ in range(count):
                await stream.send(b"x")

        nursery.start_soon(flood)
        for _ in range(count):
            await b.next()
    assert trio.current_time() - began > 2
    a.send(b"others are heard meanwhile")
    assert (await b.next()).session == number


async def test_a_peer_whose_frames_take_long_to_read_waits_for_its_share(
    sides, monkeypatch, autojump_clock
):
    # A nanosecond of the processor each second: whatever is read takes too long.
    monkeypatch.setattr(control_module, "WORK_NS_PER_S", 1)
    monkeypatch.setattr(control_module, "WORK_NS_AT_ONCE", 0)
    a, b = sides
    first, second = [await a.host.open_stream(b.host.peer_id, PROTOCOL) for _ in "12"]
    assert {type(await b.next()), type(await b.next())} == {SessionOpened}
    await first.send(b"x")
    await second.send(b"x")
    with trio.move_on_after(100) as patience:
        await b.inputs.receive()
    assert patience.cancelled_caught
    for _ in "12":
        assert isinstance(await b.inputs.receive(), FrameReceived)


async def test_the_peer_of_a_session_is_known_while_it_lasts(sides):
    a, b = sides
    number = await opened(a, b)
    assert b.sessions.peer_of(number) == a.host.peer_id
    assert b.sessions.peer_of(99) == ""
