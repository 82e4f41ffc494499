"""Public keys of three curves, checked when they are read, not when they are used.

Rule: a key that exists here is a valid point in its only encoding. Ed25519 goes
through libsodium, which refuses points of small order where other libraries let one
signature fit many messages (RFC 8032; "Taming the many EdDSAs", 2020). ECDSA
signatures are the 64 bytes R and S with a low S, so nobody can turn one signature
into another (BIP 62's rule, and the AT Protocol's).
"""

from dataclasses import dataclass
from typing import Final, Protocol

import nacl.bindings
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from nacl.exceptions import BadSignatureError

from nunet_node.identity.errors import InvalidKeyError
from nunet_node.wire.cose import ALG_ED25519, ALG_ES256, ALG_ES256K, SIGNATURE_BYTES

ED25519_BYTES: Final = 32
"""Length of an Ed25519 public key."""

EC_BYTES: Final = 33
"""Length of a compressed point on P-256 or secp256k1."""

_COMPRESSED: Final = (2, 3)
_SCALAR_BYTES: Final = 32
_SECP256K1_ORDER: Final = (
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
)
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class PublicKey(Protocol):
    """A key that signatures can be checked against."""

    @property
    def public_bytes(self) -> bytes:
        """The key's only encoding."""

    @property
    def algorithm(self) -> int:
        """The COSE algorithm of its signatures."""

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this key made this signature over this message."""


@dataclass(frozen=True, slots=True)
class Ed25519Key:
    """A point of the prime-order group of edwards25519."""

    public_bytes: bytes
    algorithm: int = ALG_ED25519

    def __post_init__(self) -> None:
        if len(self.public_bytes) != ED25519_BYTES:
            raise InvalidKeyError(f"an Ed25519 key has {ED25519_BYTES} bytes")
        if not nacl.bindings.crypto_core_ed25519_is_valid_point(self.public_bytes):
            raise InvalidKeyError("not a point of edwards25519's prime-order group")

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this key made this signature over this message."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            nacl.bindings.crypto_sign_open(signature + message, self.public_bytes)
        except BadSignatureError:
            return False
        return True


class EcdsaKey:
    """A point on P-256 or secp256k1; messages are hashed with SHA-256."""

    __slots__ = ("_half_order", "_key", "algorithm", "public_bytes")

    def __init__(self, public_bytes: bytes, algorithm: int) -> None:
        if len(public_bytes) != EC_BYTES or public_bytes[0] not in _COMPRESSED:
            raise InvalidKeyError(f"an EC key is a compressed point, {EC_BYTES} bytes")
        curve, order = _CURVES[algorithm]
        try:
            self._key = ec.EllipticCurvePublicKey.from_encoded_point(
                curve, public_bytes
            )
        except ValueError:
            raise InvalidKeyError("not a point on the curve") from None
        self.public_bytes = public_bytes
        self.algorithm = algorithm
        self._half_order = order // 2

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this key made this signature over this message."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        r = int.from_bytes(signature[:_SCALAR_BYTES], "big")
        s = int.from_bytes(signature[_SCALAR_BYTES:], "big")
        if s > self._half_order:
            return False
        try:
            self._key.verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


_CURVES: Final[dict[int, tuple[ec.EllipticCurve, int]]] = {
    ALG_ES256: (ec.SECP256R1(), _P256_ORDER),
    ALG_ES256K: (ec.SECP256K1(), _SECP256K1_ORDER),
}


def order_of(algorithm: int) -> int:
    """Return the order of the curve of an ECDSA algorithm."""
    return _CURVES[algorithm][1]


def verify_ed25519(public_bytes: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the holder of this Ed25519 key made this signature."""
    if len(signature) != SIGNATURE_BYTES or len(public_bytes) != ED25519_BYTES:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_bytes)
    except BadSignatureError:
        return False
    return True


def x25519_of_ed25519(public_bytes: bytes) -> bytes:
    """Return the key-agreement key that belongs to a valid Ed25519 key."""
    return nacl.bindings.crypto_sign_ed25519_pk_to_curve25519(public_bytes)
