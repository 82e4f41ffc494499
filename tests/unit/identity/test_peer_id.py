"""A node's peer id and its DID say the same."""

import base58
import pytest

from nunet_node.identity.did import Did
from nunet_node.identity.errors import (
    InvalidKeyError,
    PeerIdError,
    UnsupportedKeyError,
)
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import did_of_peer_id, peer_id_of

DID = SigningKey(bytes(32)).did
PEER_ID = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
"""The peer id of the key whose seed is all zeros, as libp2p itself gives it."""


def test_a_known_key_has_its_known_peer_id():
    assert peer_id_of(DID) == PEER_ID


def test_a_peer_id_leads_back_to_its_did():
    assert did_of_peer_id(PEER_ID) == DID


@pytest.mark.parametrize(
    "text",
    [
        "",
        PEER_ID + "\n",
        " " + PEER_ID,
        PEER_ID[:-1],
        PEER_ID + "1",
        "1" + PEER_ID,
        PEER_ID.replace("12D3", "12d3"),
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "16Uiu2HAm5eVxUfmk2K2jMVkPJ4vNUMyMtDaXKyzH1qVJTzZzvqYX",
        "bafzaajaiaejcb3mhyaf3xyyqtcqmpxnbsbzvw3gsmmkxdhmiyk5wfvtekfd3xzb4",
        DID,
    ],
)
def test_another_text_is_refused(text):
    with pytest.raises(PeerIdError):
        did_of_peer_id(text)


def test_a_peer_id_of_a_key_that_is_not_valid_is_refused():
    weak = base58.b58encode(bytes.fromhex("002408011220") + bytes(32)).decode()
    with pytest.raises((InvalidKeyError, PeerIdError)):
        did_of_peer_id(weak)


def test_a_did_of_another_kind_of_key_has_no_peer_id():
    with pytest.raises(UnsupportedKeyError):
        peer_id_of(Did("did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv"))
