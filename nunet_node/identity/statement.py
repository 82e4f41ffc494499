"""Signed statements: facts that somebody states, which by themselves cause nothing.

A statement is a COSE_Sign1 (see `nunet_node.wire.cose`) around a record. What is
signed names the network and the kind besides (``external_aad``), so a signature
never fits another kind or another network. A statement that could be opened is
authentic: there is no type for one that was not verified.
"""

from functools import lru_cache
from typing import Final, Generic, TypeVar

import msgspec

from nunet_node.errors import MisuseError
from nunet_node.identity.did import (
    KEYS_CACHED_MAX,
    Did,
    Relationship,
    VerificationKey,
    key_for,
    key_id_of,
)
from nunet_node.identity.errors import (
    InvalidSignatureError,
    StaleError,
    WrongAudienceError,
    WrongIssuerError,
    WrongKindError,
)
from nunet_node.identity.keys import Signer
from nunet_node.quantities import INT53_MAX
from nunet_node.wire.cose import (
    CTI_BYTES,
    Header,
    encode_header,
    message_id,
    read_sign1,
    seal_sign1,
    to_be_signed,
)
from nunet_node.wire.limits import FRAME_BYTES_MAX
from nunet_node.wire.schema import decode_record, encode_record

T = TypeVar("T")

NETWORK_ID: Final = "nunet-main"
"""The network whose statements are spoken unless another is named."""

ANYONE: Final = "*"
"""The audience of durable statements, which anybody may verify offline."""

DOMAINS_CACHED_MAX: Final = 64
"""Kinds of statement whose names are kept made: there are a dozen, on one network."""

CLOCK_SKEW_S: Final = 30
"""How far ahead an honest peer's clock may be; expiry knows no grace."""


class Statement(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A fact, with who stated it, for whom and when; its signature held."""

    issuer: Did
    audience: str
    issued_at_s: int
    expires_at_s: int
    cti: bytes
    """The issuer's own id of the statement: the same twice is a duplicate, or two
    statements under one id."""
    payload: T
    domain: bytes
    """What was signed besides the statement, which names its network and kind."""
    data: bytes
    """The statement as it was received, for those who keep or forward it."""

    @property
    def message_id(self) -> bytes:
        """SHA-256 of what was signed; the signature's own bytes are no part of it."""
        sign1 = read_sign1(self.data, bytes_max=len(self.data))
        return message_id(sign1.to_be_signed(self.domain))


def topic_audience(topic: str) -> str:
    """Return the audience of what is said to everybody on a gossip topic."""
    return f"topic:{topic}"


def seal(  # noqa: PLR0913 - each is part of what is signed
    payload: object,
    *,
    kind: str,
    signer: Signer,
    audience: str,
    now_s: int,
    ttl_s: int,
    nonce: bytes,
    network_id: str = NETWORK_ID,
) -> bytes:
    """Return a signed statement of this record.

    Args:
        payload: the record.
        kind: what sort of fact it is; its reader must name the same.
        signer: who states it.
        audience: a DID, `topic_audience`, or `ANYONE`.
        now_s: unix seconds.
        ttl_s: how long it holds.
        nonce: 16 bytes that this signer never uses again.
        network_id: the network it is meant for.

    Raises:
        MisuseError: the nonce is of another length, or the payload cannot be encoded.
    """
    if len(nonce) != CTI_BYTES or ttl_s <= 0:
        raise MisuseError(f"a statement needs {CTI_BYTES} bytes of nonce and a life")
    typed, domain = _domain(network_id, kind)
    protected = encode_header(
        Header(
            algorithm=signer.algorithm,
            key_id=key_id_of(signer.did),
            issuer=signer.did,
            audience=audience,
            expires_at_s=now_s + ttl_s,
            issued_at_s=now_s,
            cti=nonce,
            kind=typed,
        )
    )
    body = encode_record(payload)
    signed = to_be_signed(protected, domain, body)
    return seal_sign1(protected, body, signer.sign(signed))


def open_statement(  # noqa: PLR0913 - each is something to be checked against
    data: bytes,
    *,
    kind: str,
    payload_type: type[T],
    now_s: int,
    audience: str | None,
    network_id: str = NETWORK_ID,
    bytes_max: int = FRAME_BYTES_MAX,
    check_time: bool = True,
) -> Statement[T]:
    """Read and verify a statement; the cheap checks come first.

    Args:
        data: the statement's bytes.
        kind: the only kind that is accepted.
        payload_type: the record that this kind carries.
        now_s: unix seconds.
        audience: the only audience that is accepted; None accepts any.
        network_id: the only network that is accepted.
        bytes_max: the largest statement that belongs here.
        check_time: whether it must hold now; not so for what is verified years later.

    Raises:
        WireError: the bytes are no statement of the one form, or carry another record.
        IdentityError: wrong kind, audience, time, issuer or signature.
    """
    sign1 = read_sign1(data, bytes_max=bytes_max)
    header = sign1.header
    typed, domain = _domain(network_id, kind)
    if header.kind != typed:
        raise WrongKindError(f"a statement of type {header.kind!r}, not {kind!r}")
    if audience is not None and header.audience != audience:
        raise WrongAudienceError(f"made for {header.audience!r}")
    _check_times(header, now_s if check_time else None)
    key = _key_of(header.key_id, header.issuer, header.algorithm)
    payload = decode_record(payload_type, sign1.payload, bytes_max=bytes_max)
    if not key.public.verify(sign1.to_be_signed(domain), sign1.signature):
        raise InvalidSignatureError("the statement's signature does not hold")
    return Statement(
        issuer=key.did,
        audience=header.audience,
        issued_at_s=header.issued_at_s,
        expires_at_s=header.expires_at_s,
        cti=header.cti,
        payload=payload,
        domain=domain,
        data=data,
    )


def _check_times(header: Header, now_s: int | None) -> None:
    if not 0 <= header.issued_at_s < header.expires_at_s <= INT53_MAX:
        raise StaleError("its times are out of order or out of range")
    if now_s is None:
        return
    if header.issued_at_s > now_s + CLOCK_SKEW_S:
        raise StaleError("it was made in the future")
    if now_s > header.expires_at_s:
        raise StaleError("it has expired")


@lru_cache(maxsize=KEYS_CACHED_MAX)
def _key_of(key_id: str, issuer: str, algorithm: int) -> VerificationKey:
    key = key_for(key_id, Relationship.ASSERTION_METHOD)
    if key.did != issuer or key.key_id != key_id:
        raise WrongIssuerError("the statement's key is not its issuer's")
    if key.algorithm != algorithm:
        raise WrongKindError("the algorithm is not the key's")
    return key


@lru_cache(maxsize=DOMAINS_CACHED_MAX)
def _domain(network_id: str, kind: str) -> tuple[str, bytes]:
    """Return what the header calls a kind, and what is signed besides."""
    return f"nunet/{kind}@1", f"nunet-node|1|{network_id}|{kind}".encode()
