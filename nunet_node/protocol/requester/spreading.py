"""Taking a delegation back: telling the providers, and hearing that they keep it.

Each provider is told once, and the user hears of each whether the revocation is on
its disk. Whoever cannot be reached now hears it from its neighbours later.
"""

from typing import Any

from nunet_node.identity.did import Did
from nunet_node.identity.statement import Statement
from nunet_node.market.offers import Refusal
from nunet_node.protocol.effects import RevocationAnswered
from nunet_node.protocol.inputs import RevokeWanted, SessionId
from nunet_node.protocol.messages import Revocations, RevocationsKept
from nunet_node.protocol.requester.memory import Memory
from nunet_node.protocol.turn import Turn
from nunet_node.wire.cid import Cid


def begin(memory: Memory, turn: Turn, wanted: RevokeWanted) -> None:
    """Tell every provider, as soon as it can be reached."""
    opened = []
    for provider, peer_id, addresses in wanted.providers:
        session, is_open = memory.reach(turn, peer_id, addresses)
        memory.revokes[provider, wanted.cid] = (session, wanted.data)
        if is_open:
            opened.append(session)
    for session in opened:
        session_opened(memory, turn, session)


def session_opened(memory: Memory, turn: Turn, session: SessionId) -> None:
    """Say what waited for this session."""
    for about, (waiting, data) in memory.revokes.items():
        if waiting != session or not data:
            continue
        frame = memory.sessions.send(turn, session, Revocations(items=(data,)))
        if frame is not None:
            memory.revokes[about] = (session, b"")
            memory.questions[session, frame] = ("revoke", about)


def session_lost(memory: Memory, turn: Turn, session: SessionId, reason: str) -> None:
    """Tell the user who could not be told."""
    lost = [about for about, (s, _) in memory.revokes.items() if s == session]
    for about in lost:
        _end(memory, turn, about, kept=False, reason=reason)


def answered(
    memory: Memory,
    turn: Turn,
    about: tuple[Did, Cid],
    body: Any,
    refusal: Refusal | None,
) -> None:
    """Take a provider's word that it keeps the revocation, or that it does not."""
    provider, cid = about
    if refusal is not None:
        _end(memory, turn, about, kept=False, reason=refusal.reason)
        return
    kept = (
        isinstance(body, Statement)
        and body.issuer == provider
        and isinstance(body.payload, RevocationsKept)
        and cid in body.payload.cids
    )
    reason = "" if kept else "answered something else"
    _end(memory, turn, about, kept=kept, reason=reason)


def _end(
    memory: Memory, turn: Turn, about: tuple[Did, Cid], *, kept: bool, reason: str
) -> None:
    if memory.revokes.pop(about, None) is not None:
        provider, cid = about
        turn.tell(
            RevocationAnswered(cid=cid, provider=provider, kept=kept, reason=reason)
        )
