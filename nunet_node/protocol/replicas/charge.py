"""What a node has to have kept elsewhere, and by what right.

A custodian has its jobs' results kept; and the logs of a job that wants copies, while
it runs and when it ends without a result. Rule: what is to be placed is read from the
records alone, so that a result takes the place of the logs as soon as there is one.
"""

from dataclasses import dataclass

from nunet_node.identity.did import Did
from nunet_node.jobs.specification import JobId
from nunet_node.protocol.provider.custody import Job, Placement
from nunet_node.wire.cid import Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Something of one job that is to be kept at other nodes."""

    job: JobId
    owner: Did
    attempt: int
    root: Cid
    size_bytes: int
    until_s: int
    """Until when it is to be kept, unix time."""
    receipt: bytes
    """What its custodian signed about it; another one is another charge."""
    logs: bool
    """Whether it is of logs that no result has."""
    copies: int
    """How many copies there are to be."""
    mandate: tuple[bytes, ...]
    """The delegations by which its owner allows them."""
    placed: tuple[Placement, ...]
    """Who has a copy, of this or of what was there before it."""


def charge_of(job: Job) -> Charge | None:
    """Return what of a job in custody is to be kept elsewhere now, if anything."""
    if not job.spec.replicas or job.expired:
        return None
    if job.result is not None and job.receipt is not None:
        root, size_bytes, receipt = job.result, job.kept_bytes, job.receipt
    elif job.packed is not None:
        root, size_bytes = job.packed.root, job.packed.size_bytes
        receipt = job.packed.receipt
    else:
        return None
    return Charge(
        job=job.job,
        owner=job.owner,
        attempt=job.attempt,
        root=root,
        size_bytes=size_bytes,
        until_s=job.kept_until_s or job.lease_until_s + job.spec.retention_s,
        receipt=receipt,
        logs=job.result is None,
        copies=job.spec.replicas,
        mandate=job.mandate,
        placed=job.replicas,
    )
