"""Documents are written as others read them, and read strictly."""

import base64
import json

import pytest

from nunet_node.identity.did import Relationship, resolve
from nunet_node.identity.errors import (
    IdentityError,
    InvalidDidError,
    InvalidKeyError,
    UnsupportedKeyError,
)
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.methods.w3c import (
    DOCUMENT_BYTES_MAX,
    read_document,
    read_json,
    to_w3c,
)

KEY = SigningKey(bytes(32))
P256 = "did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv"
WHO = "did:web:example.com"


def jwk_of(key):
    x = base64.urlsafe_b64encode(key.public_bytes).decode().rstrip("=")
    return {"kty": "OKP", "crv": "Ed25519", "x": x}


def method(name="#k", **changes):
    given = {
        "id": name,
        "type": "Multikey",
        "controller": WHO,
        "publicKeyMultibase": KEY.did.removeprefix("did:key:"),
    }
    return {**given, **changes}


def document(*methods, **uses):
    return {"id": WHO, "verificationMethod": list(methods), **uses}


@pytest.mark.parametrize("did", [KEY.did, P256])
def test_a_document_that_was_written_is_read_as_it_was(did):
    shown = json.loads(json.dumps(to_w3c(resolve(did))))
    found = read_document(did, shown)
    assert found.signing.public.public_bytes == resolve(did).signing.public.public_bytes
    assert found.key_agreement == resolve(did).key_agreement
    for use in Relationship:
        if use is not Relationship.KEY_AGREEMENT:
            assert found.key_for(use).key_id == resolve(did).key_for(use).key_id


def test_relative_ids_and_embedded_methods_are_read():
    found = read_document(
        WHO, document(method("#a"), authentication=["#a", method("#b")])
    )
    assert [key.key_id for key in found.keys] == [f"{WHO}#a", f"{WHO}#b"]
    assert found.key_for(Relationship.AUTHENTICATION, f"{WHO}#b")
    with pytest.raises(UnsupportedKeyError):
        found.key_for(Relationship.CAPABILITY_INVOCATION)


def test_keys_in_json_are_read():
    given = method(publicKeyJwk=jwk_of(KEY))
    found = read_document(WHO, document(given, authentication=["#k"]))
    assert found.signing.public.public_bytes == KEY.public_bytes


def test_keys_of_other_kinds_are_passed_over():
    odd = method("#odd", publicKeyMultibase=None, type="RsaKey")
    found = read_document(WHO, document(odd, method("#k"), authentication=["#odd"]))
    assert len(found.keys) == 1
    with pytest.raises(UnsupportedKeyError):
        found.key_for(Relationship.AUTHENTICATION)


@pytest.mark.parametrize(
    "plain",
    [
        document(method(), method()),
        document(method(), authentication=[method()]),
        document(method("did:web:evil.com#k")),
        document(method("#")),
        document(method("k")),
        document(method(None)),
        document(method(controller="did:web:evil.com")),
        document(method(publicKeyJwk={**jwk_of(KEY), "d": "x"})),
        document(method(publicKeyJwk={**jwk_of(KEY), "x": "AA"})),
        document(method(publicKeyJwk={**jwk_of(KEY), "x": 5})),
        document(method(publicKeyJwk={"kty": "EC", "crv": "P-256", "x": "A", "y": 1})),
        document("text"),
        document(authentication=["#none"]),
        document(authentication="#k"),
        document(*[method(f"#{n}") for n in range(40)]),
        {"verificationMethod": {}},
    ],
)
def test_a_document_that_could_be_read_in_two_ways_is_refused(plain):
    with pytest.raises(IdentityError):
        read_document(WHO, plain)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"id": 1, "id": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b"[" * 100_000,
        b'{"a": "' + b"x" * DOCUMENT_BYTES_MAX + b'"}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_plain_object_is_refused(data):
    with pytest.raises(InvalidDidError):
        read_json(data)


def test_a_point_off_the_curve_is_refused():
    wrong = base64.urlsafe_b64encode(bytes(31) + b"\1").decode().rstrip("=")
    jwk = {"kty": "EC", "crv": "P-256", "x": wrong, "y": wrong}
    with pytest.raises(InvalidKeyError):
        read_document(WHO, document(method(publicKeyJwk=jwk)))
