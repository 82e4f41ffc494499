"""What is opened was said, by this issuer, of this kind, for us, and holds now."""

import hashlib

import base58
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nunet_node.errors import MisuseError
from nunet_node.identity.errors import (
    InvalidDidError,
    InvalidSignatureError,
    StaleError,
    WrongAudienceError,
    WrongIssuerError,
    WrongKindError,
)
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.statement import (
    ANYONE,
    CLOCK_SKEW_S,
    open_statement,
    seal,
    topic_audience,
)
from nunet_node.wire.cose import (
    ALG_ES256,
    Header,
    encode_header,
    read_sign1,
    seal_sign1,
    to_be_signed,
)
from nunet_node.wire.errors import (
    EnvelopeError,
    NonCanonicalError,
    SchemaError,
    TooLargeError,
)
from nunet_node.wire.schema import Record, encode_record

ANNA = SigningKey(b"a" * 32)
BERT = SigningKey(b"b" * 32)
NOW_S = 1_700_000_000
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Fact(Record):
    text: str


def sealed(**changes):
    given = {
        "kind": "fact",
        "signer": ANNA,
        "audience": BERT.did,
        "now_s": NOW_S,
        "ttl_s": 60,
        "nonce": bytes(16),
    }
    return seal(Fact(text="it rains"), **{**given, **changes})


def opened(data, **changes):
    given = {
        "kind": "fact",
        "payload_type": Fact,
        "now_s": NOW_S,
        "audience": BERT.did,
    }
    return open_statement(data, **{**given, **changes})


def by_hand(payload=None, signer=ANNA, aad=b"nunet-node|1|nunet-main|fact", **changes):
    given = {
        "algorithm": -19,
        "key_id": f"{ANNA.did}#{ANNA.did[8:]}",
        "issuer": ANNA.did,
        "audience": BERT.did,
        "expires_at_s": NOW_S + 60,
        "issued_at_s": NOW_S,
        "cti": bytes(16),
        "kind": "nunet/fact@1",
    }
    protected = encode_header(Header(**{**given, **changes}))
    payload = encode_record(Fact(text="it rains")) if payload is None else payload
    signature = signer.sign(to_be_signed(protected, aad, payload))
    return seal_sign1(protected, payload, signature)


def test_a_statement_is_opened_as_it_was_sealed():
    data = sealed()
    statement = opened(data)
    assert statement.payload == Fact(text="it rains")
    assert (statement.issuer, statement.audience) == (ANNA.did, BERT.did)
    assert (statement.issued_at_s, statement.expires_at_s) == (NOW_S, NOW_S + 60)
    assert (statement.cti, statement.data) == (bytes(16), data)


def test_a_statement_is_the_bytes_that_the_protocol_says():
    assert sealed() == by_hand()


def test_its_id_is_the_hash_of_what_was_signed():
    data = sealed()
    sign1 = read_sign1(data, bytes_max=1000)
    signed = to_be_signed(
        sign1.protected, b"nunet-node|1|nunet-main|fact", sign1.payload
    )
    assert opened(data).message_id == hashlib.sha256(signed).digest()


@pytest.mark.parametrize("audience", [ANYONE, topic_audience("adverts"), BERT.did])
def test_a_statement_is_for_its_audience_only(audience):
    data = sealed(audience=audience)
    assert opened(data, audience=audience).audience == audience
    assert opened(data, audience=None).audience == audience
    with pytest.raises(WrongAudienceError):
        opened(data, audience=ANNA.did)


def test_another_kind_is_refused():
    with pytest.raises(WrongKindError):
        opened(sealed(), kind="other")


def test_a_signature_fits_no_other_kind_and_no_other_network():
    with pytest.raises(InvalidSignatureError):
        opened(by_hand(kind="nunet/other@1"), kind="other")
    with pytest.raises(InvalidSignatureError):
        opened(sealed(network_id="nunet-test"))
    assert opened(sealed(network_id="nunet-test"), network_id="nunet-test")


