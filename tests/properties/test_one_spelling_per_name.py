"""A key has one DID and one peer id, and no other text is taken for either."""

from hypothesis import given
from hypothesis import strategies as st

from nunet_node.errors import PeerError
from nunet_node.identity.did import key_id_of, parse_did, resolve
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import did_of_peer_id, peer_id_of

SEEDS = st.binary(min_size=32, max_size=32)
PIECES = st.sampled_from(["", " ", "\n", "1", "z", "A", "#", "%20", "\u00a0", ":", "0"])


@given(SEEDS)
def test_a_key_its_did_and_its_peer_id_lead_to_one_another(seed):
    key = SigningKey(seed)
    assert resolve(key.did).signing.public.public_bytes == key.public_bytes
    assert did_of_peer_id(peer_id_of(key.did)) == key.did
    assert key_id_of(key.did).startswith(f"{key.did}#z6Mk")


@given(SEEDS, PIECES, st.data())
def test_a_did_that_was_edited_is_refused_or_somebody_elses(seed, piece, data):
    did = SigningKey(seed).did
    place = data.draw(st.integers(0, len(did)))
    skipped = data.draw(st.integers(0, 2))
    edited = did[:place] + piece + did[place + skipped :]
    try:
        parsed = parse_did(edited)
    except PeerError:
        assert edited != did
        return
    assert parsed == edited
    same_key = resolve(parsed).signing.public == resolve(did).signing.public
    assert same_key is (edited == did)


@given(SEEDS, SEEDS, st.binary(max_size=100))
def test_a_signature_is_one_keys_over_one_message(seed, other_seed, message):
    key, other = SigningKey(seed), SigningKey(other_seed)
    signature = key.sign(message)
    assert resolve(key.did).signing.verify(message, signature)
    assert not resolve(key.did).signing.verify(message + b"\0", signature)
    if other.did != key.did:
        assert not resolve(other.did).signing.verify(message, signature)
