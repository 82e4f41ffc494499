"""Heads are read in their shortest form and lengths are not believed."""

import pytest

from nunet_node.wire.cursor import BYTES, TEXT, UINT, Cursor
from nunet_node.wire.errors import (
    EnvelopeError,
    NonCanonicalError,
    TruncatedError,
    UnsupportedError,
)


def cursor(text):
    return Cursor(bytes.fromhex(text))


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("17", (UINT, 23)),
        ("1818", (UINT, 24)),
        ("190100", (UINT, 256)),
        ("1a00010000", (UINT, 65536)),
        ("1b0000000100000000", (UINT, 2**32)),
        ("5820", (BYTES, 32)),
        ("64", (TEXT, 4)),
    ],
)
def test_a_head_is_read_whole(text, head):
    place = cursor(text)
    assert place.head() == head
    place.finish()


@pytest.mark.parametrize("text", ["", "18", "1901", "1a000100", "1b00000001000000"])
def test_a_head_that_is_cut_off_is_refused(text):
    with pytest.raises(TruncatedError):
        cursor(text).head()


@pytest.mark.parametrize("text", ["1800", "190001", "1a0000ffff", "1b00000000ffffffff"])
def test_a_longer_head_than_need_be_is_refused(text):
    with pytest.raises(NonCanonicalError):
        cursor(text).head()


@pytest.mark.parametrize("info", range(28, 32))
def test_reserved_heads_are_refused(info):
    with pytest.raises(UnsupportedError):
        Cursor(bytes([info]) + bytes(16)).head()


def test_bytes_that_are_not_there_are_not_taken():
    with pytest.raises(TruncatedError):
        cursor("0102").take(2**63)


def test_text_is_utf_8():
    assert cursor("c3bc").text(2) == "\u00fc"
    with pytest.raises(NonCanonicalError):
        cursor("ff").text(1)


def test_only_the_expected_is_stepped_over():
    place = cursor("d284")
    with pytest.raises(EnvelopeError):
        place.expect(b"\xd2\x83")
    place.expect(b"\xd2\x84")
    place.finish()
    with pytest.raises(EnvelopeError):
        place.expect(b"\x00")


def test_another_type_than_the_only_one_is_refused():
    with pytest.raises(EnvelopeError):
        cursor("40").argument_of(TEXT)
    assert cursor("43").argument_of(BYTES) == 3


def test_bytes_that_follow_are_refused():
    with pytest.raises(NonCanonicalError):
        cursor("00").finish()
