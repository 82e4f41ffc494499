"""An identity file is read strictly, and its secret is never shown."""

import json

import pytest

from nunet_node.identity.errors import WalletError
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.wallet import (
    WALLET_CHARS_MAX,
    Identity,
    decode_identity,
    encode_identity,
)

KEY = SigningKey(b"s" * 32)
TEXT = encode_identity(Identity(name="anna", key=KEY))
PLAIN = json.loads(TEXT)


def changed(**changes):
    return json.dumps({**PLAIN, **changes})


def test_an_identity_is_read_back():
    identity = decode_identity(TEXT)
    assert (identity.name, identity.did) == ("anna", KEY.did)
    assert identity.key.seed == KEY.seed


def test_a_file_says_what_it_is():
    assert PLAIN["version"] == 1
    assert PLAIN["did"] == KEY.did


def test_an_identity_does_not_show_its_secret():
    assert PLAIN["seed"] not in repr(decode_identity(TEXT))
    assert "ssss" not in repr(decode_identity(TEXT))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "1",
        "[" * 3000,
        TEXT[:-10],
        TEXT + "x",
        TEXT.replace('"name"', '"did"'),
        TEXT.replace("{", '{"version": 1, "version": 1,', 1),
        changed(version=2),
        changed(version="1"),
        changed(version=True),
        changed(more=1),
        changed(name=""),
        changed(name="../up"),
        changed(name="a/b"),
        changed(name=".hidden"),
        changed(name="anna\n"),
        changed(name="a" * 65),
        changed(name=None),
        changed(did=SigningKey(b"t" * 32).did),
        changed(did=KEY.did + " "),
        changed(seed=""),
        changed(seed="!" + PLAIN["seed"][1:]),
        changed(seed=PLAIN["seed"] + "\n"),
        changed(seed=PLAIN["seed"].rstrip("=")),
        changed(seed=PLAIN["seed"][:-2] + "N="),
        changed(seed="AAAA"),
        changed(seed=7),
        json.dumps({k: v for k, v in PLAIN.items() if k != "seed"}),
        TEXT + " " * WALLET_CHARS_MAX,
    ],
)
def test_a_damaged_file_is_refused_without_being_quoted(text):
    with pytest.raises(WalletError) as caught:
        decode_identity(text)
    assert PLAIN["seed"] not in str(caught.value)


def test_a_name_that_is_no_file_name_is_refused():
    with pytest.raises(WalletError):
        encode_identity(Identity(name="a b", key=KEY))
