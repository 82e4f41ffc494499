"""A seed under a passphrase: argon2id makes the key, XSalsa20-Poly1305 the box.

Rule: the cost stands in the file, so that it can be raised for new files, and has
limits when it is read, so that a file cannot make its reader spend a gigabyte. Salt
and nonce are arguments: drawing them is for those who may use entropy.
"""

import base64
import binascii
from typing import Annotated, Final

import msgspec
import nacl.exceptions
import nacl.pwhash
import nacl.secret

from nunet_node.errors import MisuseError
from nunet_node.identity.errors import WalletError

SALT_BYTES: Final = nacl.pwhash.argon2id.SALTBYTES
"""Length of a salt."""

NONCE_BYTES: Final = nacl.secret.SecretBox.NONCE_SIZE
"""Length of a nonce."""

PASSES: Final = 3
"""Passes of argon2id in what is sealed here (RFC 9106's second choice, and 64 MiB)."""

MEMORY_BYTES: Final = 64 << 20

PASSES_MAX: Final = 16
"""Most passes that are paid for on opening: a few seconds."""

MEMORY_BYTES_MAX: Final = 512 << 20
"""Most memory that is paid for on opening; a small machine has as much."""

_TEXT_MAX: Final = 256  # a sealed seed has 64 characters, a salt or a nonce 32
_Text = Annotated[str, msgspec.Meta(max_length=_TEXT_MAX)]


class Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A seed as its file holds it; bytes are in base64."""

    kdf: Annotated[str, msgspec.Meta(pattern=r"^argon2id\Z")]
    passes: Annotated[int, msgspec.Meta(ge=1, le=PASSES_MAX)]
    memory_bytes: Annotated[int, msgspec.Meta(ge=8 << 10, le=MEMORY_BYTES_MAX)]
    salt: _Text
    box: _Text


def seal_seed(seed: bytes, passphrase: str, *, salt: bytes, nonce: bytes) -> Sealed:
    """Return a seed that only this passphrase opens.

    Raises:
        MisuseError: salt or nonce have other lengths, or the passphrase is empty.
    """
    if len(salt) != SALT_BYTES or len(nonce) != NONCE_BYTES or not passphrase:
        raise MisuseError("sealing takes a salt, a nonce and a passphrase")
    box = nacl.secret.SecretBox(_key(passphrase, salt, PASSES, MEMORY_BYTES))
    return Sealed(
        kdf="argon2id",
        passes=PASSES,
        memory_bytes=MEMORY_BYTES,
        salt=base64.b64encode(salt).decode(),
        box=base64.b64encode(box.encrypt(seed, nonce)).decode(),
    )


def open_seed(sealed: Sealed, passphrase: str) -> bytes:
    """Return the seed.

    Raises:
        WalletError: the passphrase is not the one, or the file is damaged: nobody can
            tell which.
    """
    salt, box = _bytes(sealed.salt), _bytes(sealed.box)
    if len(salt) != SALT_BYTES or not passphrase:
        raise WalletError("the passphrase does not open this identity")
    key = _key(passphrase, salt, sealed.passes, sealed.memory_bytes)
    try:
        return bytes(nacl.secret.SecretBox(key).decrypt(box))
    except (nacl.exceptions.CryptoError, ValueError):
        raise WalletError("the passphrase does not open this identity") from None


def _key(passphrase: str, salt: bytes, passes: int, memory_bytes: int) -> bytes:
    return bytes(
        nacl.pwhash.argon2id.kdf(
            nacl.secret.SecretBox.KEY_SIZE,
            passphrase.encode(),
            salt,
            opslimit=passes,
            memlimit=memory_bytes,
        )
    )


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise WalletError("the sealed seed is damaged") from None
