"""Keeping copies of others' results: taking them, serving them, letting them go.

Whoever asks shows that the result's owner allows it, by a delegation and a fresh
challenge, and brings the custodian's receipt. The same command asks for a new copy
and checks up on an old one: it is answered with whether all of it is here, and gives
leave to read it, which is how it is audited.

Rule: no more is promised than there is room for; nothing is kept beyond the time that
was agreed, nor without one; a copy is served to its owner as a result is.
"""

from typing import Annotated, Final

import msgspec

from nunet_node.capability.command import Command
from nunet_node.capability.errors import CapabilityError
from nunet_node.capability.invocation import Invocation
from nunet_node.capability.proof_chain import CHAIN_LINKS_MAX, Act, check_chain
from nunet_node.errors import PeerError
from nunet_node.identity.did import Did
from nunet_node.identity.statement import Statement, open_statement
from nunet_node.jobs.specification import REPLICAS_MAX, RETENTION_S_MAX, JobId
from nunet_node.jobs.statements import (
    HELD,
    LOG_RECEIPT,
    REASON_CHARS_MAX,
    RECEIPT,
    Attempt,
    Held,
    LogReceipt,
    Receipt,
)
from nunet_node.market.offers import Refusal
from nunet_node.protocol.effects import GrantRead
from nunet_node.protocol.facts import (
    ReplicaDropped,
    ReplicaKept,
    ReplicaStayed,
    ReplicaTaken,
)
from nunet_node.protocol.messages import KEEP, Stated
from nunet_node.protocol.provider.desk import Desk, Keeper
from nunet_node.protocol.replicas.charge import distance
from nunet_node.protocol.replicas.events import (
    DropReplica,
    ExpectReplica,
    ReplicaArrived,
)
from nunet_node.protocol.replicas.record import Replica
from nunet_node.protocol.sessions import Session
from nunet_node.protocol.trust.admission import Mode
from nunet_node.protocol.turn import NS_PER_S, Turn
from nunet_node.quantities import Count
from nunet_node.wire.cid import Cid
from nunet_node.wire.limits import FRAME_BYTES_MAX
from nunet_node.wire.schema import Record, from_plain

REPLICAS_HELD_MAX: Final = 100_000
"""Copies that one node keeps; each is about four kilobytes of memory."""

OWNER_SHARE: Final = 4
"""One owner gets at most this part of the room, so that none can take all of it."""

HANDING_S_MIN: Final = 120
"""Time for a copy of any size to be handed over: a few reconnects of a poor link."""

HANDING_BYTES_PER_S: Final = 64 << 10
"""Slowest hand-over waited for: half a megabit a second."""

KEEPER_S: Final = 2 * 3600
"""Silence after which who looked after a copy counts as gone, and gives way to whoever
does: an audit that did not come, and one that is late."""

PLACES_MAX: Final = 2 * REPLICAS_MAX
"""Latest place in the succession of holders: some are avoided, and have one too."""

RECEIPT_BYTES_MAX: Final = 8192
"""Longest receipt that is kept with a copy; usual ones have one kilobyte."""


class KeepArgs(Record):
    """The arguments of a request to keep a copy."""

    job: JobId
    attempt: Attempt
    root: Cid
    size_bytes: Count
    until_s: Count
    receipt: Annotated[bytes, msgspec.Meta(max_length=RECEIPT_BYTES_MAX)]
    challenge: bytes
    logs: bool = False
    """It is a copy of logs that no result has, and the receipt a log receipt."""
    mandate: Annotated[tuple[Cid, ...], msgspec.Meta(max_length=CHAIN_LINKS_MAX)] = ()
    """The delegations by which the holder may have it kept elsewhere, if need be."""
    copies: Annotated[int, msgspec.Meta(ge=0, le=REPLICAS_MAX)] = 0
    """How many copies there are to be."""
    place: Annotated[int, msgspec.Meta(ge=0, le=PLACES_MAX)] = 0
    """How many others look after the copies before the holder does."""


