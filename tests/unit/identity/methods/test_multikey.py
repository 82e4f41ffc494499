"""A key has one text, and the text says what kind of key it is."""

import base58
import pytest

from nunet_node.identity.did import resolve
from nunet_node.identity.errors import (
    InvalidDidError,
    InvalidKeyError,
    UnsupportedKeyError,
)
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.methods.multikey import (
    agreement_key,
    decode_multibase,
    encode_multibase,
    signing_key,
    text_of,
    text_of_agreement,
)

DOCUMENT = resolve(SigningKey(bytes(32)).did)
TEXT = text_of(DOCUMENT.signing.public)
AGREEMENT = text_of_agreement(DOCUMENT.key_agreement)


def test_keys_survive_their_text():
    assert signing_key(TEXT).public_bytes == DOCUMENT.signing.public.public_bytes
    assert agreement_key(AGREEMENT) == DOCUMENT.key_agreement
    assert TEXT.startswith("z6Mk")
    assert AGREEMENT.startswith("z6LS")


def test_bytes_survive_their_text():
    assert decode_multibase(encode_multibase(b"\0\0x")) == b"\0\0x"


@pytest.mark.parametrize(
    "text", ["", "z", "u6Mk", TEXT[1:], TEXT + "\n", TEXT + "0", "z" + "1" * 200]
)
def test_another_spelling_is_refused(text):
    with pytest.raises((InvalidDidError, UnsupportedKeyError)):
        signing_key(text)


def test_a_key_of_one_kind_is_not_taken_for_another():
    with pytest.raises(UnsupportedKeyError):
        signing_key(AGREEMENT)
    with pytest.raises(UnsupportedKeyError):
        agreement_key(TEXT)
    short = "z" + base58.b58encode(b"\xec\x01" + bytes(31)).decode()
    with pytest.raises(InvalidKeyError):
        agreement_key(short)
