"""A value has one encoding, and bytes that are read are that encoding."""

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from nunet_node.wire import cbor
from nunet_node.wire.cid import Cid
from nunet_node.wire.errors import WireError
from nunet_node.wire.framing import FrameReader, frame

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
