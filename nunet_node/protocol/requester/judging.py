"""What an order's record still allows, and writing down that it is over.

Rule: whatever a provider may have accepted is not given to another, as long as it may
hold it. Nothing here asks anybody.
"""

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import RetryCause
from nunet_node.market.offers import Refusal
from nunet_node.protocol.effects import CommandRefused
from nunet_node.protocol.facts import OrderEnded
from nunet_node.protocol.order import Award, Order
from nunet_node.protocol.requester.memory import Memory, Outcome
from nunet_node.protocol.signing.events import SIGNER_FAILED
from nunet_node.protocol.turn import Turn
from nunet_node.quantities import INT53_MAX


def may_have_it(memory: Memory, order: Order) -> bool:
    """Tell whether the provider may have accepted, as far as we know."""
    pursuit, award = memory.pursuits.get(order.job), order.award
    return (
        award is None or award.accepted is not None or bool(pursuit and pursuit.unheard)
    )


def attempt_after(order: Order) -> int:
    """Return the number that the next award has."""
    if order.award is None:
        return 1
    if order.award.accepted is None and not order.award.lost:
        return order.award.attempt
    # A provider begins attempts of its own, where the owner allows them.
    return order.newest_attempt + 1


def lease_until_s(order: Order, award: Award) -> int:
    """Return the last second of the provider's lease, unix time."""
    if award.accepted is not None:
        return award.accepted.lease_until_s
    # If it accepted and we did not hear it, this is what it said.
    return award.at_s + order.spec.lease_s if order.spec else INT53_MAX


def may_retry(order: Order) -> bool:
    """Tell whether the owner allows another attempt when this one is lost."""
    if order.spec is None or order.cancel_wanted:
        return False
    retry = order.spec.retry
    return RetryCause.LOST in retry.on and order.newest_attempt < retry.attempts


def not_signed(outcome: Outcome) -> CommandRefused:
    """Return the news that whoever has the key did not sign a command."""
    refusal = Refusal(code=SIGNER_FAILED, reason=outcome.unsigned[:500])
    errand = outcome.errand
    return CommandRefused(
        job=errand.job, command=errand.command, provider="", refusal=refusal
    )


def finish(memory: Memory, turn: Turn, order: Order, state: State, reason: str) -> None:
    """End an order, and pursue it no more."""
    memory.calls.pop(order.job, None)
    memory.let_go(order.job)
    if not order.ended:
        over = OrderEnded(
            job=order.job, state=state, reason=reason[:500], at_s=turn.now.unix_s
        )
        memory.record(turn, over)