def keep(
    desk: Desk, turn: Turn, session: Session, frame: int, given: Invocation
) -> Refusal | None:
    """Agree to keep a copy, say whether it is here, or return why not."""
    try:
        args = from_plain(KeepArgs, given.args)
        said = _receipt(args.receipt, logs=args.logs)
    except PeerError as error:
        reason = str(error)[:REASON_CHARS_MAX]
        return Refusal(code=error.code, reason=reason, never=True)
    owner, known = given.subject, turn.ledger.replicas.get((given.subject, args.job))
    refusal = _why_not_this(given, args, said, known)
    same = known is not None and known.root == args.root
    newer = known is None or not same or _is_newer(said, known)
    mandate = _mandate(desk, turn, given, args)
    if known is not None:
        newer |= known.until_s < args.until_s or bool(mandate and not known.mandate)
    if refusal is None and newer:
        refusal = _why_not_so_long(turn, args)
    if refusal is None and not same:
        refusal = _why_no_room(desk, turn, owner, args)
    if refusal is not None:
        return refusal
    if newer:
        turn.record(_taken(turn, said, args, mandate))
    _note(desk, turn, given, said.issuer, args.job)
    _answer(desk, turn, session, frame, turn.ledger.replicas[owner, args.job])
    return None


def arrived(turn: Turn, given: ReplicaArrived) -> None:
    """All of a copy is on disk."""
    replica = turn.ledger.replicas.get((given.owner, given.job))
    if replica is None:
        # Its time came to an end while it was handed over.
        turn.do(DropReplica(job=given.job, owner=given.owner))
    elif replica.root == given.root and not replica.kept:
        turn.record(ReplicaKept(job=given.job, owner=given.owner))


def read(
    desk: Desk, turn: Turn, session: Session, frame: int, replica: Replica
) -> None:
    """Give the owner leave to read a copy that is here, and show its receipt."""
    turn.do(
        GrantRead(peer_id=session.peer_id, job=replica.job, root=replica.root),
    )
    kind = LOG_RECEIPT if replica.logs else RECEIPT
    stated = Stated(statement_kind=kind, data=replica.receipt)
    desk.sessions.send(turn, session.id, stated, re=frame)


def drop(turn: Turn, replica: Replica, reason: str) -> None:
    """Keep a copy no longer."""
    turn.record(
        ReplicaDropped(
            job=replica.job,
            owner=replica.owner,
            reason=reason,
            at_s=turn.now.unix_s,
        )
    )
    turn.do(DropReplica(job=replica.job, owner=replica.owner))


def let_go(turn: Turn) -> int | None:
    """Drop the copies whose time is over; return when the next one's is, unix time."""
    now_s = turn.now.unix_s
    for replica in list(turn.ledger.replicas.values()):
        if replica.until_s <= now_s:
            drop(turn, replica, "it was kept for as long as was agreed")
        elif _due_s(replica) <= now_s and replica.former is not None:
            turn.record(ReplicaStayed(job=replica.job, owner=replica.owner))
        elif _due_s(replica) <= now_s:
            drop(turn, replica, "it was not handed over")
    return min(map(_due_s, turn.ledger.replicas.values()), default=None)


def _due_s(replica: Replica) -> int:
    if replica.kept:
        return replica.until_s
    handing_s = HANDING_S_MIN + replica.size_bytes // HANDING_BYTES_PER_S
    return min(replica.until_s, replica.taken_s + handing_s)


def _receipt(data: bytes, *, logs: bool) -> Statement[Receipt | LogReceipt]:
    return open_statement(
        data,
        kind=LOG_RECEIPT if logs else RECEIPT,
        payload_type=LogReceipt if logs else Receipt,
        now_s=0,
        audience=None,
        check_time=False,
        bytes_max=FRAME_BYTES_MAX,
    )


def _why_not_this(
    given: Invocation,
    args: KeepArgs,
    said: Statement[Receipt | LogReceipt],
    known: Replica | None,
) -> Refusal | None:
    receipt = said.payload
    root = receipt.root if isinstance(receipt, LogReceipt) else receipt.result
    about = (receipt.owner, receipt.job, root, receipt.attempt)
    custodians = {link.audience for link in given.proofs}
    if about != (given.subject, args.job, args.root, args.attempt):
        reason = "the receipt is about another result"
        return Refusal(code="replica.receipt", reason=reason, never=True)
    if said.issuer not in custodians:
        reason = "the receipt's provider has not been allowed to have it kept"
        return Refusal(code="replica.receipt", reason=reason, never=True)
    if known is not None and known.root != args.root and not _is_newer(said, known):
        what = "are logs" if known.logs else "is the result"
        reason = f"there {what} of attempt {known.attempt} kept already, no older"
        return Refusal(code="replica.attempt-past", reason=reason, never=True)
    return None


def _is_newer(said: Statement[Receipt | LogReceipt], known: Replica) -> bool:
    """Tell whether what is offered may take the place of a copy."""
    before = _receipt(known.receipt, logs=known.logs).payload
    return _age(before) < _age(said.payload)


