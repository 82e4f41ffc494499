"""A signing key is its seed, and shows nothing of it."""

import nacl.bindings
import pytest

from nunet_node.errors import MisuseError
from nunet_node.identity.did import Relationship, key_for, resolve
from nunet_node.identity.errors import InvalidKeyError
from nunet_node.identity.keys import SECRET_KEYS, SecretKey, SigningKey, verify


def test_a_known_seed_makes_the_known_signature():
    # RFC 8032, section 7.1, test 2.
    seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
    key = SigningKey(bytes.fromhex(seed))
    assert key.public_bytes.hex() == (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    )
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_what_it_signs_holds_under_its_did():
    key = SigningKey(b"k" * 32)
    signature = key.sign(b"message")
    assert key_for(key.did, Relationship.AUTHENTICATION).verify(b"message", signature)
    assert verify(key.public_bytes, b"message", signature)


def test_it_can_open_what_is_sealed_to_its_did():
    key = SigningKey(b"k" * 32)
    public = nacl.bindings.crypto_scalarmult_base(key.key_agreement_secret())
    assert resolve(key.did).key_agreement == public


def test_it_does_not_show_its_secret():
    key = SigningKey(b"secret--" * 4)
    assert key.seed == b"secret--" * 4
    assert "secret" not in repr(key) + str(key)
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_a_bug_of_ours(length):
    with pytest.raises(MisuseError):
        SigningKey(bytes(length))


@pytest.mark.parametrize("curve", ["P-256", "secp256k1"])
def test_a_key_of_another_curve_signs_under_its_did(curve):
    key = SECRET_KEYS[curve](b"k" * 32)
    signature = key.sign(b"message")
    found = key_for(key.did, Relationship.CAPABILITY_INVOCATION)
    assert found.algorithm == key.algorithm
    assert found.verify(b"message", signature)
    assert not found.verify(b"massage", signature)
    assert signature == key.sign(b"message"), "a second signature of one message"
    assert (key.curve, key.seed) == (curve, b"k" * 32)


@pytest.mark.parametrize("curve", ["P-256", "secp256k1"])
def test_every_signature_of_another_curve_has_a_low_s(curve):
    key = SECRET_KEYS[curve](b"k" * 32)
    found = key_for(key.did, Relationship.AUTHENTICATION)
    assert all(found.verify(bytes([n]), key.sign(bytes([n]))) for n in range(32)), (
        "a high S would not verify"
    )


@pytest.mark.parametrize("curve", ["P-256", "secp256k1"])
@pytest.mark.parametrize("number", [bytes(32), b"\xff" * 32])
def test_a_number_outside_the_curve_is_no_key(curve, number):
    with pytest.raises(InvalidKeyError):
        SECRET_KEYS[curve](number)
    with pytest.raises(MisuseError):
        SECRET_KEYS[curve](b"short")


@pytest.mark.parametrize("curve", list(SECRET_KEYS))
def test_no_key_shows_its_secret(curve):
    key = SECRET_KEYS[curve](b"secret--" * 4)
    assert isinstance(key, SecretKey)
    assert "secret" not in repr(key) + str(key)
