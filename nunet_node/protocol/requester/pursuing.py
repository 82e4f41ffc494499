"""Driving an order to its end: what to do next follows from its record alone.

`pursue` looks at the durable record and takes the one step that is due; so an
order goes on the same way after a broken connection, after a crash, or in
another process of the same home. Rules kept here: at most one provider is
awarded at a time; another attempt is made only where the owner allowed it; only
the custodian's own, consecutive notices change what is believed of a job.
"""

from collections.abc import Collection, Mapping
from typing import Final

from nunet_node.identity.statement import Statement
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import Accepted, Confirmation, Notice, Report
from nunet_node.market.offers import Refusal
from nunet_node.protocol.effects import (
    CommandRefused,
    OrderAccepted,
    ProviderUnreachable,
    SetTimer,
)
from nunet_node.protocol.facts import (
    AwardDropped,
    AwardIntended,
    BidKept,
    InputsHanded,
)
from nunet_node.protocol.inputs import InputsDelivered, InputsNotDelivered
from nunet_node.protocol.messages import CANCEL, SUBMIT, WATCH, AdvertsWanted
from nunet_node.protocol.order import Order
from nunet_node.protocol.requester import believing, calling, errands, judging
from nunet_node.protocol.requester.memory import (
    BACKOFF_S,
    LOST_AFTER_S,
    Call,
    Memory,
    Outcome,
    Pursuit,
    Step,
)
from nunet_node.protocol.secrets import handing
from nunet_node.protocol.sessions import Voice
from nunet_node.protocol.turn import NS_PER_S, Turn

AGAIN_TIMER: Final = "again"

SIGN_AGAIN_S: Final = 60
"""Pause before a person who did not sign is asked again: time to fetch the key, and
few enough questions to bear."""

BEFORE_ANY: Final = "cancelled before any provider had it"


def pursue(memory: Memory, turn: Turn, voice: Voice, order: Order) -> None:
    """Take the next step of an order that this process drives."""
    pursuit = memory.pursuits.get(order.job)
    if pursuit is None or memory.full:
        return
    award = order.award
    if order.cancel_wanted and order.confirmation is None:
        _pursue_cancel(memory, turn, order)
    elif order.ended:
        memory.let_go(order.job)
    elif award is None or order.unplaced:
        calling.start(memory, turn, voice, order)
    elif order.spec is not None and (award.accepted is None or not award.inputs_handed):
        _submit(memory, turn, order)
    else:
        handing.hand(memory, turn, order)
        after = order.notice.sequence if order.notice else 0
        args = {"after": after} if after else {}
        _errand_once(memory, turn, order, WATCH, args)


def award_next(memory: Memory, turn: Turn, voice: Voice, call: Call) -> None:
    """Award the job to the best bid that is left."""
    order = turn.ledger.orders[call.job]
    best = calling.next_best(turn, call)
    heard = best and memory.adverts.of_provider(best[0], turn.now.unix_s)
    if order.ended or order.cancel_wanted or call.job not in memory.pursuits:
        memory.calls.pop(call.job, None)
        pursue(memory, turn, voice, order)
    elif best is None:
        calling.none_left(memory, turn, order, call)
    elif not heard:
        award_next(memory, turn, voice, call)
    else:
        intended = AwardIntended(
            job=order.job,
            attempt=judging.attempt_after(order),
            provider=best[0],
            peer_id=heard.payload.peer_id,
            addresses=heard.payload.addresses,
            at_s=turn.now.unix_s,
        )
        memory.pursuits[order.job].unheard = False
        pursue(memory, turn, voice, memory.record(turn, intended))


def ended(memory: Memory, turn: Turn, voice: Voice, outcome: Outcome) -> None:
    """Take the end of an errand that pursues an order."""
    order = turn.ledger.orders[outcome.errand.job]
    if outcome.unreachable:
        unreachable(memory, turn, voice, order, outcome)
        return
    if outcome.unsigned:
        _unsigned(memory, turn, voice, order, outcome)
        return
    refusal = outcome.refusal
    if refusal is None and not _answered(memory, turn, voice, order, outcome):
        refusal = Refusal(code="peer.wrong-answer", reason="answered something else")
    if refusal is not None:
        _refused(memory, turn, voice, order, outcome, refusal)
        return
    pursuit = memory.pursuits.get(order.job)
    if pursuit is not None:
        pursuit.silent_since_ns = None


