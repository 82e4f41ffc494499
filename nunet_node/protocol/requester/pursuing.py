"""Driving an order to its end: what to do next follows from its record alone.

`pursue` looks at the durable record and takes the one step that is due; so an
order goes on the same way after a broken connection, after a crash, or in
another process of the same home. Rules kept here: at most one provider is
awarded at a time; another attempt is made only where the owner allowed it; only
the custodian's own, consecutive notices change what is believed of a job.
"""

from collections.abc import Mapping
from typing import Final

from nunet_node.identity.statement import Statement
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import RetryCause
from nunet_node.jobs.statements import Accepted, Confirmation, Notice
from nunet_node.market.offers import Refusal
from nunet_node.protocol.effects import (
    CancelConfirmed,
    CommandRefused,
    DeliverInputs,
    OrderAccepted,
    ProviderUnreachable,
    SetTimer,
)
from nunet_node.protocol.facts import (
    AwardAccepted,
    AwardDropped,
    AwardIntended,
    BidKept,
    CancelKept,
    InputsHanded,
    NoticeKept,
    OrderEnded,
)
from nunet_node.protocol.inputs import InputsDelivered, InputsNotDelivered
from nunet_node.protocol.messages import CANCEL, SUBMIT, WATCH, AdvertsWanted
from nunet_node.protocol.order import Order
from nunet_node.protocol.requester import calling, errands
from nunet_node.protocol.requester.memory import (
    BACKOFF_S,
    LOST_AFTER_S,
    Call,
    Memory,
    Outcome,
    Pursuit,
    Step,
)
from nunet_node.protocol.sessions import Voice
from nunet_node.protocol.turn import NS_PER_S, Turn
from nunet_node.wire.schema import to_plain

AGAIN_TIMER: Final = "again"


def pursue(memory: Memory, turn: Turn, voice: Voice, order: Order) -> None:
    """Take the next step of an order that this process drives."""
    pursuit = memory.pursuits.get(order.job)
    if pursuit is None:
        return
    award = order.award
    if order.cancel_wanted and order.confirmation is None:
        _pursue_cancel(memory, turn, order)
    elif order.ended:
        memory.pursuits.pop(order.job, None)
    elif award is None or award.dropped is not None:
        calling.start(memory, turn, voice, order)
    elif order.spec is not None and (award.accepted is None or not award.inputs_handed):
        _submit(memory, turn, order)
    else:
        after = order.notice.sequence if order.notice else 0
        args = {"after": after} if after else {}
        _errand_once(memory, turn, order, WATCH, args)


def award_next(memory: Memory, turn: Turn, voice: Voice, call: Call) -> None:
    """Award the job to the best bid that is left."""
    order = turn.ledger.orders[call.job]
    best = calling.next_best(turn, call)
    heard = best and memory.adverts.of_provider(best[0], turn.now.unix_s)
    if order.ended or call.job not in memory.pursuits:
        memory.calls.pop(call.job, None)
    elif best is None:
        calling.none_left(memory, turn, order, call)
    elif not heard:
        award_next(memory, turn, voice, call)
    else:
        intended = AwardIntended(
            job=order.job,
            attempt=_attempt_after(order),
            provider=best[0],
            peer_id=heard.payload.peer_id,
            addresses=heard.payload.addresses,
            at_s=turn.now.unix_s,
        )
        pursue(memory, turn, voice, memory.record(turn, intended))


def ended(memory: Memory, turn: Turn, voice: Voice, outcome: Outcome) -> None:
    """Take the end of an errand that pursues an order."""
    order = turn.ledger.orders[outcome.errand.job]
    if outcome.unreachable:
        unreachable(memory, turn, voice, order, outcome)
        return
    pursuit = memory.pursuits.get(order.job)
    if pursuit is not None:
        pursuit.tries, pursuit.silent_since_ns = 0, None
    if outcome.refusal is not None:
        _refused(memory, turn, voice, order, outcome, outcome.refusal)
    elif isinstance(outcome.answer.payload, Accepted):
        _accepted(memory, turn, order, outcome.answer)
    elif isinstance(outcome.answer.payload, Confirmation):
        _confirmed(memory, turn, order, outcome.answer)


