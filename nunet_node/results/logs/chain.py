"""A job's output as a chain of sealed links, which grows while the job runs.

Each link holds some bytes of either stream, sealed under the attempt's own key, and is
bound to all before it: its digest covers the digest before it, and so does its seal. A
link that was changed, left out, repeated or moved does not open; one that was cut off
at the end is missing from the head, which the provider signs. Whoever has no key can
check the order all the same.

Rule: pure functions over bytes; keys are arguments, and a key is used for one chain.
The construction is that of docs/protocol/results.md, "Logs".
"""

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from nunet_node.identity.did import Did
from nunet_node.quantities import Count
from nunet_node.results.errors import LogTamperedError
from nunet_node.results.sealing import unwrap_key, wrap_key
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record, decode_record, encode_record

LINK_BYTES_MAX: Final = 128 << 10
"""Bytes of both streams in one link: half of a frame."""

RECORD_BYTES_MAX: Final = LINK_BYTES_MAX + 1024
"""Longest record of a chain: a full link with its seal and its numbers."""

DIGEST_BYTES: Final = 32

_CONTEXT: Final = b"nunet/log/1"
_NONCE_BYTES: Final = 12


class LogHeader(Record):
    """What a chain begins with."""

    job: str
    attempt: Annotated[int, msgspec.Meta(ge=1, le=16)]
    owner: Did
    version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    sealed_key: Annotated[bytes, msgspec.Meta(max_length=128)] = b""
    """The chain's key, sealed to the owner; empty if whoever has it may read it."""


class LogLink(Record):
    """One link as it is kept: in the clear, how far the streams came and when."""

    data: Annotated[bytes, msgspec.Meta(max_length=RECORD_BYTES_MAX)]
    """The `LogBytes`, sealed."""
    at_s: Count
    stdout_end: Count
    stderr_end: Count


class LogBytes(Record):
    """What one link holds."""

    stdout: bytes = b""
    stderr: bytes = b""


class LogHead(Record):
    """How long a chain is, and what it comes to: signed, it fixes every byte."""

    links: Count
    digest: Annotated[bytes, msgspec.Meta(max_length=DIGEST_BYTES)]


@dataclass(slots=True, kw_only=True)
class LogChain:
    """A chain as far as it goes; `append` makes it longer, `take` follows another's.

    Args:
        header: what it begins with.
        key: what its links are sealed under; None if they are not, or if they are only
            to be checked for their order.
    """

    header: LogHeader
    key: bytes | None = None
    links: int = 0
    stdout_end: int = 0
    stderr_end: int = 0
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256(_CONTEXT + encode_record(self.header)).digest()

    @property
    def head(self) -> LogHead:
        """How far it goes."""
        return LogHead(links=self.links, digest=self.digest)

    def append(self, said: LogBytes, at_s: int) -> bytes:
        """Return the next link's record."""
        plain = encode_record(said)
        data = (
            plain
            if self.key is None
            else self._cipher(self.key).encrypt(self._nonce, plain, self._bound)
        )
        link = LogLink(
            data=data,
            at_s=at_s,
            stdout_end=self.stdout_end + len(said.stdout),
            stderr_end=self.stderr_end + len(said.stderr),
        )
        record = encode_record(link)
        self._went(link, record)
        return record

    def follow(self, record: bytes) -> LogLink:
        """Take the next record without reading what it holds.

        Raises:
            WireError: it is no record of a chain.
            LogTamperedError: the streams would become shorter.
        """
        link = decode_record(LogLink, record, bytes_max=RECORD_BYTES_MAX)
        if link.stdout_end < self.stdout_end or link.stderr_end < self.stderr_end:
            raise LogTamperedError("a link of the logs goes backwards")
        self._went(link, record)
        return link

    def take(self, record: bytes) -> LogBytes:
        """Take the next record, and return what it holds.

        Raises:
            WireError: it is no record of a chain.
            LogTamperedError: it is not the next one of this chain, or was changed.
        """
        link = decode_record(LogLink, record, bytes_max=RECORD_BYTES_MAX)
        plain = link.data
        if self.key is not None:
            try:
                cipher = self._cipher(self.key)
                plain = cipher.decrypt(self._nonce, link.data, self._bound)
            except InvalidTag:
                raise LogTamperedError(
                    f"link {self.links + 1} of the logs was changed, moved or left out"
                ) from None
        said = decode_record(LogBytes, plain, bytes_max=RECORD_BYTES_MAX)
        ends = (
            self.stdout_end + len(said.stdout),
            self.stderr_end + len(said.stderr),
        )
        if ends != (link.stdout_end, link.stderr_end):
            raise LogTamperedError(f"link {self.links + 1} of the logs lies about it")
        self._went(link, record)
        return said

    def check_head(self, head: LogHead) -> None:
        """Check that this is the whole chain that somebody signed.

        Raises:
            LogTamperedError: it is another, or not all of it.
        """
        if self.head != head:
            raise LogTamperedError(
                f"the logs have {self.links} links, of {head.links} that their "
                "provider signed, or others"
            )

    def _went(self, link: LogLink, record: bytes) -> None:
        self.digest = hashlib.sha256(self.digest + record).digest()
        self.links += 1
        self.stdout_end, self.stderr_end = link.stdout_end, link.stderr_end

    @property
    def _nonce(self) -> bytes:
        return self.links.to_bytes(_NONCE_BYTES, "big")

    @property
    def _bound(self) -> bytes:
        return _CONTEXT + self.digest

    @staticmethod
    def _cipher(key: bytes) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(key)


def written_at_s(record: bytes) -> int:
    """Return when a link of a chain was written, unix time.

    Raises:
        WireError: it is no record of a chain.
    """
    return decode_record(LogLink, record, bytes_max=RECORD_BYTES_MAX).at_s


def new_header(
    *,
    job: str,
    attempt: int,
    owner: Did,
    key: bytes | None,
    ephemeral_secret: bytes,
    agreement: bytes = b"",
) -> LogHeader:
    """Return what a new chain begins with, its key sealed to the owner if it has one.

    Raises:
        NoAgreementKeyError: nothing can be sealed to the owner.
    """
    bare = LogHeader(job=job, attempt=attempt, owner=owner)
    if key is None:
        return bare
    wrapped = wrap_key(
        key,
        reader=owner,
        job=job,
        root=_name(bare),
        ephemeral_secret=ephemeral_secret,
        agreement=agreement,
    )
    return msgspec.structs.replace(bare, sealed_key=wrapped)


def key_of(header: LogHeader, reader_secret: bytes) -> bytes | None:
    """Return a chain's key by its owner's secret; None if it is not sealed.

    Raises:
        SealError: it is another owner's, or damaged.
        UnsealError: as above.
    """
    if not header.sealed_key:
        return None
    bare = msgspec.structs.replace(header, sealed_key=b"")
    return unwrap_key(
        header.sealed_key,
        reader=header.owner,
        reader_secret=reader_secret,
        job=header.job,
        root=_name(bare),
    )


def _name(bare: LogHeader) -> Cid:
    return Cid.of_dag_cbor(encode_record(bare))
