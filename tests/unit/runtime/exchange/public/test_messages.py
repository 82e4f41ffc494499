"""Messages of Bitswap: read as other software writes them, refused when malformed."""

import pytest

from nunet_node.runtime.exchange.public.messages import (
    WANTS_MAX,
    BitswapError,
    Reply,
    Wanted,
    encode,
    read_varint,
    read_wants,
)
from nunet_node.wire.cid import Cid

DATA = b"public"
CID = Cid.of_raw(DATA).to_bytes()


def part(field, data):
    return bytes([field << 3 | 2, len(data)]) + data


def entry(cid=CID, rest=b""):
    return part(1, part(1, cid) + rest)


def wantlist(*entries):
    return b"\x0a" + _length(b"".join(entries)) + b"".join(entries)


def _length(data):
    size = len(data)
    return bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])


def test_a_want_is_read():
    # Priority 1, wantType Have, sendDontHave.
    rest = b"\x10\x01\x20\x01\x28\x01"
    assert read_wants(wantlist(entry(rest=rest))) == (
        Wanted(cid=CID, block=False, tell_absence=True),
    )
    assert read_wants(wantlist(entry())) == (
        Wanted(cid=CID, block=True, tell_absence=False),
    )


def test_what_is_cancelled_is_not_wanted():
    assert read_wants(wantlist(entry(rest=b"\x18\x01"))) == ()


def test_ids_that_are_not_ours_are_passed_over():
    old = b"\x12\x20" + bytes(32)
    assert read_wants(wantlist(entry(old), entry())) == (
        Wanted(cid=CID, block=True, tell_absence=False),
    )


def test_what_is_not_understood_is_passed_over():
    strange = b"\x78\x05" + b"\x71" + bytes(8) + b"\x75" + bytes(4) + part(9, b"new")
    assert read_wants(strange + wantlist(entry())) != ()


def test_only_so_many_wants_are_looked_at():
    entries = b"".join([entry()] * 400)
    lists = part_of(entries) * 4
    assert len(read_wants(lists)) == WANTS_MAX


def part_of(data):
    size = len(data)
    head = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
    return b"\x0a" + head + data


@pytest.mark.parametrize(
    "message",
    [b"\x0a", b"\x0a\x05abc", b"\x0b\x00", b"\xff" * 11, b"\x0a\xff\xff\xff\xff\x0f"],
)
def test_a_malformed_message_is_refused(message):
    with pytest.raises(BitswapError):
        read_wants(message)


def test_a_reply_is_what_the_specification_says():
    other = Cid.of_raw(b"other").to_bytes()
    said = encode(Reply(blocks=[(CID, DATA)], have=[CID], lack=[other]))
    body = (
        b"\x0a\x00"
        + part(3, part(1, b"\x01\x55\x12\x20") + part(2, DATA))
        + part(4, part(1, CID) + b"\x10\x00")
        + part(4, part(1, other) + b"\x10\x01")
    )
    assert said == _length(body) + body


@pytest.mark.parametrize(("data", "value"), [(b"\x00", 0), (b"\x80\x01", 128)])
def test_a_number_is_read_with_its_end(data, value):
    assert read_varint(data + b"more", 0) == (value, len(data))
    assert read_varint(data[:-1], 0) is None
