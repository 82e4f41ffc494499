"""A did:peer that carries its document resolves by itself, or not at all."""

import base64
import hashlib
import json

import pytest

from nunet_node.identity.did import Did, Relationship, key_for, parse_did, resolve
from nunet_node.identity.errors import (
    IdentityError,
    InvalidDidError,
    MethodNotSupportedError,
    UnsupportedKeyError,
)
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.methods.did_peer import resolve_peer
from nunet_node.identity.methods.multikey import encode_multibase, text_of_agreement

ONE, OTHER = SigningKey(bytes(32)), SigningKey(bytes([1]) * 32)
K1, K2 = (key.did.removeprefix("did:key:") for key in (ONE, OTHER))
E1 = text_of_agreement(resolve(ONE.did).key_agreement)


def service(value):
    data = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def four(plain, **changes):
    data = b"\x80\x04" + json.dumps(plain).encode()
    encoded = encode_multibase(changes.get("data", data))
    digest = hashlib.sha256(encoded.encode()).digest()
    named = changes.get("named", encode_multibase(b"\x12\x20" + digest))
    return f"did:peer:4{named}:{encoded}"


DOCUMENT = {
    "verificationMethod": [
        {"id": "#k", "type": "Multikey", "publicKeyMultibase": K1},
    ],
    "authentication": ["#k"],
}


def test_the_letters_of_form_two_say_what_keys_are_for():
    did = Did(f"did:peer:2.E{E1}.V{K1}.A{K2}.S{service({'t': 'dm', 's': 'x'})}")
    found = resolve_peer(did)
    assert found.key_agreement_id == f"{did}#key-1"
    assert found.key_for(Relationship.AUTHENTICATION).key_id == f"{did}#key-2"
    assert found.key_for(Relationship.ASSERTION_METHOD).key_id == f"{did}#key-3"
    with pytest.raises(UnsupportedKeyError):
        found.key_for(Relationship.CAPABILITY_INVOCATION)


def test_a_short_one_is_somebody_who_can_be_named():
    did = parse_did(f"did:peer:2.I{K1}.D{K2}")
    key = key_for(f"{did}#key-1", Relationship.CAPABILITY_INVOCATION)
    assert key.public.public_bytes == ONE.public_bytes
    with pytest.raises(UnsupportedKeyError):
        key_for(f"{did}#key-1", Relationship.CAPABILITY_DELEGATION)


def test_form_four_carries_its_document():
    did = Did(four(DOCUMENT))
    found = resolve_peer(did)
    assert found.key_for(Relationship.AUTHENTICATION).did == did
    assert found.also_known_as == (did.rpartition(":")[0],)


@pytest.mark.parametrize(
    "text",
    [
        "did:peer:2",
        "did:peer:2.",
        f"did:peer:2.X{K1}",
        f"did:peer:2.V{K1}.",
        f"did:peer:2.V{K1}\n",
        f"did:peer:2.V{K1}x",
        f"did:peer:2.V{E1}",
        f"did:peer:2.E{K1}",
        f"did:peer:2.V{K1}.S!!",
        f"did:peer:2.V{K1}.Sabc",
        f"did:peer:2.V{K1}.S{service([1])}",
        f"did:peer:2.V{K1}.S{service({'a': 1})[:-1]}",
        "did:peer:2" + f".V{K1}" * 40,
        "did:peer:2" + f".V{K1}" * 400,
        four(DOCUMENT, named="zQmWrong"),
        four(DOCUMENT)[:-1],
        four({**DOCUMENT, "id": "did:web:evil.com"}),
        four(DOCUMENT, data=b"\x80\x04{"),
        four(DOCUMENT, data=json.dumps(DOCUMENT).encode()),
        four({"verificationMethod": [{"id": "did:web:evil.com#k"}]}),
    ],
)
def test_what_is_malformed_is_refused(text):
    with pytest.raises(IdentityError):
        resolve_peer(Did(text))


@pytest.mark.parametrize(
    "text", ["did:peer:0" + K1, "did:peer:1zQm", "did:peer:3zQm", four(DOCUMENT)[:57]]
)
def test_forms_that_cannot_be_resolved_alone_are_not_spoken(text):
    with pytest.raises((MethodNotSupportedError, InvalidDidError)):
        resolve_peer(Did(text))


def test_a_did_too_long_for_a_message_is_no_owner():
    with pytest.raises(InvalidDidError):
        parse_did(four(DOCUMENT))
