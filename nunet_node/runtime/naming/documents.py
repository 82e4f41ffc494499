"""Documents of did:webs, for a node that strangers ask things of.

Whoever sends us a frame chooses whose server we ask, before anything of it could be
verified. Rule: what that may cost others and us is bounded four times over: by how
many are asked at once, and by how often one peer, one domain and everybody together
may have us ask. Beyond, a frame is refused at once and nothing waits. A document is
used for less than five minutes and never after that, whatever its server does then
(draft-sabadello-did-challenge-sasl-01, on stale documents). Why one could not be had
stays in our log: to a stranger it would be a view from inside our network.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from nunet_node.errors import PeerError
from nunet_node.identity.did import Did, DidDocument, Documents
from nunet_node.identity.methods.did_web import HTTPS_PORT, Place, place_of

FRESH_S: Final = 290
"""How long a document is used, from when it was asked for: with the time that others
may take to come in, less than five minutes."""

FAILED_S: Final = 15
"""How long a failure is remembered: a retry of a command within that asks nobody."""

DOCUMENTS_MAX: Final = 1024
"""Documents and failures that are remembered: at some ten kilobytes each, 10 MiB."""

FETCHES_MAX: Final = 8
"""Servers asked at once; each holds a socket, a thread for its name and 64 KiB for at
most five seconds."""

ASKERS_MAX: Final = 1024
"""Peers and domains whose count is kept, of each; who was forgotten counts anew, which
the count of everybody together makes up for."""

SYSTEM_PORT_MAX: Final = 1023
"""Below this stand mail, names and shells, which nobody is to be greeted at by us."""

_DOMAIN_LABELS: Final = 2

Fetch = Callable[[Did], Awaitable[DidDocument]]
"""Fetches the document of a did:web; raises `PeerError` if it cannot be had."""

_log = logging.getLogger("nunet_node.runtime.naming")


@dataclass(frozen=True, slots=True)
class _Rate:
    burst: float
    per_s: float


PEER_RATE: Final = _Rate(burst=8, per_s=0.1)
"""One peer: a team's identities at once, and then one new one every ten seconds."""

DOMAIN_RATE: Final = _Rate(burst=16, per_s=1)
"""One domain, by its last two labels, whoever asks: less than one browser's visit."""

TOTAL_RATE: Final = _Rate(burst=64, per_s=4)
"""Everybody together: 20 kB/s of questions, answered by at most 256 KiB/s."""


@dataclass(slots=True, eq=False)
class _Tokens:
    rate: _Rate
    left: float
    at_s: float

    def refill(self, now_s: float) -> bool:
        """Tell whether one more is due."""
        gained = (now_s - self.at_s) * self.rate.per_s
        self.left, self.at_s = min(self.rate.burst, self.left + gained), now_s
        return self.left >= 1


@dataclass(slots=True, eq=False)
class _Asked:
    """A document that is on its way, here, or not to be had."""

    until_s: float = float("inf")
    document: DidDocument | None = None
    why: str = "its server did not give it"
    done: trio.Event = field(default_factory=trio.Event)


class WebDocuments:
    """Looks did:webs up, and remembers for a while.

    Args:
        fetch: asks a server; bounds its own time and size.
        tasks: where fetches run, so that one that several wait for ends with none.
    """

    def __init__(self, fetch: Fetch, tasks: trio.Nursery) -> None:
        self._fetch = fetch
        self._tasks = tasks
        self._known: OrderedDict[Did, _Asked] = OrderedDict()
        self._under_way = 0
        self._all = _Tokens(TOTAL_RATE, TOTAL_RATE.burst, trio.current_time())
        self._peers: OrderedDict[str, _Tokens] = OrderedDict()
        self._domains: OrderedDict[str, _Tokens] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    async def find(self, dids: Sequence[Did], *, asker: str) -> Documents:
        """Return the documents of these DIDs, as far as they can be had now.

        Args:
            dids: did:webs, each once.
            asker: the peer on whose account they are looked up.
        """
        asked = {did: self._ask(did, asker) for did in dids}
        for each in asked.values():
            await each.done.wait()
        found, missing = {}, {}
        for did, each in asked.items():
            if each.document is not None:
                found[did] = each.document
            else:
                missing[did] = each.why
        return Documents(found=found, missing=missing)

    def _ask(self, did: Did, asker: str) -> _Asked:
        now_s = trio.current_time()
        known = self._known.get(did)
        if known is not None and now_s < known.until_s:
            self._known.move_to_end(did)
            return known
        asked = _Asked()
        why = self._why_not(place_of(did), asker, now_s)
        if why is not None:
            asked.why = why
            asked.done.set()
            return asked
        self._known[did] = asked
        self._known.move_to_end(did)
        if len(self._known) > DOCUMENTS_MAX:
            self._known.popitem(last=False)
        self._under_way += 1
        self._tasks.start_soon(self._run, did, asked, now_s)
        return asked

    def _why_not(self, place: Place, asker: str, now_s: float) -> str | None:
        """Return why nobody is asked; counts the question if somebody is."""
        if place.port != HTTPS_PORT and place.port <= SYSTEM_PORT_MAX:
            return f"port {place.port} is not one of web servers"
        if self._under_way >= FETCHES_MAX:
            return "too many documents are on their way here"
        domain = ".".join(place.host.split(".")[-_DOMAIN_LABELS:])
        counts = (
            self._all,
            _tokens(self._peers, asker, PEER_RATE, now_s),
            _tokens(self._domains, domain, DOMAIN_RATE, now_s),
        )
        if not all(each.refill(now_s) for each in counts):
            return "too many documents were asked for"
        for each in counts:
            each.left -= 1
        return None

    async def _run(self, did: Did, asked: _Asked, began_s: float) -> None:
        try:
            asked.document = await self._fetch(did)
            asked.until_s = began_s + FRESH_S
        except PeerError as error:
            _log.info("no document of %s: %s", did, error)
        except Exception:  # noqa: BLE001 - shown in the log
            # A document that finds a bug of ours fails its own DID only.
            _log.exception("the document of %s met a bug", did)
        finally:
            if asked.document is None:
                asked.until_s = trio.current_time() + FAILED_S
            self._under_way -= 1
            asked.done.set()


def _tokens(
    kept: OrderedDict[str, _Tokens], name: str, rate: _Rate, now_s: float
) -> _Tokens:
    found = kept.setdefault(name, _Tokens(rate, rate.burst, now_s))
    kept.move_to_end(name)
    if len(kept) > ASKERS_MAX:
        kept.popitem(last=False)
    return found
