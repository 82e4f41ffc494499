"""Handing secrets over: the submitting side.

Rule: nothing is sealed before a provider has signed that it has the job, and then only
to that provider, anew for each attempt. The values are handed over by the very command
that submitted the job, repeated with them, so whoever may submit may hand over, and
nobody else. What was handed is a fact; whether the provider still has it only the
provider knows, since it keeps secrets in memory alone, and says in its reports.
"""

from typing import Any, Final

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import Report
from nunet_node.protocol.effects import OrderAccepted, SetTimer
from nunet_node.protocol.facts import SecretsHanded
from nunet_node.protocol.messages import SUBMIT
from nunet_node.protocol.order import Order
from nunet_node.protocol.requester import errands
from nunet_node.protocol.requester.memory import Memory
from nunet_node.protocol.secrets.events import (
    SealSecrets,
    SecretsAwaited,
    SecretsNews,
    SecretsUnread,
)
from nunet_node.protocol.turn import Turn
from nunet_node.wire.schema import to_plain

AGAIN_TIMER: Final = "secrets"

AGAIN_S: Final = 5
"""Pause before what could not be read is tried again: a person mends it meanwhile."""

_WAITING: Final = frozenset({State.QUEUED, State.ALLOCATED})


def due(memory: Memory, order: Order) -> int:
    """Return the attempt whose secrets are to be handed over now; 0 if none."""
    award, spec, pursuit = order.award, order.spec, memory.pursuits.get(order.job)
    if award is None or spec is None or pursuit is None or not spec.secrets:
        return 0
    if order.cancel_wanted or not order.in_custody or order.state not in _WAITING:
        return 0
    attempt = order.newest_attempt
    return attempt if award.secrets_for < attempt or pursuit.secrets_lost else 0


def hand(memory: Memory, turn: Turn, order: Order) -> None:
    """Have the secrets sealed if they are due, and not on their way already."""
    pursuit, award, owner = memory.pursuits.get(order.job), order.award, order.owner
    attempt = due(memory, order)
    if not attempt or pursuit is None or award is None or owner is None:
        return
    if pursuit.sealing or _under_way(memory, order):
        return
    pursuit.sealing = True
    turn.do(
        SealSecrets(
            job=order.job,
            attempt=attempt,
            provider=award.provider,
            owner=owner,
            sources=order.secrets,
        )
    )


def again(memory: Memory, turn: Turn, job: JobId) -> None:
    """Try once more to read what could not be read."""
    order = turn.ledger.orders.get(job)
    if order is not None:
        hand(memory, turn, order)


def sealed(memory: Memory, turn: Turn, given: SecretsNews) -> None:
    """Send what was sealed, if it is still wanted; or say why there is nothing."""
    pursuit = memory.pursuits.get(given.job)
    order = turn.ledger.orders.get(given.job)
    if pursuit is None or order is None or order.award is None or order.spec is None:
        return
    pursuit.sealing = False
    if isinstance(given, SecretsUnread):
        turn.tell(SecretsAwaited(job=order.job, reason=given.reason))
        at_ns = turn.after_s(AGAIN_S)
        turn.do(SetTimer(name=f"{AGAIN_TIMER}:{order.job}", at_ns=at_ns))
    elif (given.attempt, given.provider) != (due(memory, order), order.award.provider):
        hand(memory, turn, order)
    else:
        args = {
            **submit_args(order),
            "secrets": {"attempt": given.attempt, "sealed": given.sealed},
        }
        errands.begin(memory, turn, order, SUBMIT, args)


def submit_args(order: Order) -> dict[str, Any]:
    """Return what a submit of this order says of the job."""
    return {
        "attempt": order.attempt,
        "salt": order.salt,
        "spec": to_plain(order.spec),
    }


def handed(memory: Memory, turn: Turn, order: Order, attempt: int) -> None:
    """The provider signed that it has the job, in answer to the secrets."""
    pursuit, award = memory.pursuits.get(order.job), order.award
    if award is None:
        return
    if pursuit is not None:
        pursuit.secrets_lost = False
    given = SecretsHanded(job=order.job, attempt=award.attempt, for_attempt=attempt)
    order = memory.record(turn, given)
    memory.went_on(order.job)
    if not order.needs_us:
        turn.tell(OrderAccepted(job=order.job, provider=award.provider, staged=True))


def reported(memory: Memory, turn: Turn, order: Order, said: Report) -> None:
    """The custodian says where the job stands, and whether it lacks the secrets."""
    pursuit = memory.pursuits.get(order.job)
    if pursuit is not None and said.wants_secrets:
        pursuit.secrets_lost = True
        hand(memory, turn, order)


def _under_way(memory: Memory, order: Order) -> bool:
    return any(
        errand.job == order.job and "secrets" in errand.args
        for errand in memory.errands.values()
    )
