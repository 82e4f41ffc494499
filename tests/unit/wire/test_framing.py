"""Frames arrive whole, whatever pieces a stream brings them in."""

import pytest

from nunet_node.errors import MisuseError
from nunet_node.wire.errors import TooLargeError, TruncatedError
from nunet_node.wire.framing import FrameReader, frame
from nunet_node.wire.limits import FRAME_BYTES_MAX


def test_a_frame_is_its_length_and_its_bytes():
    assert frame(b"abc") == b"\0\0\0\3abc"
    assert frame(b"") == b"\0\0\0\0"


def test_frames_that_come_together_are_told_apart():
    reader = FrameReader()
    assert reader.feed(frame(b"a") + frame(b"") + frame(b"bc")) == [b"a", b"", b"bc"]
    reader.finish()


def test_a_frame_that_comes_byte_by_byte_is_put_together():
    reader = FrameReader()
    data = frame(b"hello")
    pieces = [reader.feed(data[i : i + 1]) for i in range(len(data))]
    assert pieces[:-1] == [[]] * (len(data) - 1)
    assert pieces[-1] == [b"hello"]


def test_a_frame_of_the_largest_size_passes():
    data = bytes(FRAME_BYTES_MAX)
    assert FrameReader().feed(frame(data)) == [data]


def test_a_larger_frame_is_refused_on_its_length_alone():
    with pytest.raises(TooLargeError):
        FrameReader().feed((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(TooLargeError):
        FrameReader(bytes_max=3).feed(b"\0\0\0\4")


def test_a_larger_frame_of_our_own_is_a_bug():
    with pytest.raises(MisuseError):
        frame(bytes(FRAME_BYTES_MAX + 1))


def test_a_stream_that_ends_within_a_frame_is_noticed():
    reader = FrameReader()
    reader.feed(frame(b"ab")[:-1])
    with pytest.raises(TruncatedError):
        reader.finish()
