"""When gossip arrives, computed instead of simulated.

In an overlay that floods, a message's first copy comes by the quickest path; so its
time is the shortest path from its origin, which one run of Dijkstra's algorithm gives
for every origin at once. A table that asks the oracle holds, at any moment, what the
node would have heard by then, and costs nothing until it is asked. That is what makes
10 000 machines possible: nobody hears most adverts, they only could have.

A first copy in the simulated overlay comes later, because a mesh is a part of the
connections; `SLACK_PERCENT` is added for it, and a test compares both.
"""

import heapq
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from nunet_node.identity.did import Did
from nunet_node.identity.statement import Statement
from nunet_node.market.offers import Advert
from nunet_node.market.table import AdvertTable
from nunet_node.simulator.world.agenda import Agenda

SLACK_PERCENT: Final = 15
"""What the overlay takes beyond the shortest path, in the median, as measured."""

ADVERTS_KEPT_MAX: Final = 4
"""Adverts kept of one machine: the newest that had time to travel is among them,
because adverts are at least a quarter of a second apart."""

UNREACHED_NS: Final = (1 << 63) - 1


def shortest_ns(
    edges: Sequence[Sequence[tuple[int, int]]], origin: int
) -> "array[int]":
    """Return how long the quickest path to everyone takes (Dijkstra, 1959).

    Args:
        edges: for each machine, its connections and their delays.
        origin: where the paths begin.
    """
    found = array("q", [UNREACHED_NS]) * len(edges)
    found[origin] = 0
    due = [(0, origin)]
    while due:
        at_ns, here = heapq.heappop(due)
        if at_ns > found[here]:
            continue
        for there, delay_ns in edges[here]:
            arrival_ns = at_ns + delay_ns
            if arrival_ns < found[there]:
                found[there] = arrival_ns
                heapq.heappush(due, (arrival_ns, there))
    return found


class Oracle:
    """What everybody published, and how far everybody is."""

    def __init__(
        self, agenda: Agenda, edges: Sequence[Sequence[tuple[int, int]]]
    ) -> None:
        self.agenda = agenda
        self._edges = edges
        self.shown: dict[int, deque[tuple[int, Statement[Advert]]]] = {}
        self.index_of: dict[Did, int] = {}

    def publish(self, origin: int, heard: Statement[Advert]) -> None:
        """Note an advert at the moment at which it is sent."""
        shown = self.shown.setdefault(origin, deque(maxlen=ADVERTS_KEPT_MAX))
        shown.append((self.agenda.now_ns, heard))
        self.index_of[heard.issuer] = origin

    def distances(self, receiver: int) -> "array[int]":
        """Return how long gossip from everyone takes to this machine."""
        found = shortest_ns(self._edges, receiver)
        for at, least_ns in enumerate(found):
            if least_ns < UNREACHED_NS:
                found[at] = least_ns * (100 + SLACK_PERCENT) // 100
        return found


class OracleTable(AdvertTable):
    """An advert table that knows what would have arrived by now."""

    def __init__(self, oracle: Oracle, receiver: int) -> None:
        super().__init__()
        self._oracle = oracle
        self._receiver = receiver
        self._distances: array[int] | None = None

    def hear(self, heard: Statement[Advert], now_s: int) -> bool:
        """Change nothing: what arrives is known without being heard."""
        del heard, now_s
        return False

    def forget(self, peer_id: str, sequence: int | None = None) -> None:
        """Change nothing: what its author no longer repeats runs out."""
        del peer_id, sequence

    def fresh(self, now_s: int) -> Iterator[Statement[Advert]]:
        """Return the adverts that arrived and count."""
        distances = self._reach()
        now_ns, receiver = self._oracle.agenda.now_ns, self._receiver
        for origin, shown in self._oracle.shown.items():
            sent_ns = now_ns - distances[origin]
            for at_ns, heard in reversed(shown):
                if at_ns <= sent_ns:
                    if heard.expires_at_s > now_s and origin != receiver:
                        yield heard
                    break

    def of_provider(self, did: Did, now_s: int) -> Statement[Advert] | None:
        """Return the newest advert of a node that arrived, if it counts."""
        origin = self._oracle.index_of.get(did)
        return None if origin is None else self._newest_of(origin, now_s)

    def __len__(self) -> int:
        return len(self._oracle.shown)

    def _newest_of(self, origin: int, now_s: int) -> Statement[Advert] | None:
        sent_ns = self._oracle.agenda.now_ns - self._reach()[origin]
        for at_ns, heard in reversed(self._oracle.shown[origin]):
            if at_ns <= sent_ns:
                return heard if heard.expires_at_s > now_s else None
        return None

    def _reach(self) -> "array[int]":
        if self._distances is None:
            self._distances = self._oracle.distances(self._receiver)
        return self._distances
