"""How bulk bytes are sealed on their way: records under the key of one ticket.

A record is a length of 4 bytes, big-endian, and so many bytes of AES-256-GCM
(NIST SP 800-38D). Rule: a key is good for one direction of one connection, and its
records are numbered, so that none can be left out, repeated, exchanged or sent back
to where it came from. The length is authenticated and judged before it is believed.
docs/protocol/transfers.md is normative.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nunet_node.errors import PeerError
from nunet_node.wire.limits import BLOCK_DECODE_BYTES_MAX

HEADER_BYTES: Final = 4
TAG_BYTES: Final = 16

RECORD_BYTES_MAX: Final = BLOCK_DECODE_BYTES_MAX + TAG_BYTES
"""What a length may say: a whole block, sealed."""

RECORDS_MAX: Final = 1 << 31
"""Records under one key, half of what the standard allows: two petabytes of blocks."""

_INFO: Final = b"nunet/bulk/1 "
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class RecordError(PeerError):
    """Bytes on a bulk connection are not the peer's next record."""

    code = "network.bulk-record"


class Sealing:
    """One direction of one connection; seals, or opens, its records in order.

    Args:
        key: the ticket's key.
        outward: whether it is the direction from the door to whoever came.
    """

    def __init__(self, key: bytes, *, outward: bool) -> None:
        info = _INFO + (b"out" if outward else b"in")
        derived = HKDF(SHA256(), _KEY_BYTES, salt=None, info=info).derive(key)
        self._cipher = AESGCM(derived)
        self._number = 0

    def seal(self, data: bytes | memoryview, place: memoryview) -> int:
        """Write the next record to a place that is long enough; return its length."""
        size = len(data) + TAG_BYTES
        stop = HEADER_BYTES + size
        place[:HEADER_BYTES] = size.to_bytes(HEADER_BYTES, "big")
        header = bytes(place[:HEADER_BYTES])
        sealed = place[HEADER_BYTES:stop]
        self._cipher.encrypt_into(self._nonce(), data, header, sealed)
        return stop

    def open(self, header: bytes, sealed: memoryview, place: memoryview) -> None:
        """Write what the next record holds to a place of just its length.

        Raises:
            RecordError: it is another one, or was changed.
        """
        try:
            self._cipher.decrypt_into(self._nonce(), sealed, header, place)
        except InvalidTag:
            raise RecordError("a record that does not open") from None

    def _nonce(self) -> bytes:
        if self._number >= RECORDS_MAX:
            raise RecordError("too many records on one connection")
        number, self._number = self._number, self._number + 1
        return number.to_bytes(_NONCE_BYTES, "big")
