"""Keys that sign, and what a signer must be able to do.

Rule: a secret never shows in a repr, a log or an error. Seeds are arguments: making
one is for those who may use entropy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import nacl.bindings
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nunet_node.errors import MisuseError
from nunet_node.identity.curves import EcdsaKey, order_of, verify_ed25519
from nunet_node.identity.did import Did, did_of_ed25519, did_of_key
from nunet_node.identity.errors import InvalidKeyError
from nunet_node.identity.methods.multikey import text_of
from nunet_node.wire.cose import (
    ALG_ED25519,
    ALG_ES256,
    ALG_ES256K,
    SIGNATURE_BYTES,
)

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


@runtime_checkable
class SecretKey(Signer, Protocol):
    """A signer whose secret is in this process."""

    @property
    def seed(self) -> bytes:
        """The 32 bytes that the key is made from."""

    @property
    def curve(self) -> str:
        """The name of its curve, as files and JSON Web Keys have it."""


@dataclass(frozen=True, slots=True)
class AbsentKey:
    """Stands for a key that another program has, and leaves room for its signature.

    What is signed by it verifies nowhere before the real signature is put in.
    """

    did: Did
    algorithm: int

    def sign(self, message: bytes) -> bytes:
        """Return 64 zero bytes, whatever the message."""
        del message
        return bytes(SIGNATURE_BYTES)


class SigningKey:
    """An Ed25519 key pair, made from its 32-byte seed."""

    __slots__ = ("_secret", "algorithm", "curve", "did", "public_bytes")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise MisuseError(f"a seed has {SEED_BYTES} bytes")
        public, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)
        self.public_bytes: bytes = public
        self.did = did_of_ed25519(public)
        self.algorithm = ALG_ED25519
        self.curve = "Ed25519"

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


class WebSigningKey(SigningKey):
    """An Ed25519 key pair that signs as a did:web, whose document has to name it."""

    __slots__ = ("key_did",)

    def __init__(self, seed: bytes, did: Did) -> None:
        super().__init__(seed)
        self.key_did = self.did
        """The did:key of the same key."""
        self.did = did


class EcdsaSigningKey:
    """A key pair on P-256 or secp256k1, made from its 32-byte secret number.

    Signatures are deterministic (RFC 6979) with a low S, so the same message has one
    signature and no second random number can give the key away.
    """

    __slots__ = ("_key", "_order", "algorithm", "curve", "did", "seed")

    def __init__(self, seed: bytes, algorithm: int) -> None:
        if len(seed) != SEED_BYTES:
            raise MisuseError(f"a seed has {SEED_BYTES} bytes")
        self.curve, found = _EC_CURVES[algorithm]
        self._order = order_of(algorithm)
        number = int.from_bytes(seed, "big")
        if not 0 < number < self._order:
            raise InvalidKeyError("not a secret number of the curve")
        self._key = ec.derive_private_key(number, found)
        form = PublicFormat.CompressedPoint
        point = self._key.public_key().public_bytes(Encoding.X962, form)
        self.did = did_of_key(text_of(EcdsaKey(point, algorithm)))
        self.algorithm = algorithm
        self.seed = seed

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of a signature over these bytes."""
        kind = ec.ECDSA(SHA256(), deterministic_signing=True)
        r, s = decode_dss_signature(self._key.sign(message, kind))
        low = min(s, self._order - s)
        half = SIGNATURE_BYTES // 2
        return r.to_bytes(half, "big") + low.to_bytes(half, "big")

    def __repr__(self) -> str:
        return f"EcdsaSigningKey({self.did})"


_EC_CURVES: Final[Mapping[int, tuple[str, ec.EllipticCurve]]] = {
    ALG_ES256: ("P-256", ec.SECP256R1()),
    ALG_ES256K: ("secp256k1", ec.SECP256K1()),
}

SECRET_KEYS: Final[Mapping[str, Callable[[bytes], SecretKey]]] = {
    "Ed25519": SigningKey,
    "P-256": lambda seed: EcdsaSigningKey(seed, ALG_ES256),
    "secp256k1": lambda seed: EcdsaSigningKey(seed, ALG_ES256K),
}
"""How the key of each curve is made from 32 secret bytes."""


def agreement_secret_of(signer: Signer) -> bytes:
    """Return the secret X25519 key of a signer; empty if it has none here."""
    return signer.key_agreement_secret() if isinstance(signer, SigningKey) else b""


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the holder of this Ed25519 key made this signature."""
    return verify_ed25519(public, message, signature)
