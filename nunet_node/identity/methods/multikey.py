"""Multikeys: a key's kind and bytes in one text (W3C Controlled Identifiers).

Rule: one spelling. The text is base58btc after ``z``; it is decoded, checked and
written again, and must come out as it went in.
"""

import re
from collections.abc import Callable
from typing import Final

import base58

from nunet_node.identity.curves import ED25519_BYTES, EcdsaKey, Ed25519Key, PublicKey
from nunet_node.identity.errors import (
    InvalidDidError,
    InvalidKeyError,
    UnsupportedKeyError,
)
from nunet_node.wire.cose import ALG_ED25519, ALG_ES256, ALG_ES256K

ED25519_PREFIX: Final = b"\xed\x01"
"""Multicodec of an Ed25519 public key."""

X25519_PREFIX: Final = b"\xec\x01"
"""Multicodec of an X25519 public key."""

MULTIKEY_CHARS_MAX: Final = 120
"""Longest key as text: a P-521 point, to be refused for what it is, has 96."""

_PREFIX_BYTES: Final = 2
_TEXT: Final = re.compile(r"z[1-9A-HJ-NP-Za-km-z]+")
_KINDS: Final[dict[bytes, Callable[[bytes], PublicKey]]] = {
    ED25519_PREFIX: Ed25519Key,
    b"\xe7\x01": lambda public: EcdsaKey(public, ALG_ES256K),
    b"\x80\x24": lambda public: EcdsaKey(public, ALG_ES256),
}
_PREFIXES: Final = {
    ALG_ED25519: ED25519_PREFIX,
    ALG_ES256K: b"\xe7\x01",
    ALG_ES256: b"\x80\x24",
}


def decode_multibase(text: str) -> bytes:
    """Return the bytes of a base58btc text in its only spelling.

    Raises:
        InvalidDidError: it is none.
    """
    if not _TEXT.fullmatch(text):
        raise InvalidDidError("not base58btc after a z")
    value: bytes = base58.b58decode(text[1:])
    if encode_multibase(value) != text:
        raise InvalidDidError("not the only spelling of these bytes")
    return value


def encode_multibase(data: bytes) -> str:
    """Return bytes as base58btc after ``z``."""
    return f"z{base58.b58encode(data).decode()}"


def signing_key(text: str) -> PublicKey:
    """Read a key that can sign.

    Raises:
        UnsupportedKeyError: a key of another kind.
        InvalidKeyError: not a valid key of its kind.
        InvalidDidError: not a key's text.
    """
    value = _decoded(text)
    make = _KINDS.get(value[:_PREFIX_BYTES])
    if make is None:
        raise UnsupportedKeyError("the key is of a kind that cannot sign here")
    return make(value[_PREFIX_BYTES:])


def agreement_key(text: str) -> bytes:
    """Read an X25519 key.

    Raises:
        UnsupportedKeyError: a key of another kind.
        InvalidKeyError: of a wrong length.
        InvalidDidError: not a key's text.
    """
    value = _decoded(text)
    if value[:_PREFIX_BYTES] != X25519_PREFIX:
        raise UnsupportedKeyError("the key is of a kind that cannot be encrypted to")
    if len(value) != _PREFIX_BYTES + ED25519_BYTES:
        raise InvalidKeyError(f"an X25519 key has {ED25519_BYTES} bytes")
    return value[_PREFIX_BYTES:]


def text_of(public: PublicKey) -> str:
    """Return a signing key as text."""
    return encode_multibase(_PREFIXES[public.algorithm] + public.public_bytes)


def text_of_agreement(public_bytes: bytes) -> str:
    """Return an X25519 key as text."""
    return encode_multibase(X25519_PREFIX + public_bytes)


def _decoded(text: str) -> bytes:
    if len(text) > MULTIKEY_CHARS_MAX:
        raise InvalidDidError(f"a key has at most {MULTIKEY_CHARS_MAX} characters")
    return decode_multibase(text)
