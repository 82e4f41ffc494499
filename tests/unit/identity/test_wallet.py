"""An identity file is read strictly, and its secret is never shown."""

import base64
import json

import pytest

from nunet_node.identity.did import SIGNING, Did, resolve
from nunet_node.identity.errors import LockedError, WalletError
from nunet_node.identity.keys import SECRET_KEYS, SigningKey, WebSigningKey
from nunet_node.identity.methods.did_web import read_web_document
from nunet_node.identity.methods.w3c import to_w3c
from nunet_node.identity.safe.sealing import NONCE_BYTES, SALT_BYTES
from nunet_node.identity.wallet import (
    WALLET_CHARS_MAX,
    Identity,
    decode_identity,
    document_of,
    encode_external,
    encode_identity,
    encode_sealed,
    open_wallet,
    read_wallet,
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


@pytest.mark.parametrize("curve", list(SECRET_KEYS))
def test_a_key_of_every_curve_is_read_back(curve):
    key = SECRET_KEYS[curve](b"s" * 32)
    found = decode_identity(encode_identity(Identity(name="x", key=key)))
    assert (found.did, found.key.curve) == (key.did, curve)


SEALED = encode_sealed(
    Identity(name="anna", key=KEY),
    "hush",
    salt=b"a" * SALT_BYTES,
    nonce=b"n" * NONCE_BYTES,
)


def test_a_sealed_identity_names_itself_and_opens_to_its_passphrase():
    wallet = read_wallet(SEALED)
    assert (wallet.name, wallet.did) == ("anna", KEY.did)
    assert open_wallet(wallet, "hush").key.seed == KEY.seed
    assert PLAIN["seed"] not in SEALED
    with pytest.raises(LockedError):
        open_wallet(wallet)
    with pytest.raises(WalletError):
        open_wallet(wallet, "other")


def test_a_sealed_identity_cannot_be_given_another_did():
    other = SigningKey(b"o" * 32).did
    with pytest.raises(WalletError, match="not its seed"):
        decode_identity(SEALED.replace(KEY.did, other), "hush")


def test_an_identity_without_a_key_names_who_signs():
    wallet = read_wallet(encode_external("hw", KEY.did, ["sign", "--now"]))
    assert (wallet.did, wallet.signer) == (KEY.did, ("sign", "--now"))
    with pytest.raises(WalletError, match="elsewhere"):
        open_wallet(wallet)
    with pytest.raises(WalletError):
        encode_external("hw", KEY.did, [])


class Elsewhere:
    did, algorithm = KEY.did, KEY.algorithm

    def sign(self, message):
        return KEY.sign(message)


def test_a_key_that_is_elsewhere_is_not_written():
    with pytest.raises(WalletError, match="elsewhere"):
        encode_identity(Identity(name="hw", key=Elsewhere()))


@pytest.mark.parametrize(
    "text",
    [
        changed(signer=["x"]),
        changed(seed=None),
        changed(curve="P-521"),
        changed(curve="P-256"),
        changed(did="did:web:example.com"),
        changed(did="did:web:example.com", key_did="did:web:example.com"),
        changed(did="did:web:example.com", key_did=SigningKey(b"x" * 32).did),
        changed(key_did=SigningKey(b"x" * 32).did),
        changed(signer=["x"] * 17, seed=None),
        changed(sealed={}),
    ],
)
def test_a_file_of_two_minds_is_refused(text):
    with pytest.raises(WalletError):
        decode_identity(text)


def test_a_did_web_is_written_with_the_did_of_its_key_and_read_again():
    web = Did("did:web:example.com")
    text = encode_identity(Identity(name="web", key=WebSigningKey(b"s" * 32, web)))
    key = SigningKey(b"s" * 32)
    assert json.loads(text)["key_did"] == key.did

    found = decode_identity(text)
    assert found.did == web
    assert found.key.sign(b"m") == key.sign(b"m")
    assert found.key.key_agreement_secret() == key.key_agreement_secret()


def test_the_document_to_publish_names_the_key_for_every_use():
    web = Did("did:web:example.com")
    text = encode_identity(Identity(name="web", key=WebSigningKey(b"s" * 32, web)))
    carried = resolve(SigningKey(b"s" * 32).did)
    shown = read_web_document(
        web, json.dumps(to_w3c(document_of(read_wallet(text)))).encode()
    )
    for use in SIGNING:
        assert shown.key_for(use).public == carried.signing.public
    assert shown.key_agreement == carried.key_agreement
    assert document_of(read_wallet(changed())) == resolve(KEY.did)


def test_a_did_web_does_not_sign_with_a_key_that_results_cannot_be_sealed_to():
    key = SECRET_KEYS["P-256"](b"s" * 32)
    text = changed(
        did="did:web:example.com",
        key_did=key.did,
        curve="P-256",
        seed=base64.b64encode(key.seed).decode(),
    )
    with pytest.raises(WalletError, match="Ed25519"):
        decode_identity(text)
