"""DID documents in the form that others read and write: W3C DID Core, in JSON.

Rule: a document is read whole and strictly. Its keys belong to its DID and are
controlled by it, each id stands once, and no name stands twice in any object; so two
readers cannot take two keys from one document. Kinds of keys that are not spoken here
are passed over, because a document may serve others too.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nunet_node.identity.curves import EcdsaKey, Ed25519Key, PublicKey
from nunet_node.identity.document import (
    KEYS_MAX,
    SIGNING,
    AgreementKey,
    Did,
    DidDocument,
    Relationship,
    VerificationKey,
)
from nunet_node.identity.errors import (
    InvalidDidError,
    InvalidKeyError,
    UnsupportedKeyError,
)
from nunet_node.identity.methods.multikey import (
    agreement_key,
    signing_key,
    text_of,
    text_of_agreement,
)
from nunet_node.wire.cose import ALG_ES256, ALG_ES256K

DOCUMENT_BYTES_MAX: Final = 64 << 10
"""Largest document that is read; usual ones have one to four kilobytes."""

CONTEXTS: Final = (
    "https://www.w3.org/ns/did/v1",
    "https://w3id.org/security/multikey/v1",
)
"""JSON-LD contexts of what is written here."""

_CURVES: Final[Mapping[str, tuple[ec.EllipticCurve, int]]] = {
    "P-256": (ec.SECP256R1(), ALG_ES256),
    "secp256k1": (ec.SECP256K1(), ALG_ES256K),
}
_COORDINATE_BYTES: Final = 32


def to_w3c(document: DidDocument) -> dict[str, Any]:
    """Return a document as plain maps and lists, ready for JSON."""
    methods = [
        _method(key.key_id, document.did, text_of(key.public)) for key in document.keys
    ]
    agreements = [
        _method(key.key_id, document.did, text_of_agreement(key.public_bytes))
        for key in document.agreements
    ]
    shown: dict[str, Any] = {
        "@context": list(CONTEXTS),
        "id": document.did,
        "verificationMethod": methods + agreements,
    }
    if document.also_known_as:
        shown["alsoKnownAs"] = list(document.also_known_as)
    for use in Relationship:
        if use in SIGNING:
            shown[use.value] = list(document.uses.get(use, ()))
        else:
            shown[use.value] = [key.key_id for key in document.agreements]
    return shown


def read_json(data: bytes) -> dict[str, Any]:
    """Read the JSON object of a document.

    Raises:
        InvalidDidError: too large, no JSON object, or a name stands twice.
    """
    if len(data) > DOCUMENT_BYTES_MAX:
        raise InvalidDidError(f"a DID document has at most {DOCUMENT_BYTES_MAX} bytes")
    try:
        plain = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise InvalidDidError("the DID document is not JSON") from None
    if not isinstance(plain, dict):
        raise InvalidDidError("the DID document is not an object")
    return plain


def read_document(
    did: Did, plain: Mapping[str, Any], *, also_known_as: tuple[str, ...] = ()
) -> DidDocument:
    """Read the document of a DID.

    Args:
        did: whose document it is; keys of any other DID are refused.
        plain: the document's object.
        also_known_as: other names that its method gives the DID.

    Raises:
        InvalidDidError: the form is wrong, an id stands twice, or a key is another
            DID's.
        InvalidKeyError: a key is not valid.
    """
    return _Reader(did).read(plain, also_known_as)


class _Reader:
    """Reads one document, collecting its keys."""

    def __init__(self, did: Did) -> None:
        self._did = did
        self._keys: dict[str, VerificationKey] = {}
        self._agreements: dict[str, AgreementKey] = {}
        self._seen: set[str] = set()

    def read(
        self, plain: Mapping[str, Any], also_known_as: tuple[str, ...]
    ) -> DidDocument:
        for method in _list(plain, "verificationMethod"):
            self._add(method)
        uses = {use: self._used(plain, use) for use in Relationship}
        order = {name: at for at, name in enumerate(self._keys)}
        first = uses[Relationship.AUTHENTICATION]
        preferred = sorted(
            self._keys.values(), key=lambda k: (k.key_id not in first, order[k.key_id])
        )
        return DidDocument(
            did=self._did,
            keys=tuple(preferred),
            uses={use: uses[use] for use in Relationship if use in SIGNING},
            agreements=tuple(
                self._agreements[name]
                for name in uses[Relationship.KEY_AGREEMENT]
                if name in self._agreements
            ),
            also_known_as=also_known_as,
        )

    def _used(self, plain: Mapping[str, Any], use: Relationship) -> tuple[str, ...]:
        names = []
        for entry in _list(plain, use.value):
            name = self._absolute(entry) if isinstance(entry, str) else self._add(entry)
            if name not in self._seen:
                raise InvalidDidError(f"{use} names a key that the document lacks")
            names.append(name)
        return tuple(names)

    def _add(self, method: object) -> str:
        if not isinstance(method, dict):
            raise InvalidDidError("a verification method is an object")
        name = self._absolute(method.get("id"))
        if name in self._seen:
            raise InvalidDidError("two verification methods have one id")
        if method.get("controller", self._did) != self._did:
            raise InvalidDidError("a verification method is another DID's")
        if len(self._seen) >= KEYS_MAX:
            raise InvalidDidError(f"a DID document has at most {KEYS_MAX} keys")
        self._seen.add(name)
        try:
            self._add_signing(name, method)
        except UnsupportedKeyError:
            self._add_agreement(name, method)
        return name

    def _add_signing(self, name: str, method: Mapping[str, Any]) -> None:
        public = _public(method)
        self._keys[name] = VerificationKey(did=self._did, key_id=name, public=public)

    def _add_agreement(self, name: str, method: Mapping[str, Any]) -> None:
        try:
            public = _agreement(method)
        except UnsupportedKeyError:
            return
        self._agreements[name] = AgreementKey(key_id=name, public_bytes=public)

    def _absolute(self, name: object) -> str:
        if not isinstance(name, str) or not name:
            raise InvalidDidError("a key's id is a text")
        name = f"{self._did}{name}" if name.startswith("#") else name
        did, hash_sign, fragment = name.partition("#")
        if did != self._did or not hash_sign or not fragment:
            raise InvalidDidError("a key's id is not the document's DID with a name")
        return name


def _public(method: Mapping[str, Any]) -> PublicKey:
    jwk = method.get("publicKeyJwk")
    if isinstance(jwk, dict):
        return _public_of_jwk(jwk)
    multibase = method.get("publicKeyMultibase")
    if not isinstance(multibase, str):
        raise UnsupportedKeyError("the key is in a form that is not spoken")
    return signing_key(multibase)


def _agreement(method: Mapping[str, Any]) -> bytes:
    jwk = method.get("publicKeyJwk")
    if isinstance(jwk, dict):
        if (jwk.get("kty"), jwk.get("crv")) != ("OKP", "X25519"):
            raise UnsupportedKeyError("the key cannot be encrypted to")
        return _coordinate(jwk, "x")
    multibase = method.get("publicKeyMultibase")
    if not isinstance(multibase, str):
        raise UnsupportedKeyError("the key is in a form that is not spoken")
    return agreement_key(multibase)


def _public_of_jwk(jwk: Mapping[str, Any]) -> PublicKey:
    if "d" in jwk:
        raise InvalidKeyError("the document shows a secret key")
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if (kind, curve) == ("OKP", "Ed25519"):
        return Ed25519Key(_coordinate(jwk, "x"))
    if kind != "EC" or not isinstance(curve, str) or curve not in _CURVES:
        raise UnsupportedKeyError("the key is of a kind that cannot sign here")
    found, algorithm = _CURVES[curve]
    x, y = (int.from_bytes(_coordinate(jwk, name), "big") for name in "xy")
    try:
        point = ec.EllipticCurvePublicNumbers(x, y, found).public_key()
    except ValueError:
        raise InvalidKeyError("not a point on the curve") from None
    form = PublicFormat.CompressedPoint
    return EcdsaKey(point.public_bytes(Encoding.X962, form), algorithm)


def _coordinate(jwk: Mapping[str, Any], name: str) -> bytes:
    text = jwk.get(name)
    try:
        value = base64.b64decode(f"{text}=", b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidKeyError("a coordinate is not base64url") from None
    spelt = base64.urlsafe_b64encode(value).decode().rstrip("=")
    if len(value) != _COORDINATE_BYTES or spelt != text:
        raise InvalidKeyError(f"a coordinate has {_COORDINATE_BYTES} bytes")
    return value


def _method(name: str, did: Did, multibase: str) -> dict[str, str]:
    return {
        "id": name,
        "type": "Multikey",
        "controller": did,
        "publicKeyMultibase": multibase,
    }


def _list(plain: Mapping[str, Any], name: str) -> Sequence[Any]:
    found = plain.get(name, [])
    if not isinstance(found, list) or len(found) > KEYS_MAX:
        raise InvalidDidError(f"{name} is a list of at most {KEYS_MAX}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) != len(pairs):
        raise InvalidDidError("a name stands twice in the DID document")
    return plain