def test_a_statement_holds_until_it_expires_and_no_longer():
    data = sealed(ttl_s=60)
    assert opened(data, now_s=NOW_S + 60)
    with pytest.raises(StaleError):
        opened(data, now_s=NOW_S + 61)
    assert opened(data, now_s=NOW_S + 10**9, check_time=False)


def test_a_statement_may_come_from_a_clock_that_is_a_little_ahead():
    assert opened(sealed(now_s=NOW_S + CLOCK_SKEW_S))
    with pytest.raises(StaleError):
        opened(sealed(now_s=NOW_S + CLOCK_SKEW_S + 1))


@pytest.mark.parametrize(
    ("issued_at_s", "expires_at_s"),
    [(NOW_S, NOW_S), (NOW_S, NOW_S - 1), (NOW_S, 2**53), (NOW_S, 2**64 - 1)],
)
def test_times_that_make_no_sense_are_refused_even_offline(issued_at_s, expires_at_s):
    data = by_hand(issued_at_s=issued_at_s, expires_at_s=expires_at_s)
    with pytest.raises(StaleError):
        opened(data, check_time=False)


def test_the_key_must_be_the_issuers():
    with pytest.raises(WrongIssuerError):
        opened(by_hand(issuer=BERT.did))
    with pytest.raises(WrongIssuerError):
        opened(by_hand(key_id=ANNA.did))
    with pytest.raises(InvalidDidError):
        opened(by_hand(key_id=f"{ANNA.did}#{BERT.did[8:]}"))
    with pytest.raises(InvalidDidError):
        opened(by_hand(key_id="somebody"))
    with pytest.raises(InvalidSignatureError):
        opened(by_hand(signer=BERT))


@pytest.mark.parametrize("algorithm", [-8, -7, ALG_ES256, -1])
def test_the_algorithm_must_be_the_keys(algorithm):
    with pytest.raises(WrongKindError):
        opened(by_hand(algorithm=algorithm))


def test_the_payload_must_be_the_kinds_record_in_its_only_form():
    with pytest.raises(SchemaError):
        opened(by_hand(payload=b"\xa0"))
    with pytest.raises(NonCanonicalError):
        opened(by_hand(payload=b"\xa1\x64text\x78\x01x"))


def test_a_detached_payload_is_refused():
    data = sealed()
    payload = encode_record(Fact(text="it rains"))
    head = bytes([0x40 + len(payload)])
    with pytest.raises(EnvelopeError):
        opened(data.replace(head + payload, b"\xf6"))


def test_a_statement_that_is_too_large_is_not_read():
    with pytest.raises(TooLargeError):
        opened(sealed(), bytes_max=100)


@pytest.mark.parametrize("changes", [{"nonce": bytes(15)}, {"ttl_s": 0}])
def test_a_statement_without_an_id_or_a_life_is_a_bug_of_ours(changes):
    with pytest.raises(MisuseError):
        sealed(**changes)


class P256Signer:
    """Somebody whose key is on P-256, and whose signatures differ each time."""

    def __init__(self):
        self._key = ec.derive_private_key(7, ec.SECP256R1())
        point = self._key.public_key().public_bytes(
            Encoding.X962, PublicFormat.CompressedPoint
        )
        self.did = (
            f"did:key:z{base58.b58encode(bytes.fromhex('8024') + point).decode()}"
        )
        self.algorithm = ALG_ES256

    def sign(self, message):
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(SHA256())))
        low = min(s, P256_ORDER - s)
        return r.to_bytes(32, "big") + low.to_bytes(32, "big")


def test_two_signatures_on_one_statement_make_one_statement():
    signer = P256Signer()
    first, second = sealed(signer=signer), sealed(signer=signer)
    assert first != second
    assert opened(first).issuer == signer.did
    assert opened(first).message_id == opened(second).message_id