def heard_notice(
    memory: Memory, turn: Turn, voice: Voice, heard: Statement[Notice]
) -> None:
    """Believe a notice if it is the custodian's, and the next one."""
    notice = heard.payload
    order = turn.ledger.orders.get(notice.job)
    if order is None or order.award is None or heard.issuer != order.award.provider:
        return
    if order.owner is not None and notice.owner != order.owner:
        return
    last = order.notice.sequence if order.notice else 0
    if notice.sequence == last + 1 and notice.previous == order.notice_digest:
        kept = NoticeKept(job=order.job, notice=notice, data=heard.data)
        order = memory.record(turn, kept, notice=notice)
        if order.ended:
            pursue(memory, turn, voice, order)
    elif notice.sequence > last + 1:
        pursue(memory, turn, voice, order)


def delivered(
    memory: Memory,
    turn: Turn,
    voice: Voice,
    given: InputsDelivered | InputsNotDelivered,
) -> None:
    """The inputs are with the provider, or they are not yet."""
    order = turn.ledger.orders.get(given.job)
    if order is None or order.award is None or order.attempt != given.attempt:
        return
    if isinstance(given, InputsDelivered):
        handed = InputsHanded(job=order.job, attempt=given.attempt)
        memory.record(turn, handed)
        turn.tell(
            OrderAccepted(job=order.job, provider=order.award.provider, staged=True)
        )
    else:
        _later(memory, turn, voice, order, given.reason)


def connection_lost(memory: Memory, turn: Turn, voice: Voice, peer_id: str) -> None:
    """Plan to reach the custodian of every order that it carried."""
    for pursuit in list(memory.pursuits.values()):
        order = turn.ledger.orders[pursuit.job]
        award = order.award
        if award and award.peer_id == peer_id and order.in_custody:
            _later(memory, turn, voice, order, "the connection was lost")


def unreachable(
    memory: Memory, turn: Turn, voice: Voice, order: Order, outcome: Outcome
) -> None:
    """Go elsewhere if nothing was said yet; else go on trying, within reason."""
    if outcome.errand.command == SUBMIT and outcome.errand.step is not Step.COMMANDED:
        award = order.award
        if award is not None and award.accepted is None:
            why = Refusal(code="peer.unreachable", reason=outcome.unreachable)
            _drop(memory, turn, voice, order, why)
            return
    _later(memory, turn, voice, order, outcome.unreachable)


def _attempt_after(order: Order) -> int:
    if order.award is None:
        return 1
    if order.award.accepted is None:
        return order.award.attempt
    told = order.notice.attempt if order.notice else 0
    return max(order.award.attempt, told) + 1


def _submit(memory: Memory, turn: Turn, order: Order) -> None:
    args = {
        "attempt": order.attempt,
        "salt": order.salt,
        "spec": to_plain(order.spec),
    }
    _errand_once(memory, turn, order, SUBMIT, args)


def _pursue_cancel(memory: Memory, turn: Turn, order: Order) -> None:
    award = order.award
    if award is None or (award.dropped is not None and award.accepted is None):
        reason = "cancelled before any provider had it"
        memory.calls.pop(order.job, None)
        memory.pursuits.pop(order.job, None)
        if not order.ended:
            memory.record(
                turn,
                OrderEnded(
                    job=order.job,
                    state=State.CANCELLED,
                    reason=reason,
                    at_s=turn.now.unix_s,
                ),
            )
    else:
        _errand_once(memory, turn, order, CANCEL, {})


def _errand_once(
    memory: Memory, turn: Turn, order: Order, command: str, args: Mapping[str, object]
) -> None:
    if not errands.under_way(memory, order, command):
        errands.begin(memory, turn, order, command, args)


def _accepted(
    memory: Memory, turn: Turn, order: Order, heard: Statement[Accepted]
) -> None:
    accepted, award = heard.payload, order.award
    if award is None or accepted.job != order.job or accepted.owner != order.owner:
        return
    if award.accepted is None:
        kept = AwardAccepted(
            job=order.job,
            attempt=award.attempt,
            accepted=accepted,
            data=heard.data,
            at_s=turn.now.unix_s,
        )
        order = memory.record(turn, kept)
    root = order.spec.inputs if order.spec else None
    if root is None:
        memory.record(turn, InputsHanded(job=order.job, attempt=award.attempt))
    else:
        turn.do(
            DeliverInputs(
                job=order.job, attempt=award.attempt, peer_id=award.peer_id, root=root
            )
        )
    turn.tell(
        OrderAccepted(job=order.job, provider=award.provider, staged=root is None)
    )


