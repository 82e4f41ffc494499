"""What is due next: moments in integer nanoseconds, in a calendar of short slots.

A moment is entered at the end of its slot's list, and a slot is sorted when its time
comes; so a flood of a million moments costs no million steps through one large heap
(Brown, Calendar queues, 1988; here empty slots are skipped by a heap of their numbers).

Rule: what is due at one moment happens in the order in which it was entered, so a
run depends on no address in memory and on no order of a set.
"""

import gc
from bisect import insort_right
from collections.abc import Callable
from heapq import heappop, heappush
from operator import itemgetter
from typing import Any, Final

from nunet_node.errors import MisuseError

EVENTS_MAX: Final = 500_000_000
"""Events of one run: an hour of 10 000 machines takes a hundredth of it. More means
that machines talk in circles."""


COLLECT_EVERY: Final = 200_000
"""Objects made between two looks for unreachable ones, which hardly ever are here: a
look at some millions of moments and adverts would be a tenth of the time."""


SLOT_BITS: Final = 18
"""Nanoseconds in a slot, as a power of two: a quarter of a millisecond, in which a
thousand machines that gossip have some two hundred moments, and few enter another."""

Moment = tuple[int, Callable[[Any], None], Any]
"""When, what to call, and with what."""

_AT_NS: Final = itemgetter(0)


class Agenda:
    """Virtual time, and everything that waits for its moment."""

    __slots__ = ("_past", "_slot", "_slots", "_soon", "_starts", "now_ns")

    def __init__(self) -> None:
        self.now_ns = 0
        self._past = 0
        """How many moments there were in the slots that are over."""
        self._slots: dict[int, list[Moment]] = {}
        """The moments of each slot to come, as they were entered."""
        self._starts: list[int] = []
        """The numbers of those slots, as a heap."""
        self._slot = -1
        """The slot in which it is now; none to come has a number as low."""
        self._soon: list[Moment] = []
        """The moments of this slot that are still to come, in order."""

    def __len__(self) -> int:
        return len(self._soon) + sum(map(len, self._slots.values()))

    @property
    def events(self) -> int:
        """How many moments have come; it is brought up to date when `run` returns."""
        return self._past

    def at(self, at_ns: int, act: Callable[[Any], None], about: Any = None) -> None:
        """Call ``act(about)`` at that moment; the past is now."""
        try:
            self._slots[at_ns >> SLOT_BITS].append((at_ns, act, about))
        except KeyError:
            self._first(max(at_ns, self.now_ns), act, about)

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
        often = gc.get_threshold()
        gc.set_threshold(COLLECT_EVERY, *often[1:])
        try:
            while self._turn_over(until_ns):
                if self._slot + 1 << SLOT_BITS <= until_ns:
                    self._whole()
                else:
                    self._part(until_ns)
        finally:
            gc.set_threshold(*often)
        self.now_ns = max(self.now_ns, until_ns)
        self._slot = max(self._slot, self.now_ns >> SLOT_BITS)
        if self._past > EVENTS_MAX:
            raise MisuseError(f"more than {EVENTS_MAX} events")

    def _first(self, at_ns: int, act: Callable[[Any], None], about: Any) -> None:
        """Enter a moment into the slot under way, or the first one into its slot."""
        slot, moment = at_ns >> SLOT_BITS, (at_ns, act, about)
        if slot <= self._slot:
            insort_right(self._soon, moment, key=_AT_NS)
        else:
            self._slots.setdefault(slot, []).append(moment)
            heappush(self._starts, slot)

    def _turn_over(self, until_ns: int) -> bool:
        """Open the next slot if this one is over; tell whether anything is due."""
        starts = self._starts
        if not self._soon and starts and starts[0] << SLOT_BITS <= until_ns:
            self._slot = heappop(starts)
            self._soon = self._slots.pop(self._slot)
            # Sorting is stable, so equal moments stay in the order of their entry.
            self._soon.sort(key=_AT_NS)
        return bool(self._soon) and self._soon[0][0] <= until_ns

    def _whole(self) -> None:
        """Let a slot's moments come; what they enter into it comes in its turn."""
        soon, came = self._soon, 0
        try:
            for self.now_ns, act, about in soon:
                came += 1
                act(about)
        finally:
            self._past += came
            del soon[:came]

    def _part(self, until_ns: int) -> None:
        """Let a slot's moments come until then."""
        soon = self._soon
        while soon and soon[0][0] <= until_ns:
            self.now_ns, act, about = soon.pop(0)
            self._past += 1
            act(about)
