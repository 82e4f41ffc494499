"""Values, names, statements and commands, written from docs/protocol/wire.md alone.

Rule: nothing of the package is imported here; whoever reads the pages can write this.
"""

import base64
import hashlib
import os
import time
from dataclasses import dataclass, field
from typing import Any, Final

import base58
import cbor2
from nacl import bindings, signing

NETWORK: Final = "nunet-main"
LASTING: Final = ("accepted", "notice", "receipt", "confirmation")
_ED25519: Final = b"\xed\x01"
_ALGORITHM: Final = -19
_VARSIG: Final = bytes.fromhex("3401ed01ed011371")
_PEER_ID: Final = bytes.fromhex("002408011220")
_RAW, _DAG_CBOR = 0x55, 0x71


def encode(value: Any) -> bytes:
    """Section 1: the only encoding of a value."""
    return cbor2.dumps(value, canonical=True)


def decode(data: bytes) -> Any:
    """Section 1: a value, if these bytes are its only encoding."""
    value = cbor2.loads(data)
    assert encode(value) == data, data.hex()
    return value


def cid_of(data: bytes, codec: int = _DAG_CBOR) -> bytes:
    """Section 2: the binary content id."""
    return bytes([1, codec, 0x12, 0x20]) + hashlib.sha256(data).digest()


def raw_cid_of(data: bytes) -> bytes:
    """Section 2: the content id of bytes that are no value."""
    return cid_of(data, _RAW)


def link(cid: bytes) -> cbor2.CBORTag:
    """Section 1: a content id inside a value."""
    return cbor2.CBORTag(42, b"\0" + cid)


def linked(value: cbor2.CBORTag) -> bytes:
    """Section 1: the content id that a value holds."""
    assert value.tag == 42
    assert len(value.value) == 37
    return bytes(value.value[1:])


def base32(data: bytes) -> str:
    """Lower case, without padding."""
    return base64.b32encode(data).decode().lower().rstrip("=")


def public_of(did: str) -> bytes:
    """Section 4: the Ed25519 key that a DID is."""
    assert did.startswith("did:key:z6Mk"), did
    raw = base58.b58decode(did.removeprefix("did:key:z"))
    assert raw[:2] == _ED25519
    return raw[2:]


def peer_id_of(did: str) -> str:
    """Section 4: the peer id of the same key."""
    return base58.b58encode(_PEER_ID + public_of(did)).decode()


@dataclass(frozen=True)
class Identity:
    """A key, and the names that follow from it."""

    seed: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    @property
    def _key(self) -> signing.SigningKey:
        return signing.SigningKey(self.seed)

    @property
    def did(self) -> str:
        """Section 4."""
        raw = _ED25519 + bytes(self._key.verify_key)
        return "did:key:z" + base58.b58encode(raw).decode()

    @property
    def peer_id(self) -> str:
        """Section 4."""
        return peer_id_of(self.did)

    @property
    def agreement_key(self) -> bytes:
        """Section 4: the X25519 secret under the birational map."""
        secret = self.seed + bytes(self._key.verify_key)
        return bindings.crypto_sign_ed25519_sk_to_curve25519(secret)

    def sign(self, data: bytes) -> bytes:
        """RFC 8032."""
        return self._key.sign(data).signature


@dataclass(frozen=True)
class Statement:
    """A statement that was opened."""

    kind: str
    issuer: str
    audience: str
    value: dict[str, Any]
    id: bytes
    data: bytes


def _signed_part(kind: str, protected: bytes, payload: bytes) -> bytes:
    aad = f"nunet-node|1|{NETWORK}|{kind}".encode()
    return encode(["Signature1", protected, aad, payload])


def _key_url(did: str) -> bytes:
    return f"{did}#{did.removeprefix('did:key:')}".encode()


def state(
    kind: str,
    issuer: Identity,
    audience: str,
    record: dict[str, Any],
    lives_s: int = 60,
) -> bytes:
    """Section 5: a statement in the only form."""
    now_s = int(time.time())
    claims = {
        1: issuer.did,
        3: audience,
        4: now_s + lives_s,
        6: now_s,
        7: os.urandom(16),
    }
    header = {1: _ALGORITHM, 4: _key_url(issuer.did), 15: claims}
    protected = encode({**header, 16: f"nunet/{kind}@1"})
    payload = encode(record)
    signature = issuer.sign(_signed_part(kind, protected, payload))
    return encode(cbor2.CBORTag(18, [protected, {}, payload, signature]))


def open_statement(
    data: bytes, kind: str, audience: str, now_s: float | None = None
) -> Statement:
    """Section 5: what a statement says, once every check has passed."""
    tagged = decode(data)
    assert tagged.tag == 18
    protected, unprotected, payload, signature = tagged.value
    assert unprotected == {}
    header = decode(protected)
    claims = header[15]
    issuer = claims[1]
    assert set(header) == {1, 4, 15, 16}
    assert set(claims) == {1, 3, 4, 6, 7}
    assert header[16] == f"nunet/{kind}@1", header[16]
    assert claims[3] == audience, claims
    now_s = time.time() if now_s is None else now_s
    assert kind in LASTING or claims[6] - 30 <= now_s <= claims[4], claims
    assert header[4] == _key_url(issuer)
    assert header[1] == _ALGORITHM
    signed = _signed_part(kind, protected, payload)
    signing.VerifyKey(public_of(issuer)).verify(signed, signature)
    value = decode(payload)
    return Statement(
        kind, issuer, audience, value, hashlib.sha256(signed).digest(), data
    )


def request_digest(request: dict[str, Any]) -> bytes:
    """Section 7: what a challenge is made for."""
    args = {k: v for k, v in request["args"].items() if k != "challenge"}
    return hashlib.sha256(encode({**request, "args": args})).digest()


def token(signer: Identity, tag: str, payload: dict[str, Any]) -> bytes:
    """Section 6: a UCAN 1.0 envelope."""
    signed = {"h": _VARSIG, tag: payload}
    return encode([signer.sign(encode(signed)), signed])


def invoke(
    signer: Identity,
    request: dict[str, Any],
    challenge: bytes | None,
    proofs: tuple[bytes, ...] = (),
) -> bytes:
    """Section 6: an invocation that answers a challenge."""
    answered = {} if challenge is None else {"challenge": challenge}
    payload = {
        **request,
        "args": {**request["args"], **answered},
        "prf": [link(cid_of(proof)) for proof in proofs],
        "nonce": os.urandom(12),
        "exp": int(time.time()) + 60,
    }
    return token(signer, "ucan/inv@1.0.0", payload)


def delegate(
    signer: Identity,
    to: str,
    command: str,
    policy: list[Any],
    meta: dict[str, Any] | None = None,
) -> bytes:
    """Section 6: a delegation of what is the signer's own."""
    payload = {
        "iss": signer.did,
        "aud": to,
        "sub": signer.did,
        "cmd": command,
        "pol": policy,
        "nonce": os.urandom(12),
        "exp": int(time.time()) + 600,
    }
    said = {} if meta is None else {"meta": meta}
    return token(signer, "ucan/dlg@1.0.0", {**payload, **said})


def parcel(*tokens: bytes) -> str:
    """delegation.md, section 1: a chain as text."""
    packed = encode({"ctn-v1": list(tokens)})
    return "C" + base64.urlsafe_b64encode(packed).decode().rstrip("=")