def _answered(
    memory: Memory, turn: Turn, voice: Voice, order: Order, outcome: Outcome
) -> bool:
    """Take a provider's answer to a command; tell whether it is one."""
    said, command, award = outcome.answer.payload, outcome.errand.command, order.award
    match said:
        case Accepted() if command == SUBMIT and award is not None:
            if not believing.accepted(order, said):
                return False
            given = outcome.errand.args.get("secrets")
            if given is None:
                believing.keep_acceptance(memory, turn, order, award, outcome.answer)
            else:
                handing.handed(memory, turn, order, given["attempt"])
        case Confirmation() if command == CANCEL:
            if not believing.confirmed(order, said):
                return False
            order = believing.keep_confirmation(memory, turn, order, outcome.answer)
            pursue(memory, turn, voice, order)
        case Report() if command == WATCH and said.job == order.job:
            handing.reported(memory, turn, order, said)
            if believing.takes_back(order, said):
                _disowned(memory, turn, voice, order, believing.CONTRADICTS)
        case _:
            return False
    return True


def heard_notice(
    memory: Memory, turn: Turn, voice: Voice, heard: Statement[Notice]
) -> None:
    """Believe a notice if it is the custodian's, and the next one."""
    order = believing.notice(memory, turn, heard)
    denied = believing.contradicted(turn, heard) if order is None else None
    if denied is not None:
        _doubted(memory, turn, voice, denied)
    elif order is not None:
        pursue(memory, turn, voice, order)


def _doubted(memory: Memory, turn: Turn, voice: Voice, order: Order) -> None:
    """Ask a custodian that contradicts itself; if it stands by it, the job is lost."""
    pursuit = memory.pursuits.get(order.job)
    if pursuit is not None:
        pursuit.doubts += 1
        if pursuit.doubts > 1:
            _disowned(memory, turn, voice, order, believing.CONTRADICTS)
        else:
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
        provider, order = order.award.provider, memory.record(turn, handed)
        memory.went_on(order.job)
        if not order.needs_us:
            turn.tell(OrderAccepted(job=order.job, provider=provider, staged=True))
    else:
        _later(memory, turn, voice, order, given.reason)


def connection_lost(
    memory: Memory,
    turn: Turn,
    voice: Voice,
    peer_id: str,
    told: Collection[JobId],
    reason: str,
) -> None:
    """Plan to reach the custodian of every order that it carried, but of those told."""
    for job in [name for name in memory.pursuits if name not in told]:
        order = turn.ledger.orders.get(job)
        award = order.award if order else None
        if order is None or award is None or award.peer_id != peer_id:
            continue
        if order.in_custody or order.spec is None:
            _later(memory, turn, voice, order, reason)


def unreachable(
    memory: Memory, turn: Turn, voice: Voice, order: Order, outcome: Outcome
) -> None:
    """Go elsewhere if nothing was said yet; else go on trying, within reason."""
    if outcome.errand.step is Step.COMMANDED and order.job in memory.pursuits:
        memory.pursuits[order.job].unheard = True
    if outcome.errand.command == SUBMIT and not judging.may_have_it(memory, order):
        why = Refusal(code="peer.unreachable", reason=outcome.unreachable)
        _drop(memory, turn, voice, order, why)
    else:
        _later(memory, turn, voice, order, outcome.unreachable)


def _submit(memory: Memory, turn: Turn, order: Order) -> None:
    _errand_once(memory, turn, order, SUBMIT, handing.submit_args(order))


def _pursue_cancel(memory: Memory, turn: Turn, order: Order) -> None:
    award = order.award
    errands.withdraw(memory, turn, order, WATCH)
    held = award is None or award.accepted is not None
    if not held and errands.withdraw(memory, turn, order, SUBMIT):
        held = judging.may_have_it(memory, order)
        if not held:
            judging.finish(memory, turn, order, State.CANCELLED, BEFORE_ANY)
            return
    never = award is not None and award.dropped is not None and not award.lost
    if award is None or (never and award.accepted is None):
        judging.finish(memory, turn, order, State.CANCELLED, BEFORE_ANY)
    else:
        _errand_once(memory, turn, order, CANCEL, {})


