"""From frames to what they say: as production does, or trusting and fast.

`strict` is the production opener. `trusting` reads what an honest machine wrote and
leaves out what only a forger would fail: strict CBOR, re-encoding and signatures. It
keeps what faults can break between honest machines: audience, kind and time. A test
holds that both read every frame of a run alike.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, Final, Protocol

import cbor2
import msgspec

from nunet_node.capability.command import Command
from nunet_node.capability.envelope import INVOCATION_TAG
from nunet_node.capability.errors import ExpiredError, InvalidAudienceError
from nunet_node.capability.invocation import Invocation
from nunet_node.errors import PeerError
from nunet_node.identity.did import Did
from nunet_node.identity.errors import StaleError, WrongAudienceError
from nunet_node.identity.statement import CLOCK_SKEW_S, Statement
from nunet_node.market.offers import REFUSAL, Advert
from nunet_node.protocol.inputs import (
    AdvertsHeard,
    FrameReceived,
    FrameRejected,
    OpenedBody,
    RevocationsHeard,
    SessionId,
)
from nunet_node.protocol.messages import (
    Adverts,
    Frame,
    Invoke,
    Refused,
    Revocations,
    Stated,
)
from nunet_node.protocol.opening import (
    STATEMENTS,
    open_advert,
    open_frame,
    open_revocations,
)
from nunet_node.wire.cid import Cid

ADVERTS_CACHED_MAX: Final = 100_000
"""Adverts kept opened: each is heard by every machine, and opened once; 300 MB."""


class Reader(Protocol):
    """Opens what a machine receives."""

    def frame(
        self,
        session: SessionId,
        data: bytes,
        now_s: int,
        audiences: Collection[str],
        own_did: Did,
    ) -> FrameReceived | FrameRejected:
        """Return what a frame says, as `nunet_node.protocol.opening.open_frame`."""

    def advert(self, data: bytes, now_s: int) -> Statement[Advert] | None:
        """Return a gossiped advert, or None if it does not count."""


class _Cache:
    """What was opened once, by its bytes."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Statement[Advert]] = OrderedDict()

    def get(self, data: bytes) -> Statement[Advert] | None:
        """Return what these bytes were opened as."""
        return self._known.get(data)

    def put(self, data: bytes, opened: Statement[Advert]) -> None:
        """Remember what these bytes say."""
        self._known[data] = opened
        if len(self._known) > ADVERTS_CACHED_MAX:
            self._known.popitem(last=False)


class StrictReader:
    """The production opener, with adverts opened once."""

    def __init__(self) -> None:
        self._adverts = _Cache()

    def frame(
        self,
        session: SessionId,
        data: bytes,
        now_s: int,
        audiences: Collection[str],
        own_did: Did,
    ) -> FrameReceived | FrameRejected:
        """Return what a frame says."""
        return open_frame(
            session, data, now_s=now_s, audiences=audiences, own_did=own_did
        )

    def advert(self, data: bytes, now_s: int) -> Statement[Advert] | None:
        """Return a gossiped advert, or None if it does not count."""
        known = self._adverts.get(data)
        if known is None:
            try:
                known = open_advert(data, now_s=now_s)
            except PeerError:
                return None
            self._adverts.put(data, known)
        return known if is_fresh(known, now_s) else None


