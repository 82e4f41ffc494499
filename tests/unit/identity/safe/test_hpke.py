"""Sealing to one reader agrees with another implementation of the standard."""

import pytest
from cryptography.hazmat.primitives import hpke as other
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)

from nunet_node.identity.errors import UnsealError
from nunet_node.identity.safe.hpke import OVERHEAD_BYTES, open_sealed, seal_to

SECRET = bytes(range(32))
PUBLIC = X25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
EPHEMERAL = bytes(range(100, 132))
SUITE = other.Suite(
    other.KEM.X25519, other.KDF.HKDF_SHA256, other.AEAD.CHACHA20_POLY1305
)


@pytest.mark.parametrize("message", [b"", b"a key", bytes(1000)])
def test_what_is_sealed_here_opens_elsewhere(message):
    sealed = seal_to(PUBLIC, EPHEMERAL, b"use", message)
    assert len(sealed) == len(message) + OVERHEAD_BYTES
    reader = X25519PrivateKey.from_private_bytes(SECRET)
    assert SUITE.decrypt(sealed, reader, info=b"use") == message


@pytest.mark.parametrize("message", [b"", b"a key", bytes(1000)])
def test_what_is_sealed_elsewhere_opens_here(message):
    reader = X25519PublicKey.from_public_bytes(PUBLIC)
    sealed = SUITE.encrypt(message, reader, info=b"use")
    assert open_sealed(SECRET, b"use", sealed) == message


def test_the_same_arguments_give_the_same_bytes():
    assert seal_to(PUBLIC, EPHEMERAL, b"", b"m") == seal_to(
        PUBLIC, EPHEMERAL, b"", b"m"
    )


@pytest.mark.parametrize("at", [0, 31, 32, -1])
def test_a_changed_byte_is_noticed(at):
    sealed = bytearray(seal_to(PUBLIC, EPHEMERAL, b"use", b"message"))
    sealed[at] ^= 1
    with pytest.raises(UnsealError):
        open_sealed(SECRET, b"use", bytes(sealed))


def test_another_key_and_another_use_do_not_open():
    sealed = seal_to(PUBLIC, EPHEMERAL, b"use", b"message")
    with pytest.raises(UnsealError):
        open_sealed(bytes(31) + b"\x08", b"use", sealed)
    with pytest.raises(UnsealError):
        open_sealed(SECRET, b"another use", sealed)


@pytest.mark.parametrize("length", [0, 31, 47])
def test_a_short_message_is_refused(length):
    with pytest.raises(UnsealError, match="longer"):
        open_sealed(SECRET, b"", bytes(length))


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31)])
def test_keys_of_small_order_are_refused(public):
    with pytest.raises(UnsealError, match="small order"):
        seal_to(public, EPHEMERAL, b"", b"message")
    with pytest.raises(UnsealError, match="small order"):
        open_sealed(SECRET, b"", public + bytes(16))
