"""Keys of the simulated machines and users, made from the seed.

Rule: who signs is a DID that the core accepts, whichever signer makes the bytes. The
quick signer's bytes prove nothing, and only `reading.trusting` takes them.
"""

import hashlib

from nunet_node.identity.keys import Signer, SigningKey
from nunet_node.wire.cose import SIGNATURE_BYTES


class QuickSigner:
    """Signs with a keyed hash: a hundred times faster, and worth nothing outside."""

    __slots__ = ("_secret", "algorithm", "did")

    def __init__(self, key: SigningKey) -> None:
        self.did = key.did
        self.algorithm = key.algorithm
        self._secret = key.seed

    def sign(self, message: bytes) -> bytes:
        """Return 64 bytes that depend on the key and on every byte."""
        return hashlib.blake2b(
            message, digest_size=SIGNATURE_BYTES, key=self._secret
        ).digest()


def signer_for(seed: int, name: str, *, real: bool) -> Signer:
    """Return the signer of this name in this run."""
    key = SigningKey(hashlib.sha256(f"{seed}:{name}".encode()).digest())
    return key if real else QuickSigner(key)


class Nonces:
    """Fresh bytes that are the same in every run of a seed."""

    __slots__ = ("_count", "_prefix")

    def __init__(self, name: str) -> None:
        self._prefix = hashlib.sha256(name.encode()).digest()[:8]
        self._count = 0

    def __call__(self, size: int) -> bytes:
        """Return so many bytes, never the same twice."""
        self._count += 1
        return (self._prefix + self._count.to_bytes(8, "big")).ljust(size, b"\0")[:size]
