"""Who may come through the bulk door: one-time tickets, each with a key of its own.

Rule: a ticket is for one peer, for one connection and for some seconds; it is spent
when it is first shown, and whoever shows one without knowing its key gets nothing.
Time and chance are arguments.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

TICKET_BYTES: Final = 16
"""Length of the name under which a ticket is shown; nobody guesses one."""

KEY_BYTES: Final = 32
"""Length of its key, which only travels where the peer is known already."""

TICKET_S: Final = 15
"""How long one is good: asking, dialling and showing it fit in many times."""

TICKETS_MAX: Final = 256
"""Tickets that nobody has shown yet; the next is refused, and streams still serve."""

TICKETS_PER_PEER_MAX: Final = 4
"""Of these, one peer's, so that no peer takes the places of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Leave for one connection."""

    peer_id: str
    name: bytes
    key: bytes = field(repr=False)
    until_s: float


class Tickets:
    """The tickets that are out.

    Args:
        clock_s: returns seconds that never go back.
        random: returns so many random bytes.
    """

    def __init__(
        self, clock_s: Callable[[], float], random: Callable[[int], bytes]
    ) -> None:
        self._clock_s = clock_s
        self._random = random
        self._out: dict[bytes, Ticket] = {}

    def issue(self, peer_id: str) -> Ticket | None:
        """Return a new ticket for a peer; None if too many are out."""
        self._expire()
        theirs = sum(each.peer_id == peer_id for each in self._out.values())
        if len(self._out) >= TICKETS_MAX or theirs >= TICKETS_PER_PEER_MAX:
            return None
        ticket = Ticket(
            peer_id=peer_id,
            name=self._random(TICKET_BYTES),
            key=self._random(KEY_BYTES),
            until_s=self._clock_s() + TICKET_S,
        )
        self._out[ticket.name] = ticket
        return ticket

    def redeem(self, name: bytes) -> Ticket | None:
        """Spend a ticket, and return it; None if there is no such one any more."""
        self._expire()
        return self._out.pop(name, None)

    def void(self, peer_id: str) -> None:
        """Void every ticket of a peer."""
        for name in [n for n, each in self._out.items() if each.peer_id == peer_id]:
            del self._out[name]

    @property
    def any_out(self) -> bool:
        """Whether anybody can be expected at the door."""
        self._expire()
        return bool(self._out)

    def _expire(self) -> None:
        now_s = self._clock_s()
        for name in [n for n, each in self._out.items() if each.until_s <= now_s]:
            del self._out[name]
