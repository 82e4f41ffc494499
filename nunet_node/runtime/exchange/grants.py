"""What the node has allowed to whom, for as long as that peer stays connected.

Rule: a block or a log is served under a grant or not at all, and a grant names its
root: knowing a content id is never a reason to get its bytes. What its owner made
public is everybody's, as if it had been granted. Grants live in memory
only and end with the peer's connection, so that a restart forgets them all.
"""

from collections import OrderedDict
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Final, TypeVar

from nunet_node.identity.did import Did
from nunet_node.jobs.specification import JobId
from nunet_node.runtime.exchange.bulk.offers import Offers
from nunet_node.wire.cid import Cid

K = TypeVar("K")
V = TypeVar("V")

GRANTS_PER_PEER_MAX: Final = 256
"""Grants of one kind for one peer; the oldest makes room. A peer that fetches more
results at once asks again for the first."""

TREES_KEPT_MAX: Final = 256
"""Trees whose block lists stay in memory: the largest takes some 100 MiB as blocks,
but a usual one a few kilobytes; a list that is gone is read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Inputs that a peer may hand over."""

    root: Cid
    bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCopy(Expected):
    """A copy of somebody's result that a peer may hand over."""

    owner: Did


@dataclass(slots=True)
class _Allowed:
    roots: OrderedDict[Cid, None] = field(default_factory=OrderedDict)
    logs: OrderedDict[tuple[JobId, int], None] = field(default_factory=OrderedDict)
    inputs: OrderedDict[tuple[JobId, int], Expected] = field(
        default_factory=OrderedDict
    )
    copies: OrderedDict[JobId, ExpectedCopy] = field(default_factory=OrderedDict)


class Grants:
    """The table of grants.

    Args:
        blocks_under: returns every block of a stored tree, its manifest included;
            empty if the tree is not here.
        public: the blocks that anybody may have; asked in a thread.
    """

    def __init__(
        self,
        blocks_under: Callable[[Cid], frozenset[Cid]],
        public: Container[Cid] = frozenset(),
    ) -> None:
        self.offers = Offers()
        self._public = public
        self._blocks_under = blocks_under
        self._peers: dict[str, _Allowed] = {}
        self._trees: OrderedDict[Cid, frozenset[Cid]] = OrderedDict()

    def allow_read(self, peer_id: str, root: Cid) -> None:
        """Let a peer read the blocks under ``root``."""
        _keep(self._of(peer_id).roots, root, None)

    def allow_logs(self, peer_id: str, job: JobId, attempt: int) -> None:
        """Let a peer follow a job's logs."""
        _keep(self._of(peer_id).logs, (job, attempt), None)

    def expect(self, peer_id: str, job: JobId, attempt: int, inputs: Expected) -> None:
        """Let a peer hand over a job's inputs."""
        _keep(self._of(peer_id).inputs, (job, attempt), inputs)

    def reads_any(self, peer_id: str) -> bool:
        """Tell whether a peer was granted anything, beside what is public."""
        allowed = self._peers.get(peer_id)
        return allowed is not None and bool(allowed.roots)

    def may_read(self, peer_id: str, cid: Cid) -> bool:
        """Tell whether a peer may have a block. Blocks on the disk at times."""
        allowed = self._peers.get(peer_id)
        roots = () if allowed is None else tuple(reversed(allowed.roots))
        return any(cid in self._tree(root) for root in roots) or cid in self._public

    def may_follow(self, peer_id: str, job: JobId, attempt: int) -> bool:
        """Tell whether a peer may follow a job's logs."""
        allowed = self._peers.get(peer_id)
        return allowed is not None and (job, attempt) in allowed.logs

    def expected(self, peer_id: str, job: JobId, attempt: int) -> Expected | None:
        """Return what a peer may hand over for a job, if anything."""
        allowed = self._peers.get(peer_id)
        return None if allowed is None else allowed.inputs.get((job, attempt))

    def expect_copy(self, peer_id: str, job: JobId, copy: ExpectedCopy) -> None:
        """Let a peer hand over a copy of a job's result."""
        _keep(self._of(peer_id).copies, job, copy)

    def expected_copy(self, peer_id: str, job: JobId) -> ExpectedCopy | None:
        """Return what copy of a job's result a peer may hand over, if any."""
        allowed = self._peers.get(peer_id)
        return None if allowed is None else allowed.copies.get(job)

    def no_longer_expect(self, job: JobId) -> None:
        """End everybody's leave to hand over a job's inputs."""
        for allowed in self._peers.values():
            for key in [key for key in allowed.inputs if key[0] == job]:
                del allowed.inputs[key]

    def forget(self, peer_id: str) -> None:
        """End every grant of a peer whose connection is gone."""
        self._peers.pop(peer_id, None)

    def _of(self, peer_id: str) -> _Allowed:
        return self._peers.setdefault(peer_id, _Allowed())

    def _tree(self, root: Cid) -> frozenset[Cid]:
        found = self._trees.get(root)
        if found is None:
            found = self._blocks_under(root)
            if found:
                _keep(self._trees, root, found, TREES_KEPT_MAX)
        return found


def _keep(
    table: OrderedDict[K, V], key: K, value: V, entries_max: int | None = None
) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > (entries_max or GRANTS_PER_PEER_MAX):
        table.popitem(last=False)