def _age(receipt: Receipt | LogReceipt) -> tuple[int, bool, int, bool]:
    # A result has the logs of its attempt, too, and comes last.
    if isinstance(receipt, LogReceipt):
        return (receipt.attempt, False, receipt.links, receipt.ended)
    return (receipt.attempt, True, 0, True)


def _why_not_so_long(turn: Turn, args: KeepArgs) -> Refusal | None:
    ahead_s = args.until_s - turn.now.unix_s
    if 0 < ahead_s <= RETENTION_S_MAX:
        return None
    reason = f"a copy is kept for 1 to {RETENTION_S_MAX} s, not for {ahead_s}"
    return Refusal(code="store.time", reason=reason, never=True)


def _why_no_room(desk: Desk, turn: Turn, owner: Did, args: KeepArgs) -> Refusal | None:
    if not desk.store_bytes:
        return Refusal(code="store.none", reason="keeps no copies", never=True)
    admission = desk.admission
    listed = owner in admission.allow or owner in admission.anchors
    if admission.mode is not Mode.OPEN and not listed:
        reason = "keeps copies for the owners that it lists alone"
        return Refusal(code="admission.not-listed", reason=reason, never=True)
    if desk.draining:
        return Refusal(code="provider.draining", reason="is shutting down")
    held = turn.ledger.replicas.values()
    mine = sum(each.room_bytes for each in held if each.owner == owner)
    room = desk.store_free_bytes(turn)
    if mine + args.size_bytes > desk.store_bytes // OWNER_SHARE:
        reason = f"one owner gets at most a {OWNER_SHARE}th of the room for copies"
        return Refusal(code="store.owner-full", reason=reason)
    if desk.full or args.size_bytes > room or len(held) >= REPLICAS_HELD_MAX:
        reason = f"{args.size_bytes} bytes wanted, {room} free for copies"
        return Refusal(code="store.full", reason=reason)
    return None


def _mandate(
    desk: Desk, turn: Turn, given: Invocation, args: KeepArgs
) -> tuple[bytes, ...]:
    """Return what allows us to have the copy kept elsewhere, if it holds."""
    act = Act(
        invoker=desk.voice.did,
        subject=given.subject,
        command=Command(KEEP),
        args={"job": args.job, "copies": args.copies},
    )
    try:
        void = turn.ledger.standing.void.keys()
        check_chain(given.handed, act, now_s=turn.now.unix_s, revoked=void)
    except CapabilityError:
        return ()
    return tuple(link.data for link in given.handed)


def _note(
    desk: Desk, turn: Turn, given: Invocation, custodian: Did, job: JobId
) -> None:
    """Note who looks after a copy; of two who do, the one that comes later stops."""
    key, asker = (given.subject, job), given.issuer
    known = desk.keepers.get(key)
    if known is None or turn.now.elapsed_ns - known.asked_ns > KEEPER_S * NS_PER_S:
        known = None
    of_two = (known.did if known else asker, desk.voice.did)[key in desk.acting]
    if asker in (custodian, of_two) or distance(job, asker) < distance(job, of_two):
        desk.keepers[key] = Keeper(did=asker, asked_ns=turn.now.elapsed_ns)
        desk.acting.discard(key)


def _taken(
    turn: Turn,
    said: Statement[Receipt | LogReceipt],
    args: KeepArgs,
    mandate: tuple[bytes, ...],
) -> ReplicaTaken:
    return ReplicaTaken(
        job=args.job,
        owner=said.payload.owner,
        custodian=said.issuer,
        attempt=args.attempt,
        root=args.root,
        size_bytes=args.size_bytes,
        until_s=args.until_s,
        at_s=turn.now.unix_s,
        receipt=args.receipt,
        logs=args.logs,
        mandate=mandate,
        copies=args.copies,
        place=args.place,
    )


def _answer(
    desk: Desk, turn: Turn, session: Session, frame: int, replica: Replica
) -> None:
    peer_id = session.peer_id
    if replica.kept:
        turn.do(GrantRead(peer_id=peer_id, job=replica.job, root=replica.root))
    else:
        turn.do(
            ExpectReplica(
                job=replica.job,
                owner=replica.owner,
                peer_id=peer_id,
                root=replica.root,
                bytes_max=replica.size_bytes,
            )
        )
    keeper = desk.keepers.get(replica.key)
    held = Held(
        job=replica.job,
        owner=replica.owner,
        root=replica.root,
        until_s=replica.until_s,
        here=replica.kept,
        keeper=keeper.did if keeper is not None else None,
    )
    answer = desk.voice.answer(turn, HELD, held, session.peer_did)
    desk.sessions.send(turn, session.id, answer, re=frame)
