"""An OpenSSH key of the one kind becomes an identity, and nothing else does."""

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from nunet_node.identity.errors import LockedError, WalletError
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.safe.openssh import (
    OPENSSH_CHARS_MAX,
    ROUNDS_MAX,
    is_locked,
    is_openssh,
    read_openssh,
)

SEED = b"s" * 32
PASSPHRASE = "correct horse"


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


MADE_BY_OPENSSH = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABDP/bO7cQ
T8hiqKrBWH1khqAAAAAQAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAINQxqw+KKBWfHuNT
3Z2OyuU4H3bN4gY5jOO7H+V9005RAAAAkAKzwsbaGD93oLdA9s0Y1gkg+8WUxJkGTf8S0s
IcKpjhlrQ9PMUaQSDvaWDpoTFokuPqIKplMxUTZzvwHkSvHoHhphHeL0FLhQRY9b468g3X
XekGflw2D8fFjheKqR7P5KKckCNtv7kn4tC7nTLIUSca1iMA/68Rj47ngapJT80mGwmGBC
fL7s6aP0VrDIYV1A==
-----END OPENSSH PRIVATE KEY-----
"""
"""Made with `ssh-keygen -t ed25519 -a 1`, under PASSPHRASE."""

MADE_PUBLIC = bytes.fromhex(
    "d431ab0f8a28159f1ee353dd9d8ecae5381f76cde206398ce3bb1fe57dd34e51"
)


def test_the_key_is_the_same_key():
    assert is_openssh(PLAIN)
    assert read_openssh(PLAIN).did == SigningKey(SEED).did


def test_a_key_under_a_passphrase_opens_with_that_alone():
    assert is_openssh(MADE_BY_OPENSSH)
    assert is_locked(MADE_BY_OPENSSH)
    key = read_openssh(MADE_BY_OPENSSH, PASSPHRASE)
    assert key.public_bytes == MADE_PUBLIC
    with pytest.raises(WalletError, match="another passphrase") as told:
        read_openssh(MADE_BY_OPENSSH, "incorrect horse")
    assert "horse" not in str(told.value)


def test_a_key_under_a_passphrase_is_locked_without_one():
    for locked in (LOCKED, MADE_BY_OPENSSH):
        with pytest.raises(LockedError):
            read_openssh(locked)


def test_a_passphrase_that_is_not_needed_does_no_harm():
    assert not is_locked(PLAIN)
    assert read_openssh(PLAIN, PASSPHRASE).did == SigningKey(SEED).did


def test_a_key_that_asks_for_endless_work_is_refused_before_any():
    head, _, tail = MADE_BY_OPENSSH.partition("qKrBWH1khqAAAAAQ")
    endless = f"{head}qKrBWH1khq/////w{tail}"
    with pytest.raises(WalletError, match=f"4294967295 rounds.*{ROUNDS_MAX}"):
        read_openssh(endless, PASSPHRASE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        PLAIN[:-60],
        PLAIN.replace("b3Bl", "b3B!"),
        LOCKED[:80],
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
