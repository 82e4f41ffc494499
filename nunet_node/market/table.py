"""What the network offers: the newest advert of every node heard.

Rule: an advert counts until it expires, until its author says it is leaving, or
until a live connection with its author breaks. The latest sequence number of a
peer wins; an older or equal one changes nothing, so replays are harmless.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from nunet_node.identity.did import Did
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.identity.statement import Statement
from nunet_node.market.offers import (
    LIFETIMES_PER_REFRESH,
    REFRESH_S_MAX,
    Advert,
)

NODES_MAX: Final = 20_000
"""Nodes remembered, about 40 MB; twice the largest simulated network."""


LIFETIME_S_MAX: Final = LIFETIMES_PER_REFRESH * REFRESH_S_MAX
"""Longest life of an advert: the longest that an honest node gives one. A longer one
would hold a place in the table after its author is gone."""


@dataclass(slots=True)
class AdvertTable:
    """The newest advert of each node, by its peer id."""

    _newest: dict[str, Statement[Advert]] = field(default_factory=dict)
    _gone: dict[str, int] = field(default_factory=dict)
    """Sequence numbers at or below which an author's adverts are stale."""

    def hear(self, heard: Statement[Advert], now_s: int) -> bool:
        """Keep the advert if it is news; tell whether it is.

        An advert whose peer id is not its author's is nobody's and is dropped.
        """
        advert = heard.payload
        if peer_id_of(heard.issuer) != advert.peer_id or heard.expires_at_s <= now_s:
            return False
        if heard.expires_at_s - heard.issued_at_s > LIFETIME_S_MAX:
            return False
        known = self._newest.get(advert.peer_id)
        last = known.payload.sequence if known else self._gone.get(advert.peer_id, -1)
        if advert.sequence <= last:
            return False
        if advert.leaving:
            self.forget(advert.peer_id, advert.sequence)
            return True
        if known is None:
            if len(self._newest) >= NODES_MAX:
                self.expire(now_s)
                if len(self._newest) >= NODES_MAX:
                    return False
            self._gone.pop(advert.peer_id, None)
        self._newest[advert.peer_id] = heard
        return True

    def forget(self, peer_id: str, sequence: int | None = None) -> None:
        """Drop a node; only a newer advert brings it back."""
        last = self._newest.pop(peer_id, None)
        known = sequence or (last.payload.sequence if last else 0)
        if known and len(self._gone) < NODES_MAX:
            self._gone[peer_id] = known

    def expire(self, now_s: int) -> None:
        """Drop every advert that counts no longer."""
        for peer_id, heard in list(self._newest.items()):
            if heard.expires_at_s <= now_s:
                del self._newest[peer_id]

    def fresh(self, now_s: int) -> Iterator[Statement[Advert]]:
        """Return the adverts that count, in the order of first hearing."""
        return (h for h in self._newest.values() if h.expires_at_s > now_s)

    def of_provider(self, did: Did, now_s: int) -> Statement[Advert] | None:
        """Return the newest advert of a node, if it counts."""
        heard = self._newest.get(peer_id_of(did))
        return heard if heard and heard.expires_at_s > now_s else None

    def __len__(self) -> int:
        """Return how many nodes are remembered."""
        return len(self._newest)
