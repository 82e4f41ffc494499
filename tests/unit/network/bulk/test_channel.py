"""A bulk connection gives out what opened, in time, or says that it is over."""

import socket
import threading

import pytest

from nunet_node.errors import MisuseError
from nunet_node.network.bulk.channel import FRAME_BYTES_MAX, Channel
from nunet_node.network.bulk.records import RecordError
from nunet_node.network.stream import StreamBroken
from nunet_node.wire.errors import TooLargeError
from nunet_node.wire.limits import BLOCK_DECODE_BYTES_MAX

KEY = bytes(range(32))


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    door, guest = Channel(one, KEY, door=True), Channel(other, KEY, door=False)
    yield door, guest
    door.close()
    guest.close()


def test_frames_arrive_in_order_both_ways(ends):
    door, guest = ends
    guest.send(b"want")
    guest.send(b"")
    assert door.receive_frame() == b"want"
    assert door.receive_frame() == b""
    door.send(b"no")
    assert guest.receive_frame() == b"no"


@pytest.mark.parametrize("size", [1, 1 << 20, BLOCK_DECODE_BYTES_MAX])
def test_a_block_of_any_length_arrives(ends, size):
    door, guest = ends
    data = b"\x07" * size
    sender = threading.Thread(target=door.send, args=(data,))
    sender.start()
    place = bytearray(size)
    guest.receive_into(memoryview(place))
    sender.join()
    assert place == data


def test_nothing_larger_than_a_block_is_sent(ends):
    with pytest.raises(MisuseError):
        ends[0].send(bytes(BLOCK_DECODE_BYTES_MAX + 1))


def test_a_block_of_another_length_is_refused(ends):
    door, guest = ends
    door.send(b"four")
    with pytest.raises(RecordError):
        guest.receive_into(memoryview(bytearray(5)))


def test_the_end_between_records_is_an_end(ends):
    door, guest = ends
    guest.send(b"last")
    guest.close()
    assert door.receive_frame() == b"last"
    assert door.receive_frame() is None


def test_the_end_within_a_record_is_a_break():
    one, other = socket.socketpair()
    channel = Channel(one, KEY, door=True)
    other.sendall((100).to_bytes(4, "big") + b"half")
    other.close()
    with pytest.raises(StreamBroken):
        channel.receive_frame()
    channel.close()


@pytest.mark.parametrize("length", [0, 15, BLOCK_DECODE_BYTES_MAX + 17, 2**32 - 1])
def test_a_length_that_cannot_be_is_refused_as_it_is_read(length):
    one, other = socket.socketpair()
    channel = Channel(one, KEY, door=True)
    other.sendall(length.to_bytes(4, "big"))
    with pytest.raises(RecordError):
        channel.receive_frame()
    channel.close()
    other.close()


def test_a_frame_that_is_too_long_is_refused_as_it_is_announced(ends):
    door, guest = ends
    guest.send(bytes(FRAME_BYTES_MAX + 1))
    with pytest.raises(TooLargeError):
        door.receive_frame()


def test_a_peer_that_says_nothing_is_waited_for_only_so_long(ends):
    with pytest.raises(StreamBroken):
        ends[0].receive_frame(within_s=0.01)


def test_a_peer_that_reads_nothing_is_waited_for_only_so_long(ends):
    with pytest.raises(StreamBroken):
        ends[0].send(bytes(BLOCK_DECODE_BYTES_MAX), within_s=0.05)


def test_cutting_ends_what_another_thread_waits_for(ends):
    door, _ = ends
    said = []

    def wait():
        try:
            said.append(door.receive_frame())
        except StreamBroken:
            said.append("broken")

    waiting = threading.Thread(target=wait)
    waiting.start()
    door.cut()
    waiting.join()
    assert said in (["broken"], [None])


@pytest.mark.parametrize("greeting", [bytes(20), b"\x00\x00\x00\x14" + bytes(16)])
def test_a_greeting_without_the_key_is_refused(ends, greeting):
    with pytest.raises(RecordError):
        ends[0].take_greeting(greeting)
