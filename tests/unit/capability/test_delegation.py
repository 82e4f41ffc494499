"""A delegation is what its issuer signed, and UCAN's own bytes."""

import base64

import pytest

from nunet_node.capability.delegation import (
    DELEGATION_BYTES_MAX,
    open_delegation,
    seal_delegation,
)
from nunet_node.capability.envelope import DELEGATION_TAG
from nunet_node.capability.errors import InvalidClaimError, InvalidSignatureError
from nunet_node.errors import PeerError
from nunet_node.identity.errors import InvalidDidError
from nunet_node.identity.keys import SigningKey
from nunet_node.wire import cbor
from nunet_node.wire.errors import SchemaError, TooLargeError

ANNA = SigningKey(b"a" * 32)
BERT = SigningKey(b"b" * 32)

BOB = SigningKey(
    base64.b64decode("gCZfj9+RzU2U518TMBNK/fjdGQz34sB4iKE6z+9lQDpCIQ==")[2:]
)
CAROL = "did:key:z6MkmJceVoQSHs45cReEXoLtWm1wosCG8RLxfKwhxoqzoTkC"
PUBLISHED = base64.b64decode(
    "glhAjm4YpBUWgEVmBWSotkY7bjWxj9AJLs9NfQykfoF2LhKZ76lQH0B720Qq0/YxNu+dKuQLEzlfJvmY"
    "RnZGgI7dA6JhaEg0Ae0B7QETcW51Y2FuL2RsZ0AxLjAuMKdjYXVkeDhkaWQ6a2V5Ono2TWttSmNlVm9R"
    "U0hzNDVjUmVFWG9MdFdtMXdvc0NHOFJMeGZLd2h4b3F6b1RrQ2NjbWRoL2FjY291bnRjZXhwGmiCDLFj"
    "aXNzeDhkaWQ6a2V5Ono2TWttVDlqNmZWWnF6WFY4dTJ3VlZTdTQ5Z1lTUllHU1FuZHVXWEY2Zm9BSnJx"
    "emNwb2yAY3N1Yng4ZGlkOmtleTp6Nk1rbVQ5ajZmVlpxelhWOHUyd1ZWU3U0OWdZU1JZR1NRbmR1V1hG"
    "NmZvQUpycXplbm9uY2VMJ20r9pHkJ/yoNirD"
)
"""The delegation of the official UCAN 1.0.0 fixtures, from Bob to Carol."""


def sealed(**changes):
    given = {
        "signer": ANNA,
        "audience": BERT.did,
        "subject": ANNA.did,
        "command": "/nunet/job",
        "nonce": bytes(12),
        "expires_at_s": 1000,
    }
    return seal_delegation(**{**given, **changes})


def by_hand(signer=ANNA, **changes):
    payload = {
        "iss": ANNA.did,
        "aud": BERT.did,
        "sub": ANNA.did,
        "cmd": "/nunet/job",
        "pol": [],
        "nonce": bytes(12),
        "exp": 1000,
        **changes,
    }
    payload = {name: value for name, value in payload.items() if value != "absent"}
    body = {"h": bytes.fromhex("3401ed01ed011371"), DELEGATION_TAG: payload}
    return cbor.encode([signer.sign(cbor.encode(body)), body])


def test_the_published_delegation_is_read():
    delegation = open_delegation(PUBLISHED)
    assert (delegation.issuer, delegation.audience) == (BOB.did, CAROL)
    assert (delegation.subject, delegation.command) == (BOB.did, "/account")
    assert delegation.expires_at_s == 1753353393
    assert str(delegation.cid) == (
        "bafyreigyftnzjf4rcu7glp5kfop53vqlopc3zcldauoqdxqlz7t4343gr4"
    )


def test_the_published_delegation_is_made_byte_for_byte():
    assert (
        seal_delegation(
            signer=BOB,
            audience=CAROL,
            subject=BOB.did,
            command="/account",
            nonce=bytes.fromhex("276d2bf691e427fca8362ac3"),
            expires_at_s=1753353393,
        )
        == PUBLISHED
    )


def test_a_delegation_is_opened_as_it_was_sealed():
    data = sealed(
        policy=[("<=", ".cpu", 500)], not_before_s=10, subject=None, command="/"
    )
    delegation = open_delegation(data)
    assert (delegation.subject, delegation.command) == (None, "/")
    assert (delegation.not_before_s, delegation.expires_at_s) == (10, 1000)
    assert delegation.policy.holds({"cpu": 500})
    assert not delegation.policy.holds({"cpu": 501})
    assert delegation.data == data


def test_the_specifications_spelling_is_ours():
    assert sealed() == by_hand()
    assert open_delegation(by_hand(meta={"note": "for the holidays"}))
    assert open_delegation(by_hand(exp=None)).expires_at_s is None


def test_somebody_elses_signature_is_refused():
    with pytest.raises(InvalidSignatureError):
        open_delegation(by_hand(signer=BERT))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"iss": "absent"}, SchemaError),
        ({"aud": "absent"}, SchemaError),
        ({"sub": "absent"}, SchemaError),
        ({"cmd": "absent"}, SchemaError),
        ({"pol": "absent"}, SchemaError),
        ({"nonce": "absent"}, SchemaError),
        ({"exp": "absent"}, SchemaError),
        ({"more": 1}, SchemaError),
        ({"exp": True}, SchemaError),
        ({"exp": -1}, SchemaError),
        ({"exp": 2**53}, SchemaError),
        ({"nbf": -1}, SchemaError),
        ({"nonce": b""}, SchemaError),
        ({"nonce": "text-text"}, SchemaError),
        ({"nonce": bytes(65)}, SchemaError),
        ({"aud": None}, SchemaError),
        ({"aud": BERT.did + "#" + BERT.did[8:]}, InvalidDidError),
        ({"iss": ANNA.did + "\n"}, InvalidDidError),
        ({"cmd": "/Nunet"}, InvalidClaimError),
        ({"cmd": "/nunet/"}, InvalidClaimError),
        ({"pol": [["maybe", ".a", 1]]}, InvalidClaimError),
        ({"nbf": None}, PeerError),
        ({"meta": None}, PeerError),
    ],
)
def test_another_payload_is_refused(changes, error):
    with pytest.raises(error):
        open_delegation(by_hand(**changes))


def test_a_delegation_that_is_too_large_is_refused():
    with pytest.raises(TooLargeError):
        open_delegation(by_hand(meta={"note": "x" * DELEGATION_BYTES_MAX}))


@pytest.mark.parametrize(
    "changes", [{"command": "/x/"}, {"policy": [("like", ".a", 1)]}]
)
def test_a_delegation_that_could_not_be_read_is_not_made(changes):
    with pytest.raises(InvalidClaimError):
        sealed(**changes)