def _errand_once(
    memory: Memory, turn: Turn, order: Order, command: str, args: Mapping[str, object]
) -> None:
    if not errands.under_way(memory, order, command):
        errands.begin(memory, turn, order, command, args)


def _unsigned(
    memory: Memory, turn: Turn, voice: Voice, order: Order, outcome: Outcome
) -> None:
    """Give up what no provider has yet; else ask for a signature again, in a while.

    The provider is not silent meanwhile, so the order is not taken to another.
    """
    turn.tell(judging.not_signed(outcome))
    award, pursued = order.award, order.job in memory.pursuits
    if award is None or not pursued:
        return
    if outcome.errand.command == SUBMIT and not judging.may_have_it(memory, order):
        reason = f"nobody signed for it: {outcome.unsigned}"[:500]
        dropped = AwardDropped(
            job=order.job, attempt=award.attempt, reason=reason, at_s=turn.now.unix_s
        )
        order = memory.record(turn, dropped)
        judging.finish(memory, turn, order, State.REFUSED, reason)
    elif turn.now.unix_s > judging.lease_until_s(order, award):
        _lost(memory, turn, voice, order, "its lease ended, and nobody had signed")
    else:
        again = turn.after_s(SIGN_AGAIN_S)
        turn.do(SetTimer(name=f"{AGAIN_TIMER}:{order.job}", at_ns=again))


def _refused(
    memory: Memory,
    turn: Turn,
    voice: Voice,
    order: Order,
    outcome: Outcome,
    refusal: Refusal,
) -> None:
    errand, award = outcome.errand, order.award
    told = CommandRefused(
        job=order.job,
        command=errand.command,
        provider=errand.provider,
        refusal=refusal,
    )
    turn.tell(told)
    if errand.command == SUBMIT and award is not None and award.accepted is None:
        if errand.step is Step.COMMANDED or not judging.may_have_it(memory, order):
            _drop(memory, turn, voice, order, refusal)
            return
    elif refusal.code == "job.unknown":
        _disowned(memory, turn, voice, order, "its provider no longer knows it")
        return
    _later(memory, turn, voice, order, refusal.reason)


def _disowned(
    memory: Memory, turn: Turn, voice: Voice, order: Order, reason: str
) -> None:
    """The provider does not know the job, or not as it told of it: it is lost."""
    # A stranger is told "unknown" too, so that alone ends no other home's job.
    award, foreign = order.award, order.spec is None
    if order.ended or award is None or (foreign and reason != believing.CONTRADICTS):
        memory.let_go(order.job)
    elif not foreign and order.cancel_wanted and award.accepted is None:
        judging.finish(memory, turn, order, State.CANCELLED, BEFORE_ANY)
    else:
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
    if lost and judging.may_retry(order):
        _retry_elsewhere(memory, turn, voice, order, pursuit, reason)
        return
    if turn.now.unix_s > judging.lease_until_s(order, award):
        _lost(memory, turn, voice, order, "its lease ended in silence")
        return
    pause_s = BACKOFF_S[min(pursuit.tries, len(BACKOFF_S) - 1)]
    pursuit.tries += 1
    turn.do(SetTimer(name=f"{AGAIN_TIMER}:{order.job}", at_ns=turn.after_s(pause_s)))
    for session in memory.sessions.ours():
        memory.sessions.send(turn, session.id, AdvertsWanted())


def _lost(memory: Memory, turn: Turn, voice: Voice, order: Order, reason: str) -> None:
    pursuit = memory.pursuits.get(order.job)
    if pursuit is not None and judging.may_retry(order):
        _retry_elsewhere(memory, turn, voice, order, pursuit, reason)
        return
    judging.finish(memory, turn, order, State.LOST, reason)


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
    pursuit.tries = pursuit.recalls = pursuit.doubts = 0
    pursuit.silent_since_ns = pursuit.discovery_ends_ns = None
    errands.leave(memory, turn, order.job)
    memory.calls.pop(order.job, None)
    dropped = AwardDropped(
        job=order.job,
        attempt=award.attempt,
        reason=f"lost: {reason}"[:500],
        at_s=turn.now.unix_s,
        lost=True,
    )
    pursue(memory, turn, voice, memory.record(turn, dropped))