class TrustingReader:
    """Reads what honest machines wrote, and believes their signatures."""

    def __init__(self) -> None:
        self._adverts = _Cache()

    def frame(
        self,
        session: SessionId,
        data: bytes,
        now_s: int,
        audiences: Collection[str],
        own_did: Did,
    ) -> FrameReceived | FrameRejected:
        """Return what a frame says."""
        frame = _record(Frame, data)
        try:
            body = self._body(frame.body, now_s, audiences, own_did)
        except PeerError as error:
            return FrameRejected(
                session=session,
                frame=frame.id,
                re=frame.re,
                code=error.code,
                reason=str(error),
            )
        return FrameReceived(session=session, frame=frame.id, re=frame.re, body=body)

    def advert(self, data: bytes, now_s: int) -> Statement[Advert] | None:
        """Return a gossiped advert, or None if it does not count."""
        known = self._adverts.get(data)
        if known is None:
            known = _statement(data, Advert)
            self._adverts.put(data, known)
        return known if is_fresh(known, now_s) else None

    def _body(
        self, body: Any, now_s: int, audiences: Collection[str], own_did: Did
    ) -> OpenedBody:
        match body:
            case Stated():
                payload_type, fresh = STATEMENTS[body.statement_kind]
                return _addressed(
                    _statement(body.data, payload_type), now_s, audiences, fresh=fresh
                )
            case Refused():
                payload_type, fresh = STATEMENTS[REFUSAL]
                return _addressed(
                    _statement(body.data, payload_type), now_s, audiences, fresh=fresh
                )
            case Invoke():
                return _command(body.invocation, now_s, own_did)
            case Adverts():
                heard = (self.advert(data, now_s) for data in body.items)
                return AdvertsHeard(adverts=tuple(h for h in heard if h is not None))
            case Revocations():
                return open_revocations(body.items, more=body.more)
            case _:
                asked: OpenedBody = body
                return asked


def revocations_of(data: bytes) -> RevocationsHeard:
    """Return what a gossiped revocation says; these are always verified."""
    return open_revocations((data,))


def is_fresh(heard: Statement[Any], now_s: int) -> bool:
    """Tell whether a statement counts at this moment of a wall clock."""
    return heard.issued_at_s <= now_s + CLOCK_SKEW_S and now_s <= heard.expires_at_s


def _addressed(
    heard: Statement[Any], now_s: int, audiences: Collection[str], *, fresh: bool
) -> Statement[Any]:
    if fresh and heard.issued_at_s > now_s + CLOCK_SKEW_S:
        raise StaleError("it was made in the future")
    if fresh and now_s > heard.expires_at_s:
        raise StaleError("it has expired")
    if heard.audience not in audiences:
        raise WrongAudienceError("a statement made for somebody else")
    return heard


def _statement(data: bytes, payload_type: type[Any]) -> Statement[Any]:
    protected, _, payload, _ = _plain(data).value
    header = _plain(protected)
    claims: Mapping[int, Any] = header[15]
    return Statement(
        issuer=claims[1],
        audience=claims[3],
        issued_at_s=claims[6],
        expires_at_s=claims[4],
        cti=claims[7],
        payload=_record(payload_type, payload),
        domain=b"",
        data=data,
    )


def _command(data: bytes, now_s: int, own_did: Did) -> Invocation:
    payload = _plain(data)[1][INVOCATION_TAG]
    if payload.get("aud", payload["sub"]) != own_did:
        raise InvalidAudienceError("the command was given to somebody else")
    if now_s > payload["exp"]:
        raise ExpiredError("the command has expired")
    return Invocation(
        issuer=Did(payload["iss"]),
        subject=Did(payload["sub"]),
        audience=Did(payload.get("aud", payload["sub"])),
        command=Command(payload["cmd"]),
        args=payload["args"],
        nonce=payload["nonce"],
        expires_at_s=payload["exp"],
        proofs=(),
        cid=Cid.of_dag_cbor(data),
        data=data,
    )


def _record(kind: type[Any], data: bytes) -> Any:
    return msgspec.convert(_plain(data), kind, builtin_types=(bytes,), dec_hook=_same)


def _plain(data: bytes) -> Any:
    return _tupled(cbor2.loads(data, tag_hook=_untag))


def _tupled(plain: Any) -> Any:
    kind = type(plain)
    if kind is list:
        return tuple([_tupled(item) for item in plain])
    if kind is dict:
        return {key: _tupled(value) for key, value in plain.items()}
    return plain


def _untag(tag: Any, _: object = None) -> Any:
    if tag.tag == 42:  # noqa: PLR2004 - content ids, as in `wire.cbor`
        return Cid.from_bytes(tag.value[1:])
    return tag


def _same(_: type, value: object) -> object:
    return value
