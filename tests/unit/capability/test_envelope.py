"""The envelope is UCAN's own, and its header is the key's."""

import pytest

from nunet_node.capability.envelope import (
    DELEGATION_TAG,
    INVOCATION_TAG,
    read_token,
    seal_token,
)
from nunet_node.capability.errors import InvalidClaimError, InvalidSignatureError
from nunet_node.identity.did import Relationship
from nunet_node.identity.keys import SigningKey
from nunet_node.wire import cbor
from nunet_node.wire.errors import NonCanonicalError, SchemaError, WireError
from nunet_node.wire.schema import Record

ANNA = SigningKey(b"a" * 32)
BERT = SigningKey(b"b" * 32)
VARSIG = bytes.fromhex("3401ed01ed011371")


class Payload(Record):
    number: int


def by_hand(body, signature=None):
    signed = cbor.encode(body)
    return cbor.encode([ANNA.sign(signed) if signature is None else signature, body])


def read(data):
    return read_token(INVOCATION_TAG, Payload, data, bytes_max=1000)


def test_a_token_is_the_bytes_that_the_specification_says():
    body = {"h": VARSIG, INVOCATION_TAG: {"number": 7}}
    assert seal_token(INVOCATION_TAG, Payload(number=7), ANNA) == by_hand(body)


def test_a_token_is_read_as_it_was_sealed():
    data = seal_token(INVOCATION_TAG, Payload(number=7), ANNA)
    token = read(data)
    assert token.payload == Payload(number=7)
    assert token.cid.matches(data)
    token.check_signature(ANNA.did, (Relationship.CAPABILITY_INVOCATION,))
    with pytest.raises(InvalidSignatureError):
        token.check_signature(BERT.did, (Relationship.CAPABILITY_INVOCATION,))


@pytest.mark.parametrize(
    "header", [VARSIG[:-1], b"", VARSIG.replace(b"\x13", b"\x12"), bytes(8)]
)
def test_another_header_than_the_keys_is_refused(header):
    token = read(by_hand({"h": header, INVOCATION_TAG: {"number": 7}}))
    with pytest.raises(InvalidClaimError):
        token.check_signature(ANNA.did, (Relationship.CAPABILITY_INVOCATION,))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"h": VARSIG},
        {INVOCATION_TAG: {"number": 7}},
        {"h": "text", INVOCATION_TAG: {"number": 7}},
        {"h": VARSIG, DELEGATION_TAG: {"number": 7}},
        {"h": VARSIG, "ucan/inv@1.0.0-rc.1": {"number": 7}},
        {"h": VARSIG, INVOCATION_TAG: {"number": 7}, "more": 1},
        {"h": VARSIG, INVOCATION_TAG: {"number": 7}, DELEGATION_TAG: {}},
        [],
        7,
    ],
)
def test_another_envelope_is_refused(body):
    with pytest.raises(InvalidClaimError):
        read(by_hand(body))


@pytest.mark.parametrize("plain", [[], [bytes(64)], [bytes(64), {}, 1], {}, "jwt", 1])
def test_what_is_no_envelope_is_refused(plain):
    with pytest.raises(InvalidClaimError):
        read(cbor.encode(plain))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(length):
    with pytest.raises(InvalidSignatureError):
        read(by_hand({"h": VARSIG, INVOCATION_TAG: {"number": 7}}, bytes(length)))


def test_a_payload_of_another_kind_is_refused():
    with pytest.raises(SchemaError):
        read(by_hand({"h": VARSIG, INVOCATION_TAG: {"number": 7, "more": 1}}))


def test_an_older_token_is_refused():
    with pytest.raises(WireError):
        read(b"eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsInVjdiI6IjAuOC4xIn0.e30.c2ln")


def test_bytes_after_a_token_are_refused():
    with pytest.raises(NonCanonicalError):
        read(seal_token(INVOCATION_TAG, Payload(number=7), ANNA) + b"\0")