def _confirmed(
    memory: Memory, turn: Turn, order: Order, heard: Statement[Confirmation]
) -> None:
    confirmation = heard.payload
    if confirmation.job != order.job:
        return
    kept = CancelKept(job=order.job, confirmation=confirmation, data=heard.data)
    memory.record(turn, kept)
    turn.tell(
        CancelConfirmed(job=order.job, confirmation=confirmation, data=heard.data)
    )


def _refused(
    memory: Memory,
    turn: Turn,
    voice: Voice,
    order: Order,
    outcome: Outcome,
    refusal: Refusal,
) -> None:
    errand = outcome.errand
    award = order.award
    told = CommandRefused(
        job=order.job,
        command=errand.command,
        provider=errand.provider,
        refusal=refusal,
    )
    turn.tell(told)
    if errand.command == SUBMIT and award is not None and award.accepted is None:
        _drop(memory, turn, voice, order, refusal)
    elif errand.command == CANCEL:
        memory.pursuits.pop(order.job, None)
    elif refusal.code == "job.unknown" and not order.ended:
        reason = "its provider no longer knows it"
        _lost(memory, turn, voice, order, reason)


def _drop(
    memory: Memory, turn: Turn, voice: Voice, order: Order, refusal: Refusal
) -> None:
    """The provider did not take it: on to the next bid."""
    award = order.award
    if award is None:
        return
    now_s = turn.now.unix_s
    order = memory.record(
        turn,
        BidKept(job=order.job, provider=award.provider, refused=refusal.reason),
        AwardDropped(
            job=order.job,
            attempt=award.attempt,
            reason=refusal.reason[:500],
            at_s=now_s,
        ),
    )
    call = memory.calls.get(order.job)
    if call is None:
        pursue(memory, turn, voice, order)
    else:
        call.refusals.append((award.provider, refusal))
        award_next(memory, turn, voice, call)


def _later(memory: Memory, turn: Turn, voice: Voice, order: Order, reason: str) -> None:
    """Try to reach the custodian again after a pause; notice if it is lost."""
    pursuit, award = memory.pursuits.get(order.job), order.award
    if pursuit is None or award is None:
        return
    now_ns = turn.now.elapsed_ns
    if pursuit.silent_since_ns is None:
        pursuit.silent_since_ns = now_ns
    lost = now_ns - pursuit.silent_since_ns >= LOST_AFTER_S * NS_PER_S
    told = ProviderUnreachable(
        job=order.job, provider=award.provider, reason=reason, lost=lost
    )
    turn.tell(told)
    if lost and _may_retry(order):
        _retry_elsewhere(memory, turn, voice, order, pursuit, reason)
        return
    if award.accepted and turn.now.unix_s > award.accepted.lease_until_s:
        _lost(memory, turn, voice, order, "its lease ended in silence")
        return
    pause_s = BACKOFF_S[min(pursuit.tries, len(BACKOFF_S) - 1)]
    pursuit.tries += 1
    turn.do(SetTimer(name=f"{AGAIN_TIMER}:{order.job}", at_ns=turn.after_s(pause_s)))
    for session in memory.sessions.ours():
        memory.sessions.send(turn, session.id, AdvertsWanted())


def _may_retry(order: Order) -> bool:
    if order.spec is None or order.cancel_wanted:
        return False
    retry = order.spec.retry
    return RetryCause.LOST in retry.on and order.attempt < retry.attempts


def _lost(memory: Memory, turn: Turn, voice: Voice, order: Order, reason: str) -> None:
    pursuit = memory.pursuits.get(order.job)
    if pursuit is not None and _may_retry(order):
        _retry_elsewhere(memory, turn, voice, order, pursuit, reason)
        return
    lost = OrderEnded(
        job=order.job, state=State.LOST, reason=reason, at_s=turn.now.unix_s
    )
    memory.pursuits.pop(order.job, None)
    memory.record(turn, lost)


def _retry_elsewhere(
    memory: Memory,
    turn: Turn,
    voice: Voice,
    order: Order,
    pursuit: Pursuit,
    reason: str,
) -> None:
    award = order.award
    if award is None:
        return
    pursuit.avoid.add(award.provider)
    pursuit.tries, pursuit.silent_since_ns = 0, None
    pursuit.discovery_ends_ns = None
    memory.calls.pop(order.job, None)
    dropped = AwardDropped(
        job=order.job,
        attempt=award.attempt,
        reason=f"lost: {reason}"[:500],
        at_s=turn.now.unix_s,
    )
    pursue(memory, turn, voice, memory.record(turn, dropped))
