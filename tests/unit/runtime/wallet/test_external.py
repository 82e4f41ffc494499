"""A program that signs is believed only as far as its signature holds."""

import sys

import pytest

from nunet_node.capability.delegation import open_delegation, seal_delegation
from nunet_node.identity.keys import SigningKey
from nunet_node.runtime.home import open_home
from nunet_node.runtime.wallet.external import ExternalSigner, SignerError

KEY = SigningKey(b"h" * 32)
PROGRAM = """
import base64, json, sys
from nunet_node.identity.keys import SigningKey
asked = json.loads(sys.stdin.readline())
key = SigningKey(sys.argv[1].encode() * 32)
signature = base64.b64encode(key.sign(base64.b64decode(asked["message"])))
print(json.dumps({"signature": signature.decode()}))
"""


def signer(tmp_path, text=PROGRAM, *words):
    path = tmp_path / "sign.py"
    path.write_text(text)
    return (sys.executable, str(path), *(words or ("h",)))


def test_what_the_program_signs_holds(tmp_path):
    hardware = ExternalSigner(KEY.did, signer(tmp_path))
    data = seal_delegation(
        signer=hardware,
        audience=KEY.did,
        subject=KEY.did,
        command="/nunet",
        nonce=bytes(12),
        expires_at_s=1,
    )
    assert open_delegation(data).issuer == KEY.did
    assert KEY.did in repr(hardware)


def test_a_program_with_another_key_signs_nothing_here(tmp_path):
    with pytest.raises(SignerError, match="did not sign as"):
        ExternalSigner(KEY.did, signer(tmp_path, PROGRAM, "o")).sign(b"x")


@pytest.mark.parametrize(
    "text",
    [
        "print('{}')",
        "print('[]')",
        "print('null')",
        "print('nonsense')",
        'print(\'{"signature": "?"}\')',
        "print('{\"signature\": 5}')",
        "raise SystemExit(3)",
    ],
)
def test_a_program_that_answers_something_else_is_refused(tmp_path, text):
    with pytest.raises(SignerError):
        ExternalSigner(KEY.did, signer(tmp_path, text)).sign(b"x")


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SignerError, match="cannot run"):
        ExternalSigner(KEY.did, (str(tmp_path / "none"),)).sign(b"x")


def test_a_home_uses_the_program_of_an_identity(tmp_path):
    home = open_home(tmp_path / "home")
    home.keep_external("hw", KEY.did, signer(tmp_path))
    assert home.known_did("hw") == KEY.did
    assert home.identity("hw").key.sign(b"x") == KEY.sign(b"x")
    assert [each.name for each in home.identities()] == ["hw"]
