"""Small bytes that would become large work are refused before they do.

Each of these harms a general CBOR decoder: memory set aside for a length that is a
lie, recursion, values that refer to one another, keys that collide, tags that run
parsers. The work is measured in memory and in steps, not in time.
"""

import tracemalloc
from unittest.mock import patch

import cbor2
import pytest

from nunet_node.wire import cbor
from nunet_node.wire.errors import (
    TooLargeError,
    TruncatedError,
    UnsupportedError,
    WireError,
)
from nunet_node.wire.limits import FRAME_BYTES_MAX, ITEMS_MAX


def decode(data):
    return cbor.decode(data, bytes_max=FRAME_BYTES_MAX)


@pytest.mark.parametrize("head", ["5b", "7b", "9b", "bb"])
@pytest.mark.parametrize("length", [2**32, 2**53, 2**62, 2**63 - 1, 2**64 - 1])
def test_a_length_that_is_a_lie_sets_no_memory_aside(head, length):
    data = bytes.fromhex(head) + length.to_bytes(8, "big")
    tracemalloc.start()
    try:
        with pytest.raises(TruncatedError):
            decode(data + b"\0" * 1000)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opening", [b"\x81", b"\xa1\x61\x61", b"\xd8\x2a", b"\xc1"])
@pytest.mark.parametrize("depth", [17, 400, 100_000])
def test_deep_nesting_is_refused_without_deep_recursion(opening, depth):
    data = (opening * depth)[: FRAME_BYTES_MAX - 1] + b"\0"
    with pytest.raises((TooLargeError, UnsupportedError)):
        decode(data)


@pytest.mark.parametrize("item", [b"\0", b"\x80", b"\xa0", b"\x60", b"\xf6"])
def test_a_frame_full_of_tiny_items_is_refused(item):
    count = FRAME_BYTES_MAX - 5
    with pytest.raises(TooLargeError):
        decode(b"\x9a" + count.to_bytes(4, "big") + item * count)


def test_many_arrays_cannot_share_one_claim():
    # Each of the inner arrays claims all that follows it.
    data = b"".join(b"\x99" + (60_000 - i).to_bytes(2, "big") for i in range(15))
    with pytest.raises(WireError):
        decode(data + b"\0" * 70_000)


def test_the_most_items_that_pass_take_bounded_memory():
    count = ITEMS_MAX - 1
    data = b"\x99" + count.to_bytes(2, "big") + b"\x80" * count
    tracemalloc.start()
    try:
        assert len(decode(data)) == count
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_values_that_refer_to_one_another_are_refused():
    level = bytes.fromhex("d81c80")
    for _ in range(12):
        level = bytes.fromhex("d81c82") + level + bytes.fromhex("d81d00")
    for data in (level, bytes.fromhex("d81c81d81d00")):
        with pytest.raises(UnsupportedError):
            decode(data)


def test_integer_keys_that_collide_are_refused_at_the_first():
    modulus = 2**61 - 1
    pairs = b"".join(
        b"\x1b" + (index * modulus).to_bytes(8, "big") + b"\0" for index in range(1, 8)
    )
    with pytest.raises(UnsupportedError):
        decode(b"\xa7" + pairs)


@pytest.mark.parametrize(
    "data",
    [
        cbor2.dumps(cbor2.CBORTag(tag, content))
        for tag, content in (
            (0, "2026-01-01T00:00:00Z"),
            (1, 0),
            (2, b"\xff" * 100),
            (3, b"\xff" * 100),
            (4, [1, 2]),
            (5, [1, 2]),
            (25, 0),
            (28, [1]),
            (29, 0),
            (30, [1, 2]),
            (35, "(a+)+$"),
            (36, "MIME-Version: 1.0"),
            (37, b"\0" * 16),
            (100, 1),
            (256, ["a"]),
            (258, [1]),
            (260, b"\x7f\0\0\1"),
            (55799, 0),
        )
    ],
)
def test_a_tag_that_would_run_a_parser_is_refused_unread(data):
    def never(*_args, **_kwargs):
        pytest.fail("a general decoder saw a stranger's bytes")

    with patch("cbor2.loads", never), pytest.raises(UnsupportedError):
        decode(data)


def test_an_empty_input_and_two_values_are_refused():
    for data in (b"", b"\0\0", b"\xf6" * 3, cbor.encode({"a": 1}) * 2):
        with pytest.raises(WireError):
            decode(data)
