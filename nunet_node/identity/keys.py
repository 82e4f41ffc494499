"""Keys that sign, and what a signer must be able to do.

Rule: a secret never shows in a repr, a log or an error. Seeds are arguments: making
one is for those who may use entropy.
"""

from typing import Final, Protocol

import nacl.bindings

from nunet_node.errors import MisuseError
from nunet_node.identity.curves import verify_ed25519
from nunet_node.identity.did import Did, did_of_ed25519
from nunet_node.wire.cose import ALG_ED25519, SIGNATURE_BYTES

SEED_BYTES: Final = 32
"""Length of an Ed25519 seed."""


class Signer(Protocol):
    """Somebody who can sign under a DID."""

    @property
    def did(self) -> Did:
        """The DID under which it signs."""

    @property
    def algorithm(self) -> int:
        """The COSE algorithm of its signatures."""

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of a signature over these bytes."""


class SigningKey:
    """An Ed25519 key pair, made from its 32-byte seed."""

    __slots__ = ("_secret", "algorithm", "did", "public_bytes")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise MisuseError(f"a seed has {SEED_BYTES} bytes")
        public, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)
        self.public_bytes: bytes = public
        self.did = did_of_ed25519(public)
        self.algorithm = ALG_ED25519

    @property
    def seed(self) -> bytes:
        """The secret that the key was made from."""
        return self._secret[:SEED_BYTES]

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of a signature over these bytes."""
        return nacl.bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def key_agreement_secret(self) -> bytes:
        """Return the secret X25519 key that belongs to this key's DID."""
        return nacl.bindings.crypto_sign_ed25519_sk_to_curve25519(self._secret)

    def __repr__(self) -> str:
        return f"SigningKey({self.did})"


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the holder of this Ed25519 key made this signature."""
    return verify_ed25519(public, message, signature)
