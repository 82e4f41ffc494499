"""What is due next: one heap of moments, in integer nanoseconds.

Rule: what is due at one moment happens in the order in which it was entered, so a
run depends on no address in memory and on no order of a set.
"""

import gc
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

from nunet_node.errors import MisuseError

EVENTS_MAX: Final = 500_000_000
"""Events of one run: an hour of 10 000 machines takes a hundredth of it. More means
that machines talk in circles."""


COLLECT_EVERY: Final = 200_000
"""Objects made between two looks for unreachable ones, which hardly ever are here: a
look at some millions of moments and adverts would be a tenth of the time."""


class Agenda:
    """Virtual time, and everything that waits for its moment."""

    __slots__ = ("_due", "_entered", "now_ns")

    def __init__(self) -> None:
        self.now_ns = 0
        self._entered = 0
        self._due: list[tuple[int, int, Callable[[Any], None], Any]] = []

    def __len__(self) -> int:
        return len(self._due)

    @property
    def events(self) -> int:
        """How many moments have come: all that were entered, but for those due."""
        return self._entered - len(self._due)

    def at(self, at_ns: int, act: Callable[[Any], None], about: Any = None) -> None:
        """Call ``act(about)`` at that moment; the past is now."""
        entered = self._entered = self._entered + 1
        at_ns = max(at_ns, self.now_ns)
        heappush(self._due, (at_ns, entered, act, about))

    def after(
        self, after_ns: int, act: Callable[[Any], None], about: Any = None
    ) -> None:
        """Call ``act(about)`` so much later."""
        self.at(self.now_ns + after_ns, act, about)

    def run(self, until_ns: int) -> None:
        """Let everything happen that is due until then.

        Raises:
            MisuseError: the run takes more than `EVENTS_MAX` events.
        """
        due, pop, often = self._due, heappop, gc.get_threshold()
        gc.set_threshold(COLLECT_EVERY, *often[1:])
        try:
            while due and due[0][0] <= until_ns:
                self.now_ns, _, act, about = pop(due)
                act(about)
        finally:
            gc.set_threshold(*often)
        self.now_ns = max(self.now_ns, until_ns)
        if self.events > EVENTS_MAX:
            raise MisuseError(f"more than {EVENTS_MAX} events")
