"""Making a failure small: the fewest happenings that still break the same promise.

Delta debugging (Zeller and Hildebrandt, IEEE TSE 28(2), 2002): leave out ever smaller
parts of the plan for as long as the same invariant breaks without them.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from nunet_node.simulator.plan import Anything, Plan
from nunet_node.simulator.run import Run

TRIES_MAX: Final = 200
"""Runs that are spent on one failure: a few minutes of small runs."""


def shrink(plan: Plan, invariant: str, tries_max: int = TRIES_MAX) -> Plan:
    """Return a plan that breaks the same invariant with as little as can be found."""
    kept, parts, tries = list(plan.happenings), 2, 0
    while parts <= len(kept) and tries < tries_max:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            less = kept[:start] + kept[start + size :]
            tries += 1
            if less and _breaks(plan, less, invariant):
                kept, parts = less, max(2, parts - 1)
                break
            if tries >= tries_max:
                break
        else:
            if size == 1:
                break
            parts = min(len(kept), parts * 2)
    return msgspec.structs.replace(plan, happenings=tuple(kept))


def _breaks(plan: Plan, happenings: Sequence[Anything], invariant: str) -> bool:
    tried = msgspec.structs.replace(plan, happenings=tuple(happenings))
    broken = Run(tried).play().broken
    return broken is not None and broken.invariant == invariant
