"""Which of the results that a node keeps are for anybody.

Rule: its owner said so: in the specification of a job that is in custody here, and for
a copy in its provider's receipt, where a result without a sealed key is public. Logs
are their owner's alone.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from nunet_node.errors import PeerError
from nunet_node.jobs.specification import JobId, ResultKind
from nunet_node.jobs.statements import Receipt
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.replicas.record import Replica, ReplicaKey
from nunet_node.wire.cid import Cid
from nunet_node.wire.cose import read_sign1
from nunet_node.wire.limits import FRAME_BYTES_MAX
from nunet_node.wire.schema import decode_record


class Keeps(Protocol):
    """A node, as far as it keeps results."""

    @property
    def jobs(self) -> Mapping[JobId, Job]:
        """The jobs in its custody."""
        ...

    @property
    def replicas(self) -> Mapping[ReplicaKey, Replica]:
        """The copies that it keeps for others."""
        ...


class PublicRoots:
    """The public results of a node; may be asked from any thread, one at a time."""

    def __init__(self, node: Keeps) -> None:
        self._node = node
        self._judged: dict[ReplicaKey, tuple[bytes, bool]] = {}

    def __call__(self) -> frozenset[Cid]:
        """Return the roots of all public results that are kept now."""
        return frozenset((*self._of_jobs(), *self._of_copies()))

    def _of_jobs(self) -> Iterator[Cid]:
        for job in tuple(self._node.jobs.values()):
            public = job.spec.results is ResultKind.PUBLIC and not job.expired
            if public and job.result is not None:
                yield job.result

    def _of_copies(self) -> Iterator[Cid]:
        kept = {
            replica.key: replica
            for replica in tuple(self._node.replicas.values())
            if replica.kept and not replica.logs
        }
        # Reading a receipt takes a hundred times as long as looking it up.
        before, self._judged = self._judged, {}
        for key, replica in kept.items():
            receipt, public = before.get(key, (b"", False))
            if receipt != replica.receipt:
                public = _is_public(replica)
            self._judged[key] = (replica.receipt, public)
            if public:
                yield replica.root


def _is_public(replica: Replica) -> bool:
    """Read a receipt, which was verified before the copy was taken."""
    try:
        payload = read_sign1(replica.receipt, bytes_max=FRAME_BYTES_MAX).payload
        said = decode_record(Receipt, payload, bytes_max=FRAME_BYTES_MAX)
    except PeerError:
        return False
    return not said.sealed_key and said.result == replica.root
