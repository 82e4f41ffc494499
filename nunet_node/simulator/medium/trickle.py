"""Peers that read what they are sent at a trickle, and what their senders do then.

What is not read fills the window of the stream, then the outbox of the sender; with
more, or when one frame finds no room for `SEND_NS`, the sender resets the session, as
`nunet_node.runtime.exchange.control` and `nunet_node.network.stream` do. A test holds
that the limits are theirs.

Rule: only the sessions of the slow peer wait; streams share no window.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import sub
from typing import Final

from nunet_node.simulator.medium.links import Paths
from nunet_node.simulator.plan import NS_PER_S
from nunet_node.simulator.world.agenda import Agenda
from nunet_node.simulator.world.machine import Link, Machine

WINDOW_BYTES: Final = 262_144
"""What the system of a reader takes of one stream before anything is read."""

OUTBOX_FRAMES_MAX: Final = 256
"""Frames that wait at the sender for room in the window."""

SEND_NS: Final = 10 * NS_PER_S
"""How long one frame may wait for that room once it is its turn."""

Arrived = tuple[Link, Machine, bytes]
"""A frame, and to whom it came over which session."""


@dataclass(slots=True, repr=False)
class Trickle:
    """What is sent to slow readers and not read yet."""

    agenda: Agenda
    paths: Paths
    read: Callable[[Arrived], None]
    """Takes a frame that was read."""
    longest: int = 0
    """The most frames that ever waited for one reader in one session."""
    resets: int = 0
    """Sessions that were reset because their reader let too much wait."""
    _unread: dict[tuple[Link, int], deque[bytes]] = field(default_factory=dict)
    """By session and reader; who has read everything is not in it."""

    def takes(self, arrived: Arrived) -> bool:
        """Keep a frame until it is read, if that takes time; tell whether it does."""
        link, machine, data = arrived
        waiting = self._unread.get((link, machine.index))
        if waiting is not None:
            waiting.append(data)
            self.longest = max(self.longest, len(waiting))
            return True
        if not machine.traits.trickles or self.paths.healed:
            return False
        self._unread[link, machine.index] = deque([data])
        self.longest = max(self.longest, 1)
        self._next(arrived)
        return True

    def overflows(self, link: Link, machine: Machine, size_bytes: int) -> int | None:
        """Return in how long a sender gives a session up; None if it need not.

        Args:
            link: the session.
            machine: the reader.
            size_bytes: of the frame that is to be sent now.
        """
        waiting = self._unread.get((link, machine.index))
        if waiting is None:
            return None
        late = _past_window([*map(len, waiting), size_bytes])
        rate = self.paths.faults.trickle_bytes_per_s
        slow = size_bytes * NS_PER_S > SEND_NS * rate
        if not late or (late <= OUTBOX_FRAMES_MAX and not slow):
            return None
        self.resets += 1
        return SEND_NS if late <= OUTBOX_FRAMES_MAX else 0

    def _next(self, arrived: Arrived) -> None:
        rate = self.paths.faults.trickle_bytes_per_s
        after_ns = 0 if self.paths.healed else len(arrived[2]) * NS_PER_S // rate
        self.agenda.after(after_ns, self._was_read, arrived)

    def _was_read(self, arrived: Arrived) -> None:
        link, machine, _ = arrived
        if machine.stalls(self._was_read, arrived):
            return
        waiting = self._unread[link, machine.index]
        waiting.popleft()
        self.read(arrived)
        if waiting and link.has(machine):
            self._next((link, machine, waiting[0]))
        else:
            del self._unread[link, machine.index]


def _past_window(sizes: Sequence[int]) -> int:
    """Return how many frames have no place in the window."""
    room_after = accumulate(sizes, sub, initial=WINDOW_BYTES)
    return sum(room < 0 for room in room_after)
