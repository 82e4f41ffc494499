"""What a node has to have kept elsewhere, and by what right.

A custodian has its jobs' results kept; and the logs of a job that wants copies, while
it runs and when it ends without a result. Rule: what is to be placed is read from the
records alone, so that a result takes the place of the logs as soon as there is one.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nunet_node.capability.delegation import (
    Delegation,
    open_delegation,
    seal_delegation,
)
from nunet_node.capability.proof_chain import CHAIN_LINKS_MAX
from nunet_node.identity.did import VOUCHED, Did
from nunet_node.jobs.specification import RETENTION_S_MAX, JobId
from nunet_node.protocol.messages import KEEP
from nunet_node.protocol.provider.custody import Job, Placement
from nunet_node.protocol.replicas.record import Replica
from nunet_node.protocol.sessions import NONCE_BYTES, Voice
from nunet_node.protocol.turn import Turn
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
    custodian: Did | None = None
    """Who is to look after it, if not this node; it is asked for no copy."""


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


def charge_of_copy(
    replica: Replica, placed: tuple[Placement, ...] = ()
) -> Charge | None:
    """Return what a holder has to have kept when its custodian is gone, if it may.

    Args:
        replica: the copy that it has.
        placed: who else has one, as far as it knows.
    """
    if not replica.kept or not replica.mandate or replica.custodian is None:
        return None
    return Charge(
        job=replica.job,
        owner=replica.owner,
        attempt=replica.attempt,
        root=replica.root,
        size_bytes=replica.size_bytes,
        until_s=replica.until_s,
        receipt=replica.receipt,
        logs=replica.logs,
        copies=replica.copies,
        mandate=replica.mandate,
        placed=placed,
        custodian=replica.custodian,
    )


def distance(job: JobId, holder: Did) -> bytes:
    """Return by what the nodes that keep a job's copies are ordered."""
    return hashlib.sha256(f"{job}|{holder}".encode()).digest()


def passed_on(
    charge: Charge, voice: Voice, holder: Did
) -> tuple[tuple[Delegation, ...], tuple[Delegation, ...]]:
    """Return by what right a holder is asked, and by what it may ask others later.

    The last link of the second is made here; there is none if the chain is as long as
    one may be.
    """
    links = tuple(open_delegation(data, VOUCHED) for data in charge.mandate)
    if not links or len(links) >= CHAIN_LINKS_MAX - 1:
        return links, ()
    expires_s = [link.expires_at_s for link in links if link.expires_at_s is not None]
    data = seal_delegation(
        signer=voice.signer,
        audience=holder,
        subject=charge.owner,
        command=KEEP,
        nonce=voice.nonce(NONCE_BYTES),
        expires_at_s=min(expires_s),
        policy=(("==", ".job", charge.job),),
    )
    return links, (*links, open_delegation(data, VOUCHED))


def request_of(
    turn: Turn, charge: Charge, handed: Iterable[Delegation], place: int
) -> dict[str, Any]:
    """Return what a holder is asked.

    Args:
        turn: the turn in which it is asked.
        charge: what it is to keep.
        handed: by what right it may have it kept elsewhere later.
        place: how many others look after the copies before it does.
    """
    latest_s = turn.now.unix_s + RETENTION_S_MAX
    args: dict[str, Any] = {
        "job": charge.job,
        "attempt": charge.attempt,
        "root": charge.root,
        "size_bytes": charge.size_bytes,
        "until_s": min(charge.until_s, latest_s),
        "receipt": charge.receipt,
        "copies": charge.copies,
    }
    named = tuple(link.cid for link in handed)
    more = {"logs": charge.logs, "mandate": named, "place": place}
    return args | {name: value for name, value in more.items() if value}
