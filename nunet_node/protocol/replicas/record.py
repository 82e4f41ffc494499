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
    ReplicaStayed,
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
    logs: bool = False
    """Whether it is of logs that no result has."""
    mandate: tuple[bytes, ...] = ()
    """By what right this node may have it kept elsewhere."""
    copies: int = 0
    """How many copies there are to be."""
    place: int = 0
    """How many others look after the copies before this node does."""
    custodian: Did | None = None
    """Who ran the job, and is to look after the copies."""
    kept: bool = False
    """Whether every block is here; before that it is only agreed."""
    former: "Replica | None" = None
    """The copy whose place this one takes once it is here; never without blocks."""

    @property
    def key(self) -> ReplicaKey:
        """What it is found by."""
        return (self.owner, self.job)

    @property
    def whole(self) -> "Replica | None":
        """What of it is here: itself, or the copy whose place it is to take."""
        return self if self.kept else self.former

    @property
    def room_bytes(self) -> int:
        """What it takes of the room for copies."""
        return self.size_bytes + (self.former.size_bytes if self.former else 0)


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
            return replace(replica, kept=True, former=None)
        case ReplicaStayed():
            return replica.former
        case ReplicaDropped():
            return None


def _taken(replica: Replica | None, fact: ReplicaTaken) -> Replica:
    before = replica.whole if replica is not None else None
    same = before is not None and before.root == fact.root
    return Replica(
        job=fact.job,
        owner=fact.owner,
        attempt=fact.attempt,
        root=fact.root,
        size_bytes=fact.size_bytes,
        until_s=fact.until_s,
        taken_s=fact.at_s,
        receipt=fact.receipt,
        logs=fact.logs,
        mandate=fact.mandate,
        copies=fact.copies,
        place=fact.place,
        custodian=fact.custodian,
        kept=same,
        former=None if same else before,
    )
