"""The two clocks of a process, and the alarms that the node sets on one of them.

Rule: elapsed time is the event loop's own, so that a virtual clock moves timers
and timestamps together; unix time is read anew for each input, because it may
step. Timers are kept on the elapsed clock alone: a stepping wall clock neither
fires nor delays them.
"""

import heapq
import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from nunet_node.errors import MisuseError
from nunet_node.quantities import Now

TIMERS_MAX: Final = 65_536
"""Timers set at once: a few for each job, order and session, all of them bounded;
more means that the node forgets to cancel."""

_NS: Final = 1_000_000_000


def _wall_s() -> int:
    return int(time.time())


class Clock:
    """Reads both clocks; make it inside the event loop.

    Args:
        wall_s: returns unix time in seconds; the system's clock unless given.
    """

    def __init__(self, wall_s: Callable[[], int] = _wall_s) -> None:
        self._wall_s = wall_s
        self._start = trio.current_time()

    def now(self) -> Now:
        """Return this moment on both clocks."""
        # Rounded, or a timer of a virtual clock could fire a nanosecond early.
        elapsed = trio.current_time() - self._start
        return Now(unix_s=self._wall_s(), elapsed_ns=round(elapsed * _NS))

    def loop_time(self, at_ns: int) -> float:
        """Return an elapsed moment as the event loop counts, for its deadlines."""
        return self._start + at_ns / _NS


class Timers:
    """Named alarms. A name set again replaces its alarm; one task waits for all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._changed = trio.Event()

    def set(self, name: str, at_ns: int) -> None:
        """Let ``name`` fire at this elapsed moment; at once if it has passed.

        Raises:
            MisuseError: there are `TIMERS_MAX` timers already.
        """
        if name not in self._due and len(self._due) >= TIMERS_MAX:
            raise MisuseError(f"more than {TIMERS_MAX} timers")
        self._due[name] = at_ns
        heapq.heappush(self._heap, (at_ns, name))
        self._shrink()
        if self._heap[0] == (at_ns, name):
            self._changed.set()

    def cancel(self, name: str) -> None:
        """Forget an alarm; a name that is not set is no error."""
        self._due.pop(name, None)

    async def run(self, fire: Callable[[str], Awaitable[None]]) -> None:
        """Call ``fire`` with each name as it falls due; never returns."""
        while True:
            self._changed = trio.Event()
            deadline = self._next_deadline()
            with trio.move_on_at(deadline):
                await self._changed.wait()
            for name in self._take_due():
                await fire(name)

    def _next_deadline(self) -> float:
        if not self._heap:
            return float("inf")
        return self._clock.loop_time(self._heap[0][0])

    def _take_due(self) -> list[str]:
        now_ns = self._clock.now().elapsed_ns
        names: list[str] = []
        while self._heap and self._heap[0][0] <= now_ns:
            at_ns, name = heapq.heappop(self._heap)
            # An entry that was replaced or cancelled stays in the heap until now.
            if self._due.get(name) == at_ns:
                del self._due[name]
                names.append(name)
        return names

    def _shrink(self) -> None:
        # Replaced entries far in the future would otherwise pile up.
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(at_ns, name) for name, at_ns in self._due.items()]
            heapq.heapify(self._heap)
