"""A did:web names a public host and a path, and its document must be its own."""

import json

import pytest

from nunet_node.identity.did import (
    SIGNING,
    Did,
    Documents,
    Relationship,
    key_for,
    keys_for,
    parse_did,
)
from nunet_node.identity.errors import (
    IdentityError,
    InvalidDidError,
    MethodNotSupportedError,
    UnresolvedDidError,
)
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.methods.did_web import place_of, read_web_document

WHO = Did("did:web:example.com")
KEY = SigningKey(bytes(32)).did.removeprefix("did:key:")


def document(did=WHO):
    method = {"id": "#k", "type": "Multikey", "publicKeyMultibase": KEY}
    plain = {"id": did, "verificationMethod": [method], "authentication": ["#k"]}
    return json.dumps(plain).encode()


@pytest.mark.parametrize(
    ("did", "place"),
    [
        ("did:web:example.com", ("example.com", 443, "/.well-known/did.json")),
        ("did:web:a-b.example.com:u:x", ("a-b.example.com", 443, "/u/x/did.json")),
        (
            "did:web:example.com%3A8443",
            ("example.com", 8443, "/.well-known/did.json"),
        ),
        ("did:web:example.com%3A8443:u", ("example.com", 8443, "/u/did.json")),
    ],
)
def test_a_name_says_where_its_document_lies(did, place):
    assert place_of(did) == place


@pytest.mark.parametrize(
    "did",
    [
        "did:web:",
        "did:web:localhost",
        "did:web:127.0.0.1",
        "did:web:10.0.0.1%3A80",
        "did:web:0x7f.0.0.1",
        "did:web:1.2.3.4.5",
        "did:web:[::1]",
        "did:web:example.com:8443:",
        "did:web:example.com%3A0",
        "did:web:example.com%3A99999",
        "did:web:example.com%3a8443",
        "did:web:Example.com",
        "did:web:example.com:..",
        "did:web:example.com:.",
        "did:web:example.com:%2e%2e:x",
        "did:web:example.com:a/b",
        "did:web:example.com/x",
        "did:web:example.com?x",
        "did:web:user@example.com",
        "did:web:-a.com",
        "did:web:a..com",
        "did:web:example.com\n",
        "did:web:" + "a" * 64 + ".com",
        "did:web:" + "a." * 300 + "com",
        "http://example.com",
    ],
)
def test_what_names_no_public_host_is_refused(did):
    with pytest.raises(InvalidDidError):
        place_of(did)


def test_a_document_that_was_fetched_gives_its_keys():
    found = read_web_document(WHO, document())
    documents = Documents(found={WHO: found})
    assert key_for(WHO, Relationship.AUTHENTICATION, documents).did == WHO


@pytest.mark.parametrize(
    "data", [document("did:web:evil.com"), document("did:web:example.com:x"), b"{}"]
)
def test_the_document_of_another_is_refused(data):
    with pytest.raises(IdentityError):
        read_web_document(WHO, data)


def test_without_its_document_it_is_a_name_and_nobody():
    assert parse_did(WHO) == WHO
    for uses in [(Relationship.AUTHENTICATION,), tuple(SIGNING)]:
        with pytest.raises(MethodNotSupportedError):
            keys_for(WHO, uses)
        with pytest.raises(UnresolvedDidError, match="gone"):
            keys_for(WHO, uses, Documents(missing={WHO: "gone"}))
