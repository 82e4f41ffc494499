"""What a provider's statements change in an order's record, and what they do not.

Rule: only the custodian is believed, only about the job that it has, and only in
order; a statement about anything else changes nothing. What has ended for us stays
ended, whatever is said later.
"""

from hashlib import sha256
from typing import Final

from nunet_node.identity.did import parse_did
from nunet_node.identity.statement import Statement
from nunet_node.jobs.statements import (
    HISTORY_MAX,
    Accepted,
    Confirmation,
    Notice,
    Report,
)
from nunet_node.protocol.effects import CancelConfirmed, DeliverInputs, OrderAccepted
from nunet_node.protocol.facts import (
    AwardAccepted,
    CancelKept,
    CustodianKept,
    InputsHanded,
    NoticeKept,
)
from nunet_node.protocol.inputs import CustodianNamed
from nunet_node.protocol.order import Award, Order
from nunet_node.protocol.requester import errands
from nunet_node.protocol.requester.memory import Memory
from nunet_node.protocol.secrets import handing
from nunet_node.protocol.turn import Turn
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import encode_record

CONTRADICTS: Final = "its provider contradicts what it told before"

NOTICES_MAX: Final = 8 * HISTORY_MAX
"""Notices kept of one custody: many times what an honest job has, so that a custodian
cannot fill our journal."""


def accepted(order: Order, heard: Accepted) -> bool:
    """Tell whether this accepts the award that stands."""
    award, spec = order.award, order.spec
    return (
        award is not None
        and spec is not None
        and heard.job == order.job
        and heard.owner == order.owner
        and heard.spec == Cid.of_dag_cbor(encode_record(spec))
        # Attempts that the provider began by itself count as the one it accepted.
        and heard.attempt <= award.attempt
    )


def keep_acceptance(
    memory: Memory,
    turn: Turn,
    order: Order,
    award: Award,
    heard: Statement[Accepted],
) -> None:
    """Record that the provider has custody, and hand over what the job needs."""
    if award.accepted is None:
        kept = AwardAccepted(
            job=order.job,
            attempt=award.attempt,
            accepted=heard.payload,
            data=heard.data,
            at_s=turn.now.unix_s,
        )
        memory.record(turn, kept)
        memory.went_on(order.job)
    memory.calls.pop(order.job, None)
    root = order.spec.inputs if order.spec else None
    if root is None:
        memory.record(turn, InputsHanded(job=order.job, attempt=award.attempt))
    else:
        turn.do(
            DeliverInputs(
                job=order.job, attempt=award.attempt, peer_id=award.peer_id, root=root
            )
        )
    order = turn.ledger.orders[order.job]
    staged = root is None and not order.needs_us
    turn.tell(OrderAccepted(job=order.job, provider=award.provider, staged=staged))
    handing.hand(memory, turn, order)


def confirmed(order: Order, heard: Confirmation) -> bool:
    """Tell whether this confirms that the job has ended."""
    return heard.job == order.job and order.owner in (None, heard.owner)


def keep_confirmation(
    memory: Memory, turn: Turn, order: Order, heard: Statement[Confirmation]
) -> Order:
    """Record the custodian's word that the job has ended."""
    kept = CancelKept(job=order.job, confirmation=heard.payload, data=heard.data)
    turn.tell(
        CancelConfirmed(job=order.job, confirmation=heard.payload, data=heard.data)
    )
    return memory.record(turn, kept)


def custodian(memory: Memory, turn: Turn, given: CustodianNamed) -> None:
    """Record where a link says that a job is kept.

    A link has no authority: it cannot move a job that was placed here.
    """
    order, provider = turn.ledger.orders.get(given.job), parse_did(given.provider)
    award = order.award if order else None
    if order and order.spec and (award is None or award.provider != provider):
        return
    if award and award.provider != provider:
        errands.leave(memory, turn, given.job)
    kept = CustodianKept(
        job=given.job,
        provider=provider,
        peer_id=given.peer_id,
        addresses=given.addresses[:16],
        owner=given.owner,
    )
    memory.record(turn, kept)


def notice(memory: Memory, turn: Turn, heard: Statement[Notice]) -> Order | None:
    """Record a notice if it is the next one; return an order that needs a step.

    A notice out of order says that others were missed: its order needs a step too.
    """
    said, order = heard.payload, _about(turn, heard)
    if order is None:
        return None
    last = order.notice.sequence if order.notice else 0
    if said.sequence == last + 1 and said.previous == order.notice_digest:
        kept = NoticeKept(job=order.job, notice=said, data=heard.data)
        order = memory.record(turn, kept, notice=said)
        memory.went_on(order.job)
        handing.hand(memory, turn, order)
        return order if order.ended else None
    return order if said.sequence > last + 1 else None


def contradicted(turn: Turn, heard: Statement[Notice]) -> Order | None:
    """Return the order of which its custodian says two things, if this notice shows it.

    Each notice names the one before it, so two that follow one notice, or have one
    number, cannot both be of one life of the job: the custodian lies, its home was
    brought back from an older copy, or two nodes run with its key.
    """
    said, order = heard.payload, _about(turn, heard)
    if order is None or order.notice is None or said.attempt < order.notice.attempt:
        return None
    last, digest = order.notice.sequence, order.notice_digest
    other = said.sequence == last and sha256(heard.data).digest() != digest
    forks = said.sequence == last + 1 and said.previous != digest
    return order if (other or forks) and not _cancels(order) else None


def takes_back(order: Order, said: Report) -> bool:
    """Tell whether the custodian reports less than it has told before."""
    known = order.notice
    if order.ended or known is None or _cancels(order):
        return False
    if (said.owner, said.attempt) != (known.owner, known.attempt):
        return said.owner == known.owner and said.attempt < known.attempt
    other = said.sequence == known.sequence and said.state is not known.state
    return other or said.sequence < known.sequence


def _cancels(order: Order) -> bool:
    """Tell whether the answer to a cancel is to come, which says how the job ended."""
    return order.cancel_wanted and order.confirmation is None


def _about(turn: Turn, heard: Statement[Notice]) -> Order | None:
    """Return the open order that a notice of its custodian is about."""
    said = heard.payload
    order = turn.ledger.orders.get(said.job)
    if order is None or order.award is None or heard.issuer != order.award.provider:
        return None
    if order.ended or order.owner not in (None, said.owner):
        return None
    return None if said.sequence > NOTICES_MAX else order
