"""One yamux stream against a peer that is scripted by hand."""

import pytest
import trio
from libp2p.stream_muxer.exceptions import (
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamReset,
)

from nunet_node.errors import MisuseError
from nunet_node.network.libp2p.substream import (
    CREDIT_S,
    FIN,
    FRAME_BODY_BYTES,
    HEADER,
    RST,
    SOON_BYTES_MAX,
    WINDOW_BYTES,
    WINDOW_BYTES_MAX,
    YamuxStream,
)


class Connection:
    """Notes what the stream says."""

    def __init__(self):
        self.buffered_bytes = 0
        self.said = []
        self.sent = bytearray()
        self.forgotten = []
        self.room = False
        self.queued = bytearray()

    def queue_frame(self, kind, flags, stream_id, value):
        self.said.append((flags, value))

    def queue_data(self, frame):
        if self.room:
            self.queued += frame[HEADER.size :]
        return self.room

    async def write_frame(self, frame):
        await trio.lowlevel.checkpoint()
        self.sent += frame[HEADER.size :]

    def forget(self, stream_id):
        self.forgotten.append(stream_id)


@pytest.fixture
def conn():
    return Connection()


@pytest.fixture
async def stream(conn):
    return YamuxStream(conn, 1)


async def test_what_arrived_is_read_before_the_end(stream):
    stream.take_in(b"abc")
    stream.end()
    assert await stream.read(2) == b"ab"
    assert await stream.read(2) == b"c"
    for _ in range(2):
        with pytest.raises(MuxedStreamEOF):
            await stream.read(2)


async def test_what_arrived_before_the_connection_was_lost_is_read(stream):
    stream.take_in(b"abc")
    stream.break_off("lost", keep=True)
    assert await stream.read() == b"abc"
    with pytest.raises(MuxedStreamReset, match="lost"):
        await stream.read()


async def test_an_end_before_the_connection_was_lost_is_an_end(stream):
    stream.take_in(b"abc")
    stream.end()
    stream.break_off("lost", keep=True)
    assert await stream.read() == b"abc"
    with pytest.raises(MuxedStreamEOF):
        await stream.read()


async def test_a_reset_drops_what_was_unread(stream, conn):
    stream.take_in(b"abc")
    assert conn.buffered_bytes == 3
    stream.break_off("reset")
    assert conn.buffered_bytes == 0
    with pytest.raises(MuxedStreamReset):
        await stream.read()


async def test_more_than_was_granted_is_told(stream):
    assert stream.take_in(bytes(WINDOW_BYTES))
    assert not stream.take_in(b"x")


async def test_credit_is_granted_in_few_large_pieces(stream, conn):
    for _ in range(WINDOW_BYTES // 1024):
        stream.take_in(bytes(1024))
        await stream.read()
    assert 1 <= len(conn.said) <= 4
    granted = sum(value for _, value in conn.said)
    assert granted >= WINDOW_BYTES // 2


async def test_the_window_grows_for_a_fast_reader_up_to_a_limit(stream, conn):
    for _ in range(20_000_000 // 65_536):
        assert stream.take_in(bytes(65_536))
        await stream.read()
    assert stream._window_bytes == WINDOW_BYTES_MAX
    held = stream._grantable_bytes + stream._consumed_bytes
    assert held == WINDOW_BYTES_MAX


async def test_the_window_stays_for_a_slow_reader(stream, autojump_clock):
    for _ in range(100):
        stream.take_in(bytes(65_536))
        await trio.sleep(1)
        await stream.read()
    assert stream._window_bytes == WINDOW_BYTES


async def test_a_sender_waits_for_credit(stream, conn, autojump_clock):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.write, bytes(WINDOW_BYTES + 10))
        await trio.sleep(1)
        assert len(conn.sent) == WINDOW_BYTES
        stream.add_credit(10)
    assert len(conn.sent) == WINDOW_BYTES + 10


async def test_a_sender_does_not_wait_for_ever(stream, autojump_clock):
    began_s = trio.current_time()
    with pytest.raises(MuxedStreamReset, match="read nothing"):
        await stream.write(bytes(WINDOW_BYTES + 1))
    assert trio.current_time() - began_s == CREDIT_S


async def test_a_waiting_sender_hears_of_a_reset(stream, autojump_clock):
    async with trio.open_nursery() as nursery:

        async def send():
            with pytest.raises(MuxedStreamReset):
                await stream.write(bytes(WINDOW_BYTES + 1))

        nursery.start_soon(send)
        await trio.sleep(1)
        stream.break_off("reset")


async def test_credit_is_not_lost_by_a_cancelled_write(stream, conn):
    turn = trio.Lock()
    await turn.acquire()

    async def wait_for_ever(_frame):
        await trio.sleep_forever()

    conn.write_frame = wait_for_ever
    with trio.move_on_after(0.01):
        await stream.write(bytes(1000))
    assert stream._credit_bytes == WINDOW_BYTES


async def test_a_little_data_is_queued_where_there_is_room(stream, conn):
    conn.room = True
    await stream.write(b"little")
    await stream.write(bytes(SOON_BYTES_MAX + 1))
    assert conn.queued == b"little"
    assert len(conn.sent) == SOON_BYTES_MAX + 1


async def test_no_frame_is_larger_than_one_noise_message(stream, conn):
    sizes = []

    async def note(frame):
        await trio.lowlevel.checkpoint()
        sizes.append(len(frame))

    conn.write_frame = note
    await stream.write(bytes(200_000))
    assert max(sizes) == FRAME_BODY_BYTES + HEADER.size < 65_519


async def test_writing_after_our_end_is_refused(stream, conn):
    await stream.close()
    await stream.close()
    assert conn.said == [(FIN, 0)]
    with pytest.raises(MuxedStreamClosed):
        await stream.write(b"x")


async def test_a_stream_is_forgotten_when_both_have_ended(stream, conn):
    await stream.close()
    assert conn.forgotten == []
    stream.end()
    assert conn.forgotten == [1]


async def test_a_reset_is_said_once(stream, conn):
    await stream.reset()
    await stream.reset()
    assert conn.said == [(RST, 0)]


async def test_a_deadline_is_a_cancel_scopes_to_keep(stream):
    with pytest.raises(MisuseError):
        stream.set_deadline(1)


async def test_a_reader_may_pause_for_long(stream, conn, autojump_clock):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.write, bytes(WINDOW_BYTES + 10))
        # Six times what the library's own sender waits, and well below `CREDIT_S`.
        await trio.sleep(30)
        stream.add_credit(10)
    assert len(conn.sent) == WINDOW_BYTES + 10
