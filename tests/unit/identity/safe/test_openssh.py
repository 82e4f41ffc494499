"""An OpenSSH key of the one kind becomes an identity, and nothing else does."""

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from nunet_node.identity.errors import WalletError
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.safe.openssh import (
    OPENSSH_CHARS_MAX,
    is_openssh,
    read_openssh,
)

SEED = b"s" * 32


def written(key):
    return key.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()
    ).decode()


ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
PLAIN = written(ED25519)
LOCKED = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBLY4VCMD
hhKjTEAESkk0/4AAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIMIy2TRaeuM0hmJJ
sipPwOA8SiwkKWYmUvb8CHINpw35AAAAkI5vPWo8v9qAydfdukW2z5OO/NBOFOTz6wEh6C
OITGrk4+/ByUHbGPiKh6JHUBIlEtlbIfYfnAam9v32A+qSsO+YyfTIq+GVuWmuOSu1K9rq
/lekF8Gsx5Ukry9QhUEyxYwusUJifB28tRxTk3aQIEecxV+JyEkqQkoF8Ez8jMKICrU3m4
g9Nka7lx0b/78aGQ==
-----END OPENSSH PRIVATE KEY-----
"""


def test_the_key_is_the_same_key():
    assert is_openssh(PLAIN)
    assert read_openssh(PLAIN).did == SigningKey(SEED).did


def test_a_key_under_a_passphrase_is_refused_with_the_remedy():
    assert is_openssh(LOCKED)
    with pytest.raises(WalletError, match="ssh-keygen -p"):
        read_openssh(LOCKED)


@pytest.mark.parametrize(
    "text",
    [
        "",
        PLAIN[:-60],
        PLAIN.replace("b3BlbnNzaC1rZXk", "AAAAAAAAAAAAAAA"),
        PLAIN + "x" * OPENSSH_CHARS_MAX,
        written(ec.generate_private_key(ec.SECP256R1())),
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(WalletError):
        read_openssh(text)


def test_another_form_is_not_taken_for_one():
    assert not is_openssh('{"version": 1}')
