"""The node's sessions, and its voice: numbering frames and signing statements.

A session is one stream with one peer, whose id Noise has proved. The first frame
of each side is number 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from nunet_node.errors import MisuseError
from nunet_node.identity.did import Did
from nunet_node.identity.keys import Signer
from nunet_node.identity.peer_id import did_of_peer_id
from nunet_node.identity.statement import seal
from nunet_node.market.offers import REFUSAL, Refusal
from nunet_node.protocol.effects import CloseSession, Send
from nunet_node.protocol.inputs import SessionId
from nunet_node.protocol.messages import Body, Frame, Refused, Stated
from nunet_node.protocol.turn import Turn
from nunet_node.wire.schema import Record, encode_record

FRESH_TTL_S: Final = 120
"""How long bids, reports and refusals count; a slow link and a slow clock fit in."""

LASTING_TTL_S: Final = 10 * 365 * 86400
"""How long facts about a job are vouched for: ten years."""

NONCE_BYTES: Final = 16


@dataclass(slots=True)
class Session:
    """One stream with one peer."""

    id: SessionId
    peer_id: str
    ours: bool
    next_frame: int = 1

    @property
    def peer_did(self) -> Did:
        """The peer's DID: the same key as its peer id."""
        return did_of_peer_id(self.peer_id)


@dataclass(slots=True)
class Sessions:
    """Every open session, by number."""

    _open: dict[SessionId, Session] = field(default_factory=dict)

    def add(self, session: SessionId, peer_id: str, *, ours: bool) -> Session:
        """Note that a session is up."""
        made = Session(id=session, peer_id=peer_id, ours=ours)
        self._open[session] = made
        return made

    def remove(self, session: SessionId) -> Session | None:
        """Note that a session is gone."""
        return self._open.pop(session, None)

    def get(self, session: SessionId) -> Session | None:
        """Return a session that is still open."""
        return self._open.get(session)

    def of_peer(self, peer_id: str) -> tuple[Session, ...]:
        """Return the sessions with one peer."""
        return tuple(s for s in self._open.values() if s.peer_id == peer_id)

    def ours(self) -> tuple[Session, ...]:
        """Return the sessions that we dialled."""
        return tuple(s for s in self._open.values() if s.ours)

    def send(
        self, turn: Turn, session: SessionId, body: Body, re: int | None = None
    ) -> int | None:
        """Order a frame to be sent; return its number, None if the session is gone."""
        to = self._open.get(session)
        if to is None:
            return None
        number = to.next_frame
        to.next_frame += 1
        data = encode_record(Frame(id=number, body=body, re=re))
        turn.do(Send(session=session, data=data))
        return number

    def close(self, turn: Turn, session: SessionId) -> None:
        """Order a session to be finished."""
        if session in self._open:
            turn.do(CloseSession(session=session))


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """Who we are when we state something."""

    signer: Signer
    nonce: Callable[[int], bytes]
    """Fresh random bytes, so many; the only chance the core knows."""

    @property
    def did(self) -> Did:
        """Our DID."""
        return self.signer.did

    def state(
        self, turn: Turn, kind: str, payload: Record, audience: str, ttl_s: int
    ) -> bytes:
        """Return a signed statement of this record."""
        return seal(
            payload,
            kind=kind,
            signer=self.signer,
            audience=audience,
            now_s=turn.now.unix_s,
            ttl_s=ttl_s,
            nonce=self.nonce(NONCE_BYTES),
        )

    def answer(self, turn: Turn, kind: str, payload: Record, audience: str) -> Stated:
        """Return a statement that counts now, ready to send."""
        data = self.state(turn, kind, payload, audience, FRESH_TTL_S)
        return Stated(statement_kind=kind, data=data)

    def refuse(self, turn: Turn, session: Session, refusal: Refusal) -> Refused:
        """Return a signed refusal to the peer of this session."""
        data = self.state(turn, REFUSAL, refusal, session.peer_did, FRESH_TTL_S)
        return Refused(data=data)


def require(session: Session | None) -> Session:
    """Return the session of a frame that was just received.

    Raises:
        MisuseError: frames of a session came after its end.
    """
    if session is None:
        raise MisuseError("a frame of a session that is not open")
    return session
