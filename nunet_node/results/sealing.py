"""Sealing bytes to their owner: pieces under a key, and the key under readers' keys.

Each attempt at a job has a key of its own, used for one stream of bytes. The stream is
cut into pieces of one length, each sealed by ChaCha20-Poly1305 (RFC 8439) under its
number and whether it is the last, so that pieces cannot be exchanged, repeated, left
out or cut off (the STREAM construction; Hoang et al., CRYPTO 2015). The key goes to
each reader sealed by HPKE, bound to the job, the tree and the reader.

Rule: keys and randomness are arguments. docs/protocol/results.md is normative.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from nunet_node.errors import MisuseError
from nunet_node.identity.did import Did, is_web, resolve
from nunet_node.identity.safe.hpke import OVERHEAD_BYTES, open_sealed, seal_to
from nunet_node.results.errors import NoAgreementKeyError, SealError
from nunet_node.results.manifest import CHUNK_BYTES
from nunet_node.wire.cid import Cid

KEY_BYTES: Final = 32
"""Length of the key of one attempt's result."""

WRAPPED_KEY_BYTES: Final = KEY_BYTES + OVERHEAD_BYTES
"""Length of such a key when it is sealed to a reader."""

TAG_BYTES: Final = 16
"""What sealing makes a piece longer by."""

PIECE_BYTES: Final = CHUNK_BYTES - TAG_BYTES
"""Bytes of the stream in every piece but the last, so that a sealed one is a chunk."""

_PIECE_CONTEXT: Final = b"nunet/result/1"
_KEY_CONTEXT: Final = b"nunet/result-key/1"
_COUNTER_BYTES: Final = 11
_ATTEMPT_BYTES: Final = 4

