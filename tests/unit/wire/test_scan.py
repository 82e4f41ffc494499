"""The scan reads what is usual, as the strict reader does, and leaves the rest."""

import pytest

from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import NonCanonicalError, WireError
from nunet_node.wire.scan import SCAN_BYTES_MAX, key_text, scan, span

LEFT = (ValueError, IndexError, WireError)
RECORD = {
    "at": 2**40,
    "id": 7,
    "on": True,
    "off": False,
    "who": "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
    "body": {"data": bytes(300), "note": "n" * 23, "small": b"\1" * 23},
    "cids": (Cid.of_raw(b"a"), Cid.of_dag_cbor(b"b")),
    "none": None,
    "items": ((), (1, 200, 60_000, 70_000), {}, "text", b"x" * 24),
    "long": tuple(range(100)),
}


def test_a_usual_value_is_read_whole():
    data = cbor.encode(RECORD)
    assert scan(data, 3) == RECORD == cbor.decode_slowly(data)


@pytest.mark.parametrize("plain", [0, 23, 24, "text", b"bytes", None, True, (), {}])
def test_a_value_alone_is_read(plain):
    assert scan(cbor.encode(plain), 1) == plain


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a1",
        "a161",
        "a16161",
        "a1616118",
        "a161611817",
        "a1616119ff",
        "a16161190001",
        "a161611a0000ffff",
        "a161611b00000000ffffffff",
        "a1616178",
        "a161617817",
        "a1616162c328",
        "a16161580161",
        "a16161590001",
        "a1616142ff",
        "a161610000",
        "a2616100616100",
        "a2616200616100",
        "a26261610061610a",
        "a10000",
        "a1410000",
        "a1781861616161616161616161616161616161616161616161616100",
        "a161ff00",
        "a16381818100",
        "811c",
        "81d82a58250101551220",
        "81c100",
        "81f97e00",
        "81f7",
        "9801",
        "980100",
        "9f00ff",
        "bf616100ff",
        "20",
        "ff",
    ],
)
def test_what_is_wrong_or_unusual_is_left(text):
    with pytest.raises(LEFT):
        scan(bytes.fromhex(text), 16)


def test_nesting_is_bounded():
    assert scan(b"\x81\x81\x80", 3) == (((),),)
    for data in (b"\x81\x81\x80", b"\xa1\x61a\xa1\x61a\xa0", b"\x81" * 60_000):
        with pytest.raises(LEFT):
            scan(data, 2)


@pytest.mark.parametrize("key", ["e\u0301", "\u212b"])
def test_a_key_that_is_not_its_own_normal_form_is_left(key):
    pair = key.encode()
    with pytest.raises(NonCanonicalError):
        key_text(pair)
    with pytest.raises(LEFT):
        scan(b"\xa1" + bytes([0x60 + len(pair)]) + pair + b"\0", 16)


def test_no_key_is_believed_because_it_was_read_before():
    # The same bytes, first as a key and then where a key would end too late.
    assert scan(b"\xa1\x63abc\0", 1) == {"abc": 0}
    for data in (b"\xa1\x64abc\0", b"\xa1\x62abc\0", b"\xa1\x43abc\0", b"\xa1\x63ab"):
        with pytest.raises(LEFT):
            scan(data, 1)


def test_a_span_is_where_a_byte_string_stands():
    for size in (0, 1, 23, 24, 255, 256, 65_535):
        data = b"\0" + cbor.encode(bytes(size))
        start, stop = span(data, 1)
        assert (stop - start, stop) == (size, len(data))


@pytest.mark.parametrize("text", ["", "58", "5817", "59", "590017", "60", "3f", "5a"])
def test_what_is_no_usual_byte_string_has_no_span(text):
    with pytest.raises(LEFT):
        span(bytes.fromhex(text), 0)


def test_what_is_too_large_to_scan_is_read_by_the_strict_reader():
    plain = {"data": bytes(SCAN_BYTES_MAX), "more": (1,) * 300}
    data = cbor.encode(plain)
    assert cbor.decode(data, bytes_max=2**20) == plain
