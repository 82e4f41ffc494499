"""A key is had for the uses that its document lists, and for no other."""

import pytest

from nunet_node.identity.did import resolve
from nunet_node.identity.document import (
    DidDocument,
    Relationship,
    VerificationKey,
)
from nunet_node.identity.errors import InvalidDidError, UnsupportedKeyError
from nunet_node.identity.keys import SigningKey

DID = "did:example:x"
ONE, OTHER = (
    VerificationKey(
        did=DID,
        key_id=f"{DID}#{n}",
        public=resolve(SigningKey(bytes([n]) * 32).did).signing.public,
    )
    for n in (1, 2)
)
DOCUMENT = DidDocument(
    did=DID,
    keys=(ONE, OTHER),
    uses={
        Relationship.AUTHENTICATION: (ONE.key_id, OTHER.key_id),
        Relationship.ASSERTION_METHOD: (OTHER.key_id,),
    },
)


def test_the_first_key_listed_for_a_use_is_preferred():
    assert DOCUMENT.key_for(Relationship.AUTHENTICATION) is ONE
    assert DOCUMENT.key_for(Relationship.ASSERTION_METHOD) is OTHER
    assert DOCUMENT.signing is ONE


def test_a_named_key_is_had_only_for_its_uses():
    named = DOCUMENT.key_for(Relationship.AUTHENTICATION, OTHER.key_id)
    assert named is OTHER
    with pytest.raises(UnsupportedKeyError):
        DOCUMENT.key_for(Relationship.ASSERTION_METHOD, ONE.key_id)
    with pytest.raises(InvalidDidError):
        DOCUMENT.key_for(Relationship.AUTHENTICATION, f"{DID}#3")


@pytest.mark.parametrize(
    "use", [Relationship.CAPABILITY_INVOCATION, Relationship.KEY_AGREEMENT]
)
def test_a_use_that_is_not_listed_has_no_key(use):
    with pytest.raises(UnsupportedKeyError):
        DOCUMENT.key_for(use)


def test_a_document_without_keys_signs_nothing():
    empty = DidDocument(did=DID, keys=(), uses={})
    assert empty.key_agreement is None
    with pytest.raises(UnsupportedKeyError):
        _ = empty.signing
