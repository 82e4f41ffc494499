"""A value has one encoding, and bytes that are read are that encoding."""

import operator
from typing import Any

import cbor2
from hypothesis import assume, given
from hypothesis import strategies as st

from nunet_node.capability.envelope import DELEGATION_TAG, read_token
from nunet_node.errors import MisuseError, PeerError
from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.cose import Header, encode_header, read_sign1, seal_sign1
from nunet_node.wire.errors import WireError
from nunet_node.wire.framing import FrameReader, frame
from nunet_node.wire.limits import PROTECTED_BYTES_MAX
from nunet_node.wire.scan import scan
from nunet_node.wire.schema import Record, to_plain

KEYS = st.text(st.characters(codec="ascii"), max_size=6)
CIDS = st.builds(Cid.of_raw, st.binary()) | st.builds(Cid.of_dag_cbor, st.binary())
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(cbor.INT_MIN, cbor.INT_MAX)
    | st.binary(max_size=40)
    | st.text(max_size=40)
    | CIDS
)
PLAIN = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=20,
)


def same(one, other):
    """Compare with types, since true equals 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return one == other


def decode(data):
    return cbor.decode(data, bytes_max=100_000)


@given(PLAIN)
def test_what_was_encoded_is_decoded(plain):
    assert same(decode(cbor.encode(plain)), plain)


@given(st.dictionaries(KEYS, LEAVES), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(plain, chance):
    items = list(plain.items())
    chance.shuffle(items)
    assert cbor.encode(dict(items)) == cbor.encode(plain)


@given(st.binary(max_size=60))
def test_bytes_that_are_read_are_their_values_encoding(data):
    try:
        plain = decode(data)
    except WireError:
        return
    assert cbor.encode(plain) == data


@given(PLAIN, st.data())
def test_changed_bytes_are_refused_or_are_another_value(plain, data):
    encoded = cbor.encode(plain)
    place = data.draw(st.integers(0, len(encoded) - 1))
    byte = data.draw(st.integers(0, 255))
    changed = encoded[:place] + bytes([byte]) + encoded[place + 1 :]
    try:
        other = decode(changed)
    except WireError:
        return
    assert cbor.encode(other) == changed
    assert same(other, plain) is (changed == encoded)


@given(PLAIN.filter(lambda plain: not isinstance(plain, Cid)))
def test_a_general_decoder_reads_the_same_bytes(plain):
    again = cbor2.loads(cbor.encode(plain))
    assert cbor2.dumps(again, canonical=True) == cbor.encode(plain)


@given(CIDS)
def test_a_content_id_has_one_text_and_one_binary_form(cid):
    assert Cid.parse(str(cid)) == cid
    assert Cid.from_bytes(cid.to_bytes()) == cid
    assert len(str(cid)) == 59


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_frames_arrive_whole_in_any_pieces(frames, data):
    stream = b"".join(map(frame, frames))
    reader = FrameReader()
    read, start = [], 0
    while start < len(stream):
        stop = data.draw(st.integers(start + 1, len(stream)))
        read += reader.feed(stream[start:stop])
        start = stop
    reader.finish()
    assert read == frames


TIMES = st.integers(0, 2**64 - 1) | st.integers(2**24, 2**32 - 1)
NAMES = st.text(max_size=40)
TAIL = b"\x04\x1a\x65\x53\xf1\x3c\x06\x1a\x65\x53\xf1\x00\x07\x50" + bytes(16)
TRAPS = st.sampled_from(["", TAIL.decode("latin-1"), "x\x10", "\x04\x1a"])
HEADERS = st.builds(
    Header,
    algorithm=st.integers(-(2**64), -1),
    key_id=st.text(st.characters(codec="ascii"), max_size=40),
    issuer=NAMES,
    audience=st.builds(operator.add, NAMES, TRAPS),
    expires_at_s=TIMES,
    issued_at_s=TIMES,
    cti=st.binary(min_size=16, max_size=16),
    kind=st.builds(operator.add, TRAPS, NAMES),
)


def sealed(sign1):
    return seal_sign1(encode_header(sign1.header), sign1.payload, sign1.signature)


@given(HEADERS, st.binary(max_size=300), st.binary(min_size=64, max_size=64))
def test_a_statement_is_read_as_it_was_written(header, payload, signature):
    protected = encode_header(header)
    data = seal_sign1(protected, payload, signature)
    assume(len(protected) <= PROTECTED_BYTES_MAX)
    sign1 = read_sign1(data, bytes_max=10_000)
    assert (sign1.header, sign1.payload) == (header, payload)
    assert (sign1.protected, sign1.signature) == (protected, signature)


@given(HEADERS, st.binary(max_size=300), st.data())
def test_a_statement_that_is_read_is_its_only_encoding(header, payload, data):
    whole = seal_sign1(encode_header(header), payload, bytes(64))
    place = data.draw(st.integers(0, len(whole) - 1))
    width = data.draw(st.integers(0, 3))
    changed = whole[:place] + data.draw(st.binary(max_size=3)) + whole[place + width :]
    try:
        sign1 = read_sign1(changed, bytes_max=10_000)
    except WireError:
        return
    assert sealed(sign1) == changed


class Payload(Record):
    """What a token may hold."""

    number: int = 7
    more: Any = None


VARSIG = bytes.fromhex("3401ed01ed011371")
HEADS = st.sampled_from([VARSIG, VARSIG[:-1], bytes(8)]) | st.binary(max_size=12)


@given(HEADS, st.integers(0, 99), PLAIN, st.data())
def test_a_token_that_is_read_is_its_only_encoding(head, number, more, data):
    body = {"h": head, DELEGATION_TAG: to_plain(Payload(number=number, more=more))}
    whole = cbor.encode([bytes(64), body])
    assert read_payload(whole) == Payload(number=number, more=more)
    place = data.draw(st.integers(0, len(whole) - 1))
    width = data.draw(st.integers(0, 3))
    changed = whole[:place] + data.draw(st.binary(max_size=3)) + whole[place + width :]
    try:
        token = read_token(DELEGATION_TAG, Payload, changed, bytes_max=100_000)
    except PeerError:
        return
    body = {"h": token.header, DELEGATION_TAG: to_plain(token.payload)}
    assert cbor.encode([token.signature, body]) == changed
    assert cbor.encode(body) == token.signed


def read_payload(data):
    return read_token(DELEGATION_TAG, Payload, data, bytes_max=100_000).payload


USUAL_KEYS = st.text(st.characters(codec="utf-8"), max_size=8)
USUAL = st.recursive(
    LEAVES | st.binary(min_size=20, max_size=300) | st.text(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=30).map(tuple)
        | st.dictionaries(USUAL_KEYS, inner, max_size=6)
    ),
    max_leaves=30,
)
LEFT = (ValueError, IndexError, WireError)


def agree(data, depth_max):
    """Tell whether the strict reader reads as the same what the scan reads, if it does.

    Raises:
        WireError: the scan reads what the strict reader refuses.
    """
    try:
        plain = scan(data, depth_max)
    except LEFT:
        return True
    return same(cbor.decode_slowly(data, depth_max=depth_max), plain)


@given(USUAL, st.integers(0, 5))
def test_the_scan_reads_values_as_the_strict_reader_does(plain, depth_max):
    try:
        data = cbor.encode(plain)
    except MisuseError:
        return
    assert agree(data, depth_max)


@given(st.binary(max_size=60), st.integers(0, 5))
def test_the_scan_reads_no_bytes_that_the_strict_reader_refuses(data, depth_max):
    assert agree(data, depth_max)


@given(USUAL, st.data())
def test_the_scan_reads_no_changed_bytes_that_the_strict_reader_refuses(plain, data):
    try:
        encoded = cbor.encode(plain)
    except MisuseError:
        return
    place = data.draw(st.integers(0, len(encoded) - 1))
    width = data.draw(st.integers(0, 3))
    put = data.draw(st.binary(max_size=4))
    assert agree(encoded[:place] + put + encoded[place + width :], 16)
