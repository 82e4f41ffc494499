"""DIDs have one spelling, and are their keys.

The DIDs of the five seeds and their key-agreement keys are the published W3C-CCG
did:key test vectors.
"""

import base58
import pytest

from nunet_node.identity.did import (
    Did,
    Relationship,
    did_of_ed25519,
    ed25519_of,
    key_for,
    key_id_of,
    parse_did,
    resolve,
)
from nunet_node.identity.errors import (
    InvalidDidError,
    InvalidKeyError,
    MethodNotSupportedError,
    UnsupportedKeyError,
)
from nunet_node.identity.keys import SigningKey
from nunet_node.wire.cose import ALG_ED25519, ALG_ES256, ALG_ES256K

SEEDS = [
    (
        "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
        "z6LShs9GGnqk85isEBzzshkuVWrVKsRp24GnDuHk8QWkARMW",
    ),
    (
        "z6MkjchhfUsD6mmvni8mCdXHw216Xrm9bQe2mBH1P5RDjVJG",
        "z6LSrHyXiPBhUbvPUtyUCdf32sniiMGPTAesgHrtEa4FePtr",
    ),
    (
        "z6MknGc3ocHs3zdPiJbnaaqDi58NGb4pk1Sp9WxWufuXSdxf",
        "z6LSkkqoZRC34AEpbkhZCqLDcHQVAxuLpQ7kC8XCXMVUfvjE",
    ),
    (
        "z6MkvqoYXQfDDJRv8L4wKzxYeuKyVZBfi9Qo6Ro8MiLH3kDQ",
        "z6LSiUo6AEDat8Ze4nQzDo67SGuHLLwsUGkxndHGUjsywHow",
    ),
    (
        "z6MkwYMhwTvsq376YBAcJHy3vyRWzBgn5vKfVqqDCgm7XVKU",
        "z6LSmArkPSdTKjEESsExHRrSwUzYUHgDuWDewXc4nocasvFU",
    ),
]
DID = Did(f"did:key:{SEEDS[0][0]}")
P256 = "did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv"
K256 = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"


def spelt(prefix, key):
    data = bytes.fromhex(prefix) + key
    return f"did:key:z{base58.b58encode(data).decode()}"


@pytest.mark.parametrize(
    ("seed", "method", "agreement"),
    [(seed, *names) for seed, names in zip((0, 1, 2, 3, 5), SEEDS, strict=True)],
)
def test_a_published_seed_has_its_published_did(seed, method, agreement):
    key = SigningKey(seed.to_bytes(32, "big"))
    document = resolve(parse_did(f"did:key:{method}"))
    assert key.did == document.did == f"did:key:{method}"
    assert document.signing.key_id == f"{key.did}#{method}"
    assert document.key_agreement_id == f"{key.did}#{agreement}"


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [(DID, ALG_ED25519), (P256, ALG_ES256), (K256, ALG_ES256K)],
)
def test_three_kinds_of_key_can_sign(text, algorithm):
    assert key_for(text, Relationship.AUTHENTICATION).algorithm == algorithm


def test_only_an_ed25519_did_has_a_key_to_encrypt_to():
    assert resolve(Did(P256)).key_agreement is None
    assert resolve(Did(P256)).key_agreement_id is None
    assert len(resolve(DID).key_agreement) == 32


def test_a_did_leads_to_its_key_and_back():
    assert did_of_ed25519(ed25519_of(DID)) == DID
    with pytest.raises(UnsupportedKeyError):
        ed25519_of(Did(P256))
    with pytest.raises(InvalidKeyError):
        did_of_ed25519(bytes(32))


@pytest.mark.parametrize("relationship", list(Relationship))
def test_a_signing_key_is_for_everything_but_encryption(relationship):
    if relationship is Relationship.KEY_AGREEMENT:
        with pytest.raises(UnsupportedKeyError):
            key_for(DID, relationship)
    else:
        assert key_for(DID, relationship).did == DID


def test_a_key_is_found_by_its_url():
    url = key_id_of(DID)
    assert key_for(url, Relationship.AUTHENTICATION).key_id == url


@pytest.mark.parametrize(
    "fragment", ["#", "#key-1", f"#{SEEDS[1][0]}", f"#{SEEDS[0][1]}", "##", "#a#b"]
)
def test_a_url_that_names_another_key_is_refused(fragment):
    with pytest.raises(InvalidDidError):
        key_for(DID + fragment, Relationship.AUTHENTICATION)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "did:",
        "did:key",
        "did:key:",
        "did:key:z",
        "did:key:z0OIl",
        DID + "\n",
        DID + " ",
        " " + DID,
        DID + "\u00a0",
        DID.replace("did", "DID"),
        DID.replace("key", "KEY"),
        DID.replace("key:", "key:1:"),
        DID.replace("key:", "key:2:"),
        DID.replace(":z6Mk", ":z%36Mk"),
        "did:key:u7QE7aiengPQOvbuGDcMYTz4kuLhXzoV4mZ_13GGW28QR-Q",
        DID + "?versionId=1",
        DID + "/path",
        f"{DID}#{SEEDS[0][0]}",
        DID + "z" * 10_000,
        "did:web:127.0.0.1",
        "did:web:Example.com",
        "did:web:example.com/path",
        SEEDS[0][0],
    ],
)
def test_another_spelling_is_refused(text):
    with pytest.raises(InvalidDidError):
        parse_did(text)


@pytest.mark.parametrize(
    "text",
    [
        "did:ethr:0xb9c5714089478a327f09197987f16f9e5d936e8a",
        "did:example:x",
        "did:peer:4zQm",
        "did:pkh:eip155:1:0x0",
    ],
)
def test_another_method_is_refused_by_name(text):
    with pytest.raises(MethodNotSupportedError):
        parse_did(text)


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("ed01", bytes(31)),
        ("ed01", bytes(33)),
        ("ed01", bytes(32)),
        ("ed01", b"\1" + bytes(31)),
        ("e701", bytes(33)),
        ("8024", b"\2" + b"\xff" * 32),
        ("8024", b"\4" + bytes(64)),
    ],
)
def test_a_key_that_is_not_valid_is_refused(prefix, key):
    with pytest.raises(InvalidKeyError):
        parse_did(spelt(prefix, key))


@pytest.mark.parametrize(
    "prefix", ["ed8100", "ec01", "8124", "8224", "8026", "eb01", "8524", "00"]
)
def test_a_key_of_another_kind_is_refused(prefix):
    with pytest.raises(UnsupportedKeyError):
        parse_did(spelt(prefix, ed25519_of(DID)))
