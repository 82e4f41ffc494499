"""Known answers of the encoder, and what the decoder refuses by name.

The hexadecimal examples are from RFC 8949, appendix A, unless they say otherwise.
"""

import hashlib

import pytest

from nunet_node.errors import MisuseError
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import (
    CidError,
    NonCanonicalError,
    TooLargeError,
    TruncatedError,
    UnsupportedError,
)

KNOWN = [
    (0, "00"),
    (23, "17"),
    (24, "1818"),
    (255, "18ff"),
    (256, "190100"),
    (65535, "19ffff"),
    (65536, "1a00010000"),
    (1000000000000, "1b000000e8d4a51000"),
    (2**64 - 1, "1bffffffffffffffff"),
    (-1, "20"),
    (-100, "3863"),
    (-(2**63), "3b7fffffffffffffff"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    (b"", "40"),
    (b"\1\2\3\4", "4401020304"),
    ("", "60"),
    ("IETF", "6449455446"),
    ("\u00fc", "62c3bc"),
    ((), "80"),
    ((1, (2, 3), (4, 5)), "8301820203820405"),
    ({}, "a0"),
    ({"a": 1, "b": (2, 3)}, "a26161016162820203"),
    # DAG-CBOR orders keys by length first, and so does RFC 8949 where keys are text.
    ({"b": 0, "aa": 1}, "a261620062616101"),
    (
        Cid.of_raw(b""),
        f"d82a58250001551220{hashlib.sha256().hexdigest()}",
    ),
]


def decode(text, **limits):
    return cbor.decode(bytes.fromhex(text), bytes_max=100_000, **limits)


@pytest.mark.parametrize(("plain", "text"), KNOWN)
def test_a_value_has_the_known_encoding(plain, text):
    assert cbor.encode(plain).hex() == text


@pytest.mark.parametrize(("plain", "text"), KNOWN)
def test_the_known_encoding_is_read_back(plain, text):
    assert decode(text) == plain
    assert type(decode(text)) is type(plain)


def test_lists_and_tuples_encode_alike_and_decode_as_tuples():
    assert cbor.encode([1, [2]]) == cbor.encode((1, (2,)))
    assert decode("82018102") == (1, (2,))


@pytest.mark.parametrize(
    "plain",
    [
        1.0,
        float("nan"),
        2**64,
        -(2**63) - 1,
        {1: 2},
        {b"a": 1},
        {True: 1},
        {"e\u0301": 1},
        {1, 2},
        bytearray(b"x"),
        "\ud800",
        object(),
        [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]],
    ],
)
def test_what_is_not_plain_cannot_be_encoded(plain):
    with pytest.raises(MisuseError):
        cbor.encode(plain)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", TruncatedError),
        ("18", TruncatedError),
        ("4401", TruncatedError),
        ("8201", TruncatedError),
        ("a1", TruncatedError),
        ("a16161", TruncatedError),
        ("d82a", TruncatedError),
        ("0000", NonCanonicalError),
        ("1817", NonCanonicalError),
        ("1900ff", NonCanonicalError),
        ("1a0000ffff", NonCanonicalError),
        ("1b00000000ffffffff", NonCanonicalError),
        ("3817", NonCanonicalError),
        ("580100", NonCanonicalError),
        ("780161", NonCanonicalError),
        ("980100", NonCanonicalError),
        ("b801616100", NonCanonicalError),
        ("d9002a00", NonCanonicalError),
        ("f814", NonCanonicalError),
        ("a2616100616101", NonCanonicalError),
        ("a2616200616100", NonCanonicalError),
        ("a262616100616200", NonCanonicalError),
        ("61ff", NonCanonicalError),
        ("62c080", NonCanonicalError),
        ("63eda080", NonCanonicalError),
        ("a161ff00", NonCanonicalError),
        ("a16365cc8100", NonCanonicalError),
        ("3b8000000000000000", UnsupportedError),
        ("5f4100ff", UnsupportedError),
        ("7f6161ff", UnsupportedError),
        ("9f00ff", UnsupportedError),
        ("bf616100ff", UnsupportedError),
        ("ff", UnsupportedError),
        ("1c", UnsupportedError),
        ("1d", UnsupportedError),
        ("1e", UnsupportedError),
        ("f7", UnsupportedError),
        ("e0", UnsupportedError),
        ("f820", UnsupportedError),
        ("f97e00", UnsupportedError),
        ("f93e00", UnsupportedError),
        ("fa47c35000", UnsupportedError),
        ("fb3ff199999999999a", UnsupportedError),
        ("a10000", UnsupportedError),
        ("a1410000", UnsupportedError),
        ("a1f500", UnsupportedError),
        ("a18000", UnsupportedError),
        ("c000", UnsupportedError),
        ("d90102", UnsupportedError),
        ("d82a00", UnsupportedError),
        ("d82a4100", UnsupportedError),
        ("d82a5825" + "01" + "01551220" + "00" * 32, NonCanonicalError),
        ("d82a5825" + "00" + "01701220" + "00" * 32, CidError),
    ],
)
def test_another_encoding_is_refused_by_name(text, error):
    with pytest.raises(error):
        decode(text)


def test_depth_is_counted_in_levels():
    assert decode("81" * 16 + "00") is not None
    with pytest.raises(TooLargeError):
        decode("81" * 17 + "00")


def test_items_are_counted_over_the_whole_value():
    assert decode("830000" + "00", items_max=4) == (0, 0, 0)
    with pytest.raises(TooLargeError):
        decode("830000" + "00", items_max=3)
    with pytest.raises(TooLargeError):
        decode("8281008100", items_max=4)


def test_bytes_are_counted_before_anything_is_read():
    with pytest.raises(TooLargeError):
        cbor.decode(b"\xff" * 11, bytes_max=10)
