"""Bringing a revocation to the providers, and asking them for one.

Each provider is told once, and the user hears of each whether the revocation is on
its disk. Whoever cannot be reached now hears it from its neighbours later. Asked, a
provider shows the revocation itself, which needs no trust in whoever shows it; that
it shows none proves nothing.
"""

from typing import Any, Final

from nunet_node.identity.statement import Statement
from nunet_node.market.offers import Refusal
from nunet_node.protocol.inputs import (
    FrameReceived,
    FrameRejected,
    RevocationsHeard,
    SessionId,
)
from nunet_node.protocol.messages import (
    Revocations,
    RevocationsKept,
    RevocationsWanted,
)
from nunet_node.protocol.requester.memory import Memory, Word
from nunet_node.protocol.trust.events import (
    RevocationAnswered,
    RevokeWanted,
    StandingTold,
    StandingWanted,
)
from nunet_node.protocol.turn import Turn

_STRANGE: Final = "answered something else"


def begin(memory: Memory, turn: Turn, wanted: RevokeWanted | StandingWanted) -> None:
    """Speak with every provider, as soon as it can be reached."""
    opened = []
    asks = isinstance(wanted, StandingWanted)
    body = _said(wanted)
    for provider, peer_id, addresses in wanted.providers:
        session, is_open = memory.reach(turn, peer_id, addresses)
        word = Word(provider=provider, cid=wanted.cid, asks=asks)
        memory.words[word] = (session, body)
        if is_open:
            opened.append(session)
    for session in opened:
        session_opened(memory, turn, session)


def session_opened(memory: Memory, turn: Turn, session: SessionId) -> None:
    """Say what waited for this session."""
    for word, (waiting, body) in memory.words.items():
        if waiting != session or body is None:
            continue
        frame = memory.sessions.send(turn, session, body)
        if frame is not None:
            memory.words[word] = (session, None)
            memory.questions[session, frame] = ("revoke", word)


def session_lost(memory: Memory, turn: Turn, session: SessionId, reason: str) -> None:
    """Tell the user who could not be spoken with."""
    lost = [word for word, (s, _) in memory.words.items() if s == session]
    for word in lost:
        _end(memory, turn, word, reason=reason)


def answered(
    memory: Memory,
    turn: Turn,
    word: Word,
    given: FrameReceived | FrameRejected,
    refusal: Refusal | None,
) -> None:
    """Take a provider's word that it keeps a revocation, or what it knows of one."""
    body = given.body if isinstance(given, FrameReceived) else None
    if word.asks and isinstance(body, RevocationsHeard):
        shown = [each.data for each in body.revocations if each.cid == word.cid]
        _end(memory, turn, word, shown=shown[0] if shown else b"")
    elif refusal is not None:
        _end(memory, turn, word, reason=refusal.reason)
    elif not word.asks and _keeps(word, body):
        _end(memory, turn, word)
    else:
        _end(memory, turn, word, reason=_STRANGE)


def _said(wanted: RevokeWanted | StandingWanted) -> Revocations | RevocationsWanted:
    """Return what to say; a question is one whose answer begins with this token's.

    Answers are in the order of ids, so what comes after the id before this one begins
    with it, if there is such a revocation.
    """
    if isinstance(wanted, RevokeWanted):
        return Revocations(items=(wanted.data,))
    name = wanted.cid.to_bytes()
    before = (int.from_bytes(name, "big") - 1).to_bytes(len(name), "big")
    return RevocationsWanted(after=before, reply=True)


def _keeps(word: Word, body: Any) -> bool:
    return (
        isinstance(body, Statement)
        and body.issuer == word.provider
        and isinstance(body.payload, RevocationsKept)
        and word.cid in body.payload.cids
    )


def _end(
    memory: Memory, turn: Turn, word: Word, *, reason: str = "", shown: bytes = b""
) -> None:
    if memory.words.pop(word, None) is None:
        return
    cid, provider = word.cid, word.provider
    if word.asks:
        turn.tell(
            StandingTold(
                cid=cid, provider=provider, revocation=shown, unanswered=reason
            )
        )
        return
    turn.tell(
        RevocationAnswered(cid=cid, provider=provider, kept=not reason, reason=reason)
    )
