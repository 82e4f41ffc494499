"""Who is there, and who has stopped answering."""

import trio

from nunet_node.network.liveness import (
    EVENTS_MAX,
    PING_EVERY_S,
    PONG_WITHIN_S,
    PeerWatch,
    keep_alive,
    offer,
)
from nunet_node.network.port import PeerConnected, PeerGone


class Line:
    """A connection that answers, talks, or does neither."""

    def __init__(self, *, answers=True, talks=False):
        self.answers = answers
        self.talks = talks
        self.pings = 0
        self.aborted_at_s = None
        self.closing = trio.Event()

    async def ping(self):
        self.pings += 1
        if not self.answers:
            await trio.sleep_forever()

    def heard(self):
        return trio.current_time() if self.talks else 0

    def abort(self):
        self.aborted_at_s = trio.current_time()

    async def wait_closing(self):
        await self.closing.wait()


async def test_a_silent_connection_is_ended(autojump_clock):
    line = Line(answers=False)
    began_s = trio.current_time()
    await keep_alive(line)
    assert line.aborted_at_s - began_s == PING_EVERY_S + PONG_WITHIN_S


async def test_a_connection_that_answers_stays(autojump_clock):
    line = Line()
    with trio.move_on_after(100):
        await keep_alive(line)
    assert line.aborted_at_s is None
    assert line.pings == 100 // PING_EVERY_S


async def test_a_connection_too_busy_to_answer_stays(autojump_clock):
    line = Line(answers=False, talks=True)
    with trio.move_on_after(100):
        await keep_alive(line)
    assert line.aborted_at_s is None


async def test_a_connection_that_closes_is_watched_no_longer(autojump_clock):
    line = Line()
    line.closing.set()
    await keep_alive(line)
    assert line.pings == 0


def test_only_news_is_told():
    watch = PeerWatch()
    events = watch.add()
    for _ in range(2):
        watch.up("a")
    for _ in range(2):
        watch.down("a")
    watch.down("b")
    told = [events.receive_nowait(), events.receive_nowait()]
    assert told == [PeerConnected(peer_id="a"), PeerGone(peer_id="a")]
    assert events.statistics().current_buffer_used == 0


def test_a_reader_that_left_is_forgotten():
    watch = PeerWatch()
    watch.add().close()
    watch.up("a")
    events = watch.add()
    watch.down("a")
    assert events.receive_nowait() == PeerGone(peer_id="a")


def test_a_slow_reader_keeps_the_newest_events():
    watch = PeerWatch()
    events = watch.add()
    for number in range(EVENTS_MAX + 3):
        watch.up(str(number))
    assert events.receive_nowait() == PeerConnected(peer_id="3")


def test_an_offer_to_nobody_is_told():
    sender, receiver = trio.open_memory_channel(1)
    assert offer(sender, receiver, "one")
    receiver.close()
    assert not offer(sender, receiver, "two")