_SHORT_BYTES: Final = 16_384
"""Room that suffices for most results. A whole piece's has to be zeroed first, which
takes far longer than sealing a short stream."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Seal:
    """A key, and what it is for; never printed."""

    key: bytes
    job: str
    attempt: int

    @property
    def context(self) -> bytes:
        """What every piece is bound to."""
        return _PIECE_CONTEXT + self.job.encode() + _number(self.attempt)


class StreamSealer:
    """Takes a stream in parts of any length, and puts its sealed pieces.

    Args:
        seal: the key, never used for another stream.
        put: takes a sealed piece, which is its own only until it returns.
    """

    def __init__(self, seal: Seal, put: Callable[[memoryview], Cid]) -> None:
        self.size_bytes = 0
        self.pieces: list[Cid] = []
        self._cipher = _cipher(seal.key)
        self._context = seal.context
        self._put = put
        self._plain = self._sealed = memoryview(b"")
        self._filled = 0

    @property
    def sealed_bytes(self) -> int:
        """Length of all pieces that were put."""
        return self.size_bytes + TAG_BYTES * len(self.pieces)

    def write(self, data: bytes | memoryview) -> None:
        """Take the next part of the stream."""
        rest = memoryview(data)
        while rest:
            # Only what follows a full piece tells that it is not the last.
            if self._filled == PIECE_BYTES:
                self._emit(last=False)
            taken = min(len(rest), PIECE_BYTES - self._filled)
            self._widen(self._filled + taken)
            self._plain[self._filled : self._filled + taken] = rest[:taken]
            self._filled += taken
            rest = rest[taken:]

    def finish(self) -> None:
        """Put the last piece; nothing may be written afterwards."""
        self._emit(last=True)

    def _widen(self, size_bytes: int) -> None:
        if len(self._plain) < size_bytes:
            wider = _room(size_bytes)
            wider[: self._filled] = self._plain[: self._filled]
            self._plain = wider

    def _emit(self, *, last: bool) -> None:
        if len(self._sealed) < self._filled + TAG_BYTES:
            self._sealed = _room(self._filled, TAG_BYTES)
        sealed = self._sealed[: self._filled + TAG_BYTES]
        nonce = _nonce(len(self.pieces), last=last)
        plain = self._plain[: self._filled]
        self._cipher.encrypt_into(nonce, plain, self._context, sealed)
        self.pieces.append(self._put(sealed))
        self.size_bytes += self._filled
        self._filled = 0


class PieceOpener:
    """Opens the pieces of one stream, in any order."""

    def __init__(self, seal: Seal) -> None:
        self._cipher = _cipher(seal.key)
        self._context = seal.context
        self._plain = _room(0)

    def open(self, number: int, data: bytes | memoryview, *, last: bool) -> memoryview:
        """Return what a piece holds; it is good until the next one is opened.

        Args:
            number: the piece's place in the stream, from 0.
            data: the sealed piece.
            last: whether it is the last one.

        Raises:
            SealError: it is another piece, of another stream, or damaged.
        """
        length = len(data) - TAG_BYTES
        if not 0 <= length <= PIECE_BYTES:
            raise SealError(f"a sealed piece of {len(data)} bytes")
        if len(self._plain) < length:
            self._plain = _room(length)
        plain = self._plain[:length]
        nonce = _nonce(number, last=last)
        try:
            self._cipher.decrypt_into(nonce, data, self._context, plain)
        except InvalidTag:
            raise SealError("a piece does not open: another key, or damaged") from None
        return plain


def can_read(reader: Did, agreement: bytes = b"") -> bool:
    """Tell whether something can be sealed to this DID: it has a key for that.

    Args:
        reader: the DID.
        agreement: the X25519 key in its document, if that had to be fetched.
    """
    return _agreement_of(reader, agreement) is not None


def wrap_key(
    key: bytes,
    *,
    reader: Did,
    job: str,
    root: Cid,
    ephemeral_secret: bytes,
    agreement: bytes = b"",
) -> bytes:
    """Return a result's key, sealed to one reader for this job and this tree.

    The provider does so for the owner, and the owner for whoever else is to read.

    Args:
        key: the key of the attempt's result.
        reader: who is to read it.
        job: the job's id.
        root: the id of the sealed tree.
        ephemeral_secret: 32 random bytes, used for nothing else.
        agreement: the X25519 key in the reader's document, if that had to be fetched.

    Raises:
        NoAgreementKeyError: the reader's DID has no key that one could seal to.
    """
    public = _agreement_of(reader, agreement)
    if public is None:
        raise NoAgreementKeyError(f"nothing can be sealed to {reader}")
    if len(key) != KEY_BYTES:
        raise MisuseError(f"a result's key has {KEY_BYTES} bytes")
    return seal_to(public, ephemeral_secret, _key_context(job, root, reader), key)


def unwrap_key(
    wrapped: bytes, *, reader: Did, reader_secret: bytes, job: str, root: Cid
) -> bytes:
    """Return the key of a result that was sealed to this reader.

    Raises:
        SealError: it was sealed to somebody else, for another job or tree, or is
            damaged.
        UnsealError: as above.
    """
    key = open_sealed(reader_secret, _key_context(job, root, reader), wrapped)
    if len(key) != KEY_BYTES:
        raise SealError(f"a key of {len(key)} bytes")
    return key


def _agreement_of(reader: Did, agreement: bytes) -> bytes | None:
    if is_web(reader):
        return agreement or None
    return resolve(reader).key_agreement


def _cipher(key: bytes) -> ChaCha20Poly1305:
    if len(key) != KEY_BYTES:
        raise MisuseError(f"a result's key has {KEY_BYTES} bytes")
    return ChaCha20Poly1305(key)


def _room(size_bytes: int, more_bytes: int = 0) -> memoryview:
    """Return room for so many bytes of a piece: for a short stream, or any piece."""
    room_bytes = _SHORT_BYTES if size_bytes <= _SHORT_BYTES else PIECE_BYTES
    return memoryview(bytearray(room_bytes + more_bytes))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_COUNTER_BYTES, "big") + bytes((last,))


def _number(value: int) -> bytes:
    return value.to_bytes(_ATTEMPT_BYTES, "big")


def _key_context(job: str, root: Cid, reader: Did) -> bytes:
    # Job ids and content ids each have one length, so that no two contexts agree.
    return _KEY_CONTEXT + job.encode() + root.to_bytes() + reader.encode()
