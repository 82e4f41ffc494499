"""Who keeps copies of a job's result, found by asking those who may.

Rule: a copy counts here when its holder shows the receipt of the job's provider and
gives leave to read; nobody is told of it by others. Who is silent keeps nobody else
from being asked.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import trio

from nunet_node.client.errors import ClientError
from nunet_node.identity.did import Did
from nunet_node.jobs.statements import Receipt
from nunet_node.protocol.order import Order

HURRY_S: Final = 2
"""How long one peer may be silent before the next one is asked, too: most answer in a
tenth of that, and one that is gone takes ten seconds to be given up."""

PATIENCE_S: Final = 3
"""How long a provider may be silent before somebody is told, and others are asked."""

LOOK_S: Final = 20
"""How long copies are looked for in all: two dials that nobody answers."""

_W = TypeVar("_W")
_A = TypeVar("_A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy of a result that its holder would let us read now."""

    holder: Did
    receipt: Receipt
    """The provider's; it says until when all copies are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadElsewhere:
    """A result does not come from the provider that made it."""

    holder: str = ""
    """Whose copy is read; empty if all of it was in this home's own store."""
    has_receipt: bool = True
    """Whether the provider's signed receipt comes with it."""


@dataclass(frozen=True, slots=True)
class ProviderSilent:
    """A job's provider has not answered for a while, and is still waited for."""


OnElsewhere = Callable[[ReadElsewhere | ProviderSilent], None]
"""Told when a result does not simply come from its provider."""


def known_by(order: Order, copies: Sequence[Copy]) -> Order:
    """Return an order of which nothing is known here, as far as a receipt tells."""
    if order.owner is not None or not copies:
        return order
    said = copies[0].receipt
    return replace(
        order,
        owner=said.owner,
        state=said.state,
        exit_code=said.exit_code,
        result=said.result,
    )


async def ask_in_turn(
    wishes: Iterable[_W],
    ask: Callable[[_W], Awaitable[_A]],
    *,
    answers_max: int,
    hurry_s: float = HURRY_S,
    within_s: float = math.inf,
) -> list[_A]:
    """Ask several, the next when the one before has refused or is silent.

    Args:
        wishes: what to ask, the likeliest first.
        ask: asks one; a `ClientError` is a refusal.
        answers_max: how many answers are enough.
        hurry_s: for how long one that is silent is waited for alone.
        within_s: for how long all of them are.

    Returns:
        The answers, in the order in which they came.
    """
    found: list[_A] = []
    with trio.move_on_after(within_s):
        async with trio.open_nursery() as nursery:

            async def one(wish: _W, over: trio.Event) -> None:
                with suppress(ClientError):
                    found.append(await ask(wish))
                over.set()
                if len(found) >= answers_max:
                    nursery.cancel_scope.cancel()

            for wish in wishes:
                over = trio.Event()
                nursery.start_soon(one, wish, over)
                with trio.move_on_after(hurry_s):
                    await over.wait()
                if len(found) >= answers_max:
                    break
    return found[:answers_max]
