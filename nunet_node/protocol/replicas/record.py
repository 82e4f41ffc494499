"""A holder's durable record of one copy of somebody's result.

`apply_replica` is the only function that changes a `Replica`, and it takes facts alone.

Invariant: a copy belongs to one owner, and is found by owner and job together, so that
nobody can take the place of another's.
"""

from dataclasses import dataclass, replace

from nunet_node.errors import MisuseError
from nunet_node.identity.did import Did
from nunet_node.jobs.specification import JobId
from nunet_node.protocol.facts import (
    ReplicaDropped,
    ReplicaFact,
    ReplicaKept,
    ReplicaTaken,
)
from nunet_node.wire.cid import Cid

ReplicaKey = tuple[Did, JobId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One copy."""

    job: JobId
    owner: Did
    attempt: int
    root: Cid
    size_bytes: int
    until_s: int
    taken_s: int
    receipt: bytes
    kept: bool = False
    """Whether every block is here; before that it is only agreed."""

    @property
    def key(self) -> ReplicaKey:
        """What it is found by."""
        return (self.owner, self.job)


def apply_replica(replica: Replica | None, fact: ReplicaFact) -> Replica | None:
    """Return the copy after ``fact``; None once it is dropped.

    Raises:
        MisuseError: the fact does not fit the copy.
    """
    if isinstance(fact, ReplicaTaken):
        return _taken(replica, fact)
    if replica is None:
        raise MisuseError(f"a fact about a copy of {fact.job} that was never taken")
    match fact:
        case ReplicaKept():
            return replace(replica, kept=True)
        case ReplicaDropped():
            return None


def _taken(replica: Replica | None, fact: ReplicaTaken) -> Replica:
    same = replica is not None and replica.root == fact.root
    return Replica(
        job=fact.job,
        owner=fact.owner,
        attempt=fact.attempt,
        root=fact.root,
        size_bytes=fact.size_bytes,
        until_s=fact.until_s,
        taken_s=fact.at_s,
        receipt=fact.receipt,
        kept=replica is not None and same and replica.kept,
    )
