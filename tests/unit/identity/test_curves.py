"""Keys are points of their curve, and a signature has one form.

The ECDSA signatures are from the AT Protocol's interoperability tests.
"""

import base64

import base58
import nacl.bindings
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from nunet_node.identity.curves import (
    EcdsaKey,
    Ed25519Key,
    verify_ed25519,
    x25519_of_ed25519,
)
from nunet_node.identity.errors import InvalidKeyError
from nunet_node.wire.cose import ALG_ED25519, ALG_ES256, ALG_ES256K

PUBLIC, SECRET = nacl.bindings.crypto_sign_seed_keypair(bytes(32))
ORDERS = {
    ALG_ES256: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    ALG_ES256K: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
}
CURVES = {ALG_ES256: ec.SECP256R1(), ALG_ES256K: ec.SECP256K1()}
UNCOMPRESSED = serialization.PublicFormat.UncompressedPoint
COMPRESSED = serialization.PublicFormat.CompressedPoint

LOW_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    # The same points in encodings that are not canonical.
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


def sign(message):
    return nacl.bindings.crypto_sign(message, SECRET)[:64]


def ecdsa_pair(algorithm, message):
    secret = ec.derive_private_key(7, CURVES[algorithm])
    r, s = decode_dss_signature(secret.sign(message, ec.ECDSA(SHA256())))
    low = min(s, ORDERS[algorithm] - s)
    point = secret.public_key().public_bytes(serialization.Encoding.X962, COMPRESSED)
    return point, r, low


def test_an_ed25519_key_verifies_its_own_signatures_only():
    key = Ed25519Key(PUBLIC)
    assert key.algorithm == ALG_ED25519
    assert key.verify(b"message", sign(b"message"))
    assert not key.verify(b"other", sign(b"message"))
    assert not verify_ed25519(bytes(31), b"message", sign(b"message"))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_fails(length):
    signature = (sign(b"m") + b"\0")[:length]
    assert not Ed25519Key(PUBLIC).verify(b"m", signature)
    point, _, _ = ecdsa_pair(ALG_ES256, b"m")
    assert not EcdsaKey(point, ALG_ES256).verify(b"m", signature)


def test_a_scalar_that_is_not_reduced_fails():
    order = 2**252 + 27742317777372353535851937790883648493
    signature = sign(b"m")
    scalar = int.from_bytes(signature[32:], "little") + order
    forged = signature[:32] + scalar.to_bytes(32, "little")
    assert not Ed25519Key(PUBLIC).verify(b"m", forged)


@pytest.mark.parametrize("text", LOW_ORDER)
def test_an_ed25519_key_of_small_order_is_refused(text):
    with pytest.raises(InvalidKeyError):
        Ed25519Key(bytes.fromhex(text))


@pytest.mark.parametrize(
    "public", [b"", PUBLIC[:-1], PUBLIC + b"\0", b"\2" + bytes(31)]
)
def test_what_is_no_ed25519_point_is_refused(public):
    with pytest.raises(InvalidKeyError):
        Ed25519Key(public)


@pytest.mark.parametrize("algorithm", [ALG_ES256, ALG_ES256K])
def test_an_ecdsa_key_takes_the_low_s_and_not_the_high_one(algorithm):
    point, r, s = ecdsa_pair(algorithm, b"message")
    key = EcdsaKey(point, algorithm)
    low = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    high = r.to_bytes(32, "big") + (ORDERS[algorithm] - s).to_bytes(32, "big")
    assert key.verify(b"message", low)
    assert not key.verify(b"message", high)
    assert not key.verify(b"other", low)
    assert not key.verify(b"message", bytes(64))


@pytest.mark.parametrize("algorithm", [ALG_ES256, ALG_ES256K])
def test_what_is_no_compressed_point_is_refused(algorithm):
    secret = ec.derive_private_key(7, CURVES[algorithm])
    long = secret.public_key().public_bytes(serialization.Encoding.X962, UNCOMPRESSED)
    off_curve = b"\2" + b"\xff" * 32
    for public in (
        b"",
        b"\0",
        b"\0" * 33,
        long,
        long[:33],
        off_curve,
        b"\5" + long[1:33],
    ):
        with pytest.raises(InvalidKeyError):
            EcdsaKey(public, algorithm)


@pytest.mark.parametrize(
    ("algorithm", "public", "signature"),
    [
        (
            ALG_ES256,
            "zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo",
            "2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoJWExHptCfduPleDbG3rko3YZnn9Lw0IjpixVmexJDegg==",
        ),
        (
            ALG_ES256K,
            "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
            "5WpdIuEUUfVUYaozsi8G0B3cWO09cgZbIIwg1t2YKdUn/FEznOndsz/qgiYb89zwxYCbB71f7yQK5Lr7NasfoA==",
        ),
    ],
)
def test_a_published_ecdsa_signature_holds(algorithm, public, signature):
    key = EcdsaKey(base58.b58decode(public[1:])[2:], algorithm)
    message = base64.b64decode("oWVoZWxsb2V3b3JsZA==")
    assert key.verify(message, base64.b64decode(signature))


def test_both_sides_of_a_key_agreement_belong_together():
    secret = nacl.bindings.crypto_sign_ed25519_sk_to_curve25519(SECRET)
    public = nacl.bindings.crypto_scalarmult_base(secret)
    assert x25519_of_ed25519(PUBLIC) == public
