"""Ed25519 keys from OpenSSH's private key files.

Rule: only Ed25519 is taken, because only it is a peer's and a user's key here without
loss; an error never quotes the file.
"""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from nunet_node.identity.errors import WalletError
from nunet_node.identity.keys import SigningKey

OPENSSH_CHARS_MAX: Final = 4_096
"""Longest key file that is read; an Ed25519 key's has about 400 characters."""

_FIRST_LINE: Final = "-----BEGIN OPENSSH PRIVATE KEY-----"


def is_openssh(text: str) -> bool:
    """Tell whether a text is meant as an OpenSSH private key."""
    return text.lstrip().startswith(_FIRST_LINE)


def read_openssh(text: str) -> SigningKey:
    """Read an OpenSSH private key that is under no passphrase.

    Raises:
        WalletError: not one, not Ed25519, or under a passphrase.
    """
    if len(text) > OPENSSH_CHARS_MAX:
        raise WalletError("the key file is too long to hold an Ed25519 key")
    try:
        key = load_ssh_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise WalletError(
            "the OpenSSH key cannot be read: it is damaged, or under a passphrase; "
            "take that off a copy of it with `ssh-keygen -p -f COPY`"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise WalletError("the OpenSSH key is not Ed25519")
    return SigningKey(key.private_bytes_raw())
