"""Ed25519 keys from OpenSSH's private key files.

Rule: only Ed25519 is taken, because only it is a peer's and a user's key here without
loss; an error never quotes the file, or its passphrase.

Source: OpenSSH, PROTOCOL.key.
"""

import base64
import binascii
import struct
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from nunet_node.identity.errors import LockedError, WalletError
from nunet_node.identity.keys import SigningKey

OPENSSH_CHARS_MAX: Final = 4_096
"""Longest key file that is read; an Ed25519 key's has about 400 characters."""

ROUNDS_MAX: Final = 1_000
"""Most rounds of bcrypt that are made for a passphrase, some ten seconds; OpenSSH makes
24 unless told otherwise, and a file could ask for four thousand million."""

_FIRST_LINE: Final = "-----BEGIN OPENSSH PRIVATE KEY-----"
_LAST_LINE: Final = "-----END OPENSSH PRIVATE KEY-----"
_MAGIC: Final = b"openssh-key-v1\0"
_LENGTH: Final = struct.Struct(">I")


def is_openssh(text: str) -> bool:
    """Tell whether a text is meant as an OpenSSH private key."""
    return text.lstrip().startswith(_FIRST_LINE)


def is_locked(text: str) -> bool:
    """Tell whether an OpenSSH private key is under a passphrase.

    Raises:
        WalletError: it is damaged, or asks for more work than `ROUNDS_MAX`.
    """
    try:
        way, options = _head(text)
        if way == b"none":
            return False
        (rounds,) = _LENGTH.unpack(options[-_LENGTH.size :])
    except (ValueError, struct.error):
        raise WalletError("the OpenSSH key is damaged") from None
    if rounds > ROUNDS_MAX:
        raise WalletError(
            f"the OpenSSH key asks for {rounds} rounds of bcrypt, limit {ROUNDS_MAX}; "
            "make them fewer in a copy of it with `ssh-keygen -p -a 24 -f COPY`"
        )
    return True


def read_openssh(text: str, passphrase: str | None = None) -> SigningKey:
    """Read an OpenSSH private key.

    Args:
        text: the file.
        passphrase: what it is under, if it is.

    Raises:
        LockedError: it is under a passphrase, and none was given.
        WalletError: not one, not Ed25519, or under another passphrase.
    """
    if len(text) > OPENSSH_CHARS_MAX:
        raise WalletError("the key file is too long to hold an Ed25519 key")
    locked = is_locked(text)
    if locked and passphrase is None:
        raise LockedError("the OpenSSH key is under a passphrase")
    secret = passphrase.encode() if locked and passphrase is not None else None
    try:
        key = load_ssh_private_key(text.encode(), secret)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        why = "under another passphrase, or damaged" if locked else "damaged"
        raise WalletError(f"the OpenSSH key cannot be read: it is {why}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise WalletError("the OpenSSH key is not Ed25519")
    return SigningKey(key.private_bytes_raw())


def _head(text: str) -> tuple[bytes, bytes]:
    """Return the way in which a key is locked, and the options of that."""
    body = text.strip().removeprefix(_FIRST_LINE).removesuffix(_LAST_LINE)
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if not data.startswith(_MAGIC):
        raise ValueError("not an OpenSSH key")
    _cipher, rest = _string(data[len(_MAGIC) :])
    way, rest = _string(rest)
    options, _ = _string(rest)
    return way, options


def _string(data: bytes) -> tuple[bytes, bytes]:
    (size,) = _LENGTH.unpack(data[: _LENGTH.size])
    end = _LENGTH.size + size
    if end > len(data):
        raise ValueError("cut off")
    return data[_LENGTH.size : end], data[end:]
