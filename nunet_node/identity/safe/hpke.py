"""Sealing a few bytes to one reader's key (RFC 9180, HPKE in base mode).

One suite is spoken: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. Rule:
the ephemeral key is an argument, so that sealing is a function; whoever calls it with
one key twice seals both messages under one secret. A sealed message is the
encapsulated key, 32 bytes, then the ciphertext with its tag.
"""

import hashlib
import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from nunet_node.identity.errors import UnsealError

ENCAPSULATED_BYTES: Final = 32
"""Length of an X25519 public key."""

OVERHEAD_BYTES: Final = ENCAPSULATED_BYTES + 16
"""What a sealed message is longer by than what was sealed."""

_KEM_ID: Final = b"KEM\x00\x20"
_SUITE_ID: Final = b"HPKE\x00\x20\x00\x01\x00\x03"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_BASE_MODE: Final = b"\x00"


def seal_to(
    reader_public: bytes, ephemeral_secret: bytes, info: bytes, message: bytes
) -> bytes:
    """Return a message that the reader's secret key opens, and only for ``info``.

    Args:
        reader_public: the reader's X25519 key.
        ephemeral_secret: 32 random bytes, used for this message alone.
        info: what the message is bound to; the reader must name the same.
        message: what is sealed.

    Raises:
        UnsealError: the reader's key is of small order, so that anybody could read.
    """
    ephemeral = X25519PrivateKey.from_private_bytes(ephemeral_secret)
    encapsulated = ephemeral.public_key().public_bytes_raw()
    shared = _shared(ephemeral, reader_public, encapsulated + reader_public)
    key, nonce = _schedule(shared, info)
    return encapsulated + ChaCha20Poly1305(key).encrypt(nonce, message, None)


def open_sealed(reader_secret: bytes, info: bytes, sealed: bytes) -> bytes:
    """Return what was sealed to this X25519 key for this ``info``.

    Raises:
        UnsealError: it was sealed to another key or for something else, or is damaged.
    """
    if len(sealed) < OVERHEAD_BYTES:
        raise UnsealError("a sealed message is longer")
    encapsulated = sealed[:ENCAPSULATED_BYTES]
    reader = X25519PrivateKey.from_private_bytes(reader_secret)
    public = reader.public_key().public_bytes_raw()
    key, nonce = _schedule(_shared(reader, encapsulated, encapsulated + public), info)
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed[ENCAPSULATED_BYTES:], None)
    except InvalidTag:
        raise UnsealError("sealed to another key or use, or damaged") from None


def _shared(secret: X25519PrivateKey, public: bytes, context: bytes) -> bytes:
    """Return the secret of section 4.1, which both sides derive."""
    try:
        agreed = secret.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        # Section 7.1.4: an all-zero result is known to everybody.
        raise UnsealError("a key of small order") from None
    extracted = _extract(_KEM_ID, b"", b"eae_prk", agreed)
    return _expand(_KEM_ID, extracted, b"shared_secret", context, _KEY_BYTES)


def _schedule(shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Return the key and the nonce of the only message (section 5.1)."""
    context = (
        _BASE_MODE
        + _extract(_SUITE_ID, b"", b"psk_id_hash", b"")
        + _extract(_SUITE_ID, b"", b"info_hash", info)
    )
    secret = _extract(_SUITE_ID, shared, b"secret", b"")
    return (
        _expand(_SUITE_ID, secret, b"key", context, _KEY_BYTES),
        _expand(_SUITE_ID, secret, b"base_nonce", context, _NONCE_BYTES),
    )


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    labelled = b"HPKE-v1" + suite + label + material
    return hmac.digest(salt, labelled, hashlib.sha256)


def _expand(
    suite: bytes, secret: bytes, label: bytes, info: bytes, length: int
) -> bytes:
    # One block of HKDF-Expand (RFC 5869) is as long as anything asked for here.
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(secret, labelled + b"\x01", hashlib.sha256)[:length]
