"""Taking, keeping and passing on revocations.

Rule: a revocation is on disk before it is acknowledged, and works at once: jobs that
lean on the token and have not begun never begin, and what a peer may read under it is
over. Jobs that run go on: their owner can cancel them. Whoever was away is told when
it comes back, because neighbours compare what they keep at every new connection.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from nunet_node.capability.revocation import Revocation
from nunet_node.market.offers import Refusal
from nunet_node.protocol.effects import Publish
from nunet_node.protocol.facts import RevocationKept
from nunet_node.protocol.inputs import RevocationsHeard
from nunet_node.protocol.messages import (
    REVOCATIONS_PER_ANSWER_MAX,
    REVOCATIONS_TOPIC,
    REVOKED,
    Revocations,
    RevocationsKept,
    RevocationsWanted,
)
from nunet_node.protocol.provider import keeping
from nunet_node.protocol.provider.desk import Desk
from nunet_node.protocol.sessions import Session
from nunet_node.protocol.trust.standing import REVOCATIONS_MAX, Standing
from nunet_node.protocol.turn import Turn
from nunet_node.wire.cid import Cid

REVOCATION_BYTES_PER_ANSWER_MAX: Final = 200 << 10
"""Bytes of revocations in one answer, which leaves a frame room for the rest."""


def keep(
    desk: Desk, turn: Turn, heard: Iterable[Revocation], *, spread: bool
) -> tuple[Cid, ...]:
    """Keep revocations; return those that hold here from now on.

    Args:
        desk: the provider's working memory.
        turn: the turn in which it is decided.
        heard: revocations that were verified.
        spread: whether to gossip what is new, because it did not come by gossip.
    """
    if not desk.serves:
        return ()
    held, fresh = [], []
    for each in heard:
        if each.cid in turn.ledger.standing.void:
            held.append(each.cid)
        elif _has_room(turn, each.cid):
            turn.record(_fact(turn, each))
            held.append(each.cid)
            fresh.append(each)
    if fresh:
        desk.end_leaning(turn, [each.cid for each in fresh])
        keeping.schedule(desk, turn)
    if spread:
        # Who hears the others by gossip could not tell them from forged ones.
        heard_alone = [each.data for each in fresh if not each.leans]
        turn.do(*(Publish(topic=REVOCATIONS_TOPIC, data=d) for d in heard_alone))
    return tuple(held)


def heard_from(
    desk: Desk, turn: Turn, session: Session, frame: int, given: RevocationsHeard
) -> Refusal | None:
    """Take revocations that a peer brings; acknowledge them, or return why not."""
    held = keep(desk, turn, given.revocations, spread=True)
    if given.answers:
        if given.more and held:
            after = max(cid.to_bytes() for cid in held)
            wanted = RevocationsWanted(after=after, reply=True)
            desk.sessions.send(turn, session.id, wanted)
        return None
    if not desk.serves:
        return Refusal(code="provider.none", reason="keeps no revocations", never=True)
    if not held:
        return Refusal(
            code="revocation.none-kept", reason="none of them is valid, or none fits"
        )
    kept = RevocationsKept(cids=held)
    answer = desk.voice.answer(turn, REVOKED, kept, session.peer_did)
    desk.sessions.send(turn, session.id, answer, re=frame)
    return None


def tell(
    desk: Desk, turn: Turn, session: Session, frame: int, wanted: RevocationsWanted
) -> None:
    """Tell a neighbour what is void, and ask it in turn if it knows other things."""
    standing = turn.ledger.standing
    if desk.serves and wanted.summary == summary_of(standing):
        desk.sessions.send(turn, session.id, Revocations(), re=frame)
        return
    items: list[bytes] = []
    room, more = REVOCATION_BYTES_PER_ANSWER_MAX, False
    for cid in sorted(standing.void, key=Cid.to_bytes):
        if cid.to_bytes() <= wanted.after:
            continue
        data = standing.void[cid].data
        room -= len(data)
        if room < 0 or len(items) >= REVOCATIONS_PER_ANSWER_MAX:
            more = True
            break
        items.append(data)
    answer = Revocations(items=tuple(items), more=more)
    desk.sessions.send(turn, session.id, answer, re=frame)
    if not wanted.reply:
        ask(desk, turn, session, reply=True)


def ask(desk: Desk, turn: Turn, session: Session, *, reply: bool = False) -> None:
    """Ask a neighbour for the revocations that it keeps and we do not, if we keep."""
    if not desk.serves:
        return
    wanted = RevocationsWanted(summary=summary_of(turn.ledger.standing), reply=reply)
    desk.sessions.send(turn, session.id, wanted)


def summary_of(standing: Standing) -> bytes:
    """Return a digest of everything that is void; equal sets have equal ones."""
    names = sorted(cid.to_bytes() for cid in standing.void)
    return hashlib.sha256(b"".join(names)).digest()


def _has_room(turn: Turn, cid: Cid) -> bool:
    if len(turn.ledger.standing.void) < REVOCATIONS_MAX:
        return True
    if cid in turn.ledger.standing.used:
        return True
    return any(
        proof.cid == cid for job in turn.ledger.active_jobs() for proof in job.proofs
    )


def _fact(turn: Turn, revocation: Revocation) -> RevocationKept:
    return RevocationKept(
        cid=revocation.cid,
        at_s=turn.now.unix_s,
        keep_until_s=revocation.keep_until_s,
        data=revocation.data,
    )
