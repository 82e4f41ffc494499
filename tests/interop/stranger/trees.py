"""Trees, sealed results and their key, from docs/protocol/results.md alone.

Rule: nothing that was received is used before every check of the page has passed.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Any, Final

from nacl import bindings

from tests.interop.stranger import schema, wire
from tests.interop.stranger.wire import Identity

CHUNK_BYTES: Final = 1_048_576
PIECE_BYTES: Final = 1_048_560
_TAG_BYTES: Final = 16
_NO_FILES: Final = (
    "a36776657273696f6e016a66696c655f636f756e74006a73697a655f627974657300"
)

Files = dict[str, bytes]
Blocks = dict[bytes, bytes]


@dataclass(frozen=True)
class Tree:
    """A tree in blocks."""

    root: bytes
    size_bytes: int
    blocks: Blocks


def pack(files: Files) -> Tree:
    """Make the tree of files that fit one page."""
    blocks: Blocks = {}
    entries = []
    for path, data in sorted(files.items(), key=lambda item: item[0].encode()):
        chunks = [
            data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)
        ]
        cids = [wire.raw_cid_of(chunk) for chunk in chunks]
        blocks |= zip(cids, chunks, strict=True)
        listed = {"chunks": [wire.link(cid) for cid in cids]} if cids else {}
        entries.append({"path": path, "size_bytes": len(data), **listed})
    size_bytes = sum(map(len, files.values()))
    counts = {"version": 1, "file_count": len(entries), "size_bytes": size_bytes}
    root = wire.encode({**counts, **({"files": entries} if entries else {})})
    cid = wire.cid_of(root)
    return Tree(cid, size_bytes, {**blocks, cid: root})


assert pack({}).blocks[pack({}).root].hex() == _NO_FILES


def entries_of(root: bytes) -> list[dict[str, Any]]:
    """Read a manifest of one page."""
    manifest = wire.decode(root)
    schema.check("manifest", manifest)
    assert "pages" not in manifest
    entries: list[dict[str, Any]] = manifest.get("files", [])
    assert manifest["file_count"] == len(entries)
    assert manifest["size_bytes"] == sum(each["size_bytes"] for each in entries)
    paths = [each["path"].encode() for each in entries]
    assert paths == sorted(set(paths))
    return entries


def chunks_of(entry: dict[str, Any]) -> list[tuple[bytes, int]]:
    """Return the chunks of a file, each with the length it must have."""
    size_bytes = entry["size_bytes"]
    cids = [wire.linked(each) for each in entry.get("chunks", [])]
    sizes = [
        min(CHUNK_BYTES, size_bytes - at) for at in range(0, size_bytes, CHUNK_BYTES)
    ]
    return list(zip(cids, sizes, strict=True))


def unsealed(stored: Files, key: bytes, job: str, attempt: int) -> Files:
    """Open a sealed result: the pieces, then the index, then the files."""
    names = sorted(stored)
    assert names == [f"sealed-{number:04}" for number in range(len(names))]
    sealed = b"".join(stored[name] for name in names)
    step = PIECE_BYTES + _TAG_BYTES
    pieces = [sealed[at : at + step] for at in range(0, len(sealed), step)]
    about = b"nunet/result/1" + job.encode() + attempt.to_bytes(4, "big")
    stream = b""
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        nonce = number.to_bytes(11, "big") + bytes([last])
        stream += aead_open(piece, about, nonce, key)
    return _files_of(stream)


def _files_of(stream: bytes) -> Files:
    index_bytes = int.from_bytes(stream[-8:], "big")
    contents, encoded = stream[: -8 - index_bytes], stream[-8 - index_bytes : -8]
    index = wire.decode(encoded)
    schema.check("index", index)
    files: Files = {}
    at = 0
    for entry in index.get("files", []):
        files[entry["path"]] = contents[at : at + entry["size_bytes"]]
        at += entry["size_bytes"]
    assert at == len(contents)
    return files


def result_key(sealed_key: bytes, reader: Identity, job: str, root: bytes) -> bytes:
    """Open the key that was sealed to a reader."""
    info = _key_info(job, root, reader.did)
    return hpkeaead_open(sealed_key[:32], sealed_key[32:], reader.agreement_key, info)


def key_for(reader: str, key: bytes, job: str, root: bytes) -> bytes:
    """Seal a result's key to another reader."""
    public = bindings.crypto_sign_ed25519_pk_to_curve25519(wire.public_of(reader))
    return hpke_seal(key, public, _key_info(job, root, reader))


def _key_info(job: str, root: bytes, reader: str) -> bytes:
    return b"nunet/result-key/1" + job.encode() + root + reader.encode()


def hpkeaead_open(
    encapsulated: bytes, sealed: bytes, secret: bytes, info: bytes
) -> bytes:
    """RFC 9180, base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305, one message."""
    shared = _decapsulate(encapsulated, secret)
    key, nonce = _schedule(shared, info)
    return aead_open(sealed, b"", nonce, key)


def _schedule(shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    suite = b"HPKE" + bytes.fromhex("002000010003")
    context = (
        b"\0"
        + _extract(suite, b"", b"psk_id_hash", b"")
        + _extract(suite, b"", b"info_hash", info)
    )
    scheduled = _extract(suite, shared, b"secret", b"")
    key = _expand(suite, scheduled, b"key", context, 32)
    return key, _expand(suite, scheduled, b"base_nonce", context, 12)


def hpke_seal(message: bytes, public: bytes, info: bytes) -> bytes:
    """RFC 9180, likewise: the encapsulated key and the ciphertext."""
    ephemeral = os.urandom(32)
    encapsulated = bindings.crypto_scalarmult_base(ephemeral)
    shared = _shared(ephemeral, public, encapsulated + public)
    key, nonce = _schedule(shared, info)
    sealed = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
        message, b"", nonce, key
    )
    return bytes(encapsulated + sealed)


def _decapsulate(encapsulated: bytes, secret: bytes) -> bytes:
    own = bindings.crypto_scalarmult_base(secret)
    return _shared(secret, encapsulated, encapsulated + own)


def _shared(secret: bytes, public: bytes, context: bytes) -> bytes:
    suite = b"KEM" + bytes.fromhex("0020")
    product = bindings.crypto_scalarmult(secret, public)
    extracted = _extract(suite, b"", b"eae_prk", product)
    return _expand(suite, extracted, b"shared_secret", context, 32)


def _extract(suite: bytes, salt: bytes, label: bytes, data: bytes) -> bytes:
    material = b"HPKE-v1" + suite + label + data
    return hmac.digest(salt or bytes(32), material, hashlib.sha256)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """At most one block of output, which is all that is asked for."""
    material = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01"
    return hmac.digest(key, material, hashlib.sha256)[:size]


def aead_open(sealed: bytes, about: bytes, nonce: bytes, key: bytes) -> bytes:
    """ChaCha20-Poly1305, RFC 8439."""
    opened: bytes = bindings.crypto_aead_chacha20poly1305_ietf_decrypt(
        sealed, about, nonce, key
    )
    return opened
