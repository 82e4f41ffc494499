"""A provider's durable record of one job in its custody.

`apply_job` is the only function that changes a `Job`, and it takes facts alone.

Invariant: a job has one owner for ever; its final state never changes; while it
is in one of the holding states, and only then, its resources count as reserved.
"""

from dataclasses import dataclass, replace
from hashlib import sha256

from nunet_node.errors import MisuseError
from nunet_node.identity.did import Did
from nunet_node.jobs.lifecycle import HOLDING, STARTED, State, check_move, is_final
from nunet_node.jobs.specification import JobId, JobSpec
from nunet_node.jobs.statements import HISTORY_MAX, Move
from nunet_node.protocol.facts import (
    CancelAccepted,
    JobAccepted,
    JobFact,
    JobForgotten,
    JobMoved,
    JobStaged,
    LogsPacked,
    ProofUsed,
    ReplicaLost,
    ReplicaPlaced,
    ResultExpired,
)
from nunet_node.quantities import Gpus, Reached, ResourceVector
from nunet_node.results.logs.chain import LogHead
from nunet_node.wire.cid import Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A node that keeps a copy of a result, and where it was last."""

    holder: Did
    peer_id: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job, as its custodian knows it."""

    job: JobId
    owner: Did
    attempt: int
    spec: JobSpec
    spec_cid: Cid
    accepted_s: int
    lease_until_s: int
    queue_tag: int
    sequence: int
    """Order of acceptance at this provider."""
    answer: bytes
    """The signed acceptance."""
    staged: bool
    state: State | None = None
    """None only between the acceptance and the move that comes with it."""
    cancelling: bool = False
    started_s: int = 0
    reason: str = ""
    exit_code: int | None = None
    limit: str = ""
    isolation: str = ""
    cpu_ms: int = 0
    memory_peak_bytes: int = 0
    fuel: int = 0
    reached: tuple[Reached, ...] = ()
    gpus: tuple[Gpus, ...] = ()
    """The kinds that it holds, while it holds its room."""
    result: Cid | None = None
    receipt: bytes | None = None
    history: tuple[Move, ...] = ()
    notices: tuple[bytes, ...] = ()
    proofs: tuple[ProofUsed, ...] = ()
    """What it was accepted on, and must still hold when it starts."""
    mandate: tuple[bytes, ...] = ()
    """By what right its result is kept elsewhere."""
    agreement: bytes = b""
    """The owner's X25519 key, if it was fetched with the owner's document."""
    kept_bytes: int = 0
    log: LogHead | None = None
    packed: LogsPacked | None = None
    """The logs of this attempt as they are copied, while there is no result."""
    expired: bool = False
    """Its result was kept for as long as was agreed, and is gone."""
    replicas: tuple[Placement, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the attempt is over for good."""
        return self.state is not None and is_final(self.state)

    @property
    def holding(self) -> bool:
        """Whether its resources are reserved."""
        return self.state in HOLDING

    @property
    def room(self) -> ResourceVector:
        """What it holds, or needs while it waits: a GPU that is held has its kind."""
        need = self.spec.resources
        return need.with_gpus(self.gpus) if self.holding and self.gpus else need

    @property
    def started(self) -> bool:
        """Whether a process of it may exist."""
        return self.state in STARTED

    @property
    def kept_until_s(self) -> int:
        """Until when its result or its logs are kept, unix time; 0 without either."""
        if not self.ended or (self.result is None and self.log is None):
            return 0
        return self.history[-1].at_s + self.spec.retention_s

    @property
    def previous_digest(self) -> bytes:
        """What the next notice must name as the one before it."""
        return sha256(self.notices[-1]).digest() if self.notices else b""


def apply_job(job: Job | None, fact: JobFact, sequence: int) -> Job | None:
    """Return the job after ``fact``; None once it is forgotten.

    Args:
        job: the job before, if it is known.
        fact: what happened.
        sequence: the next number in the order of acceptance.

    Raises:
        MisuseError: the fact does not fit the job.
    """
    if isinstance(fact, JobAccepted):
        return _accepted(job, fact, sequence)
    if job is None:
        raise MisuseError(f"a fact about {fact.job}, which was never accepted")
    match fact:
        case JobStaged():
            return replace(job, staged=True)
        case CancelAccepted():
            return replace(job, cancelling=True)
        case JobMoved():
            return _moved(job, fact)
        case JobForgotten():
            return None
        case ResultExpired() | ReplicaPlaced() | ReplicaLost() | LogsPacked():
            return _elsewhere(job, fact)


def _accepted(job: Job | None, fact: JobAccepted, sequence: int) -> Job:
    if job is not None and (job.owner != fact.owner or not job.ended):
        raise MisuseError(f"{fact.job} accepted twice")
    return Job(
        job=fact.job,
        owner=fact.owner,
        attempt=fact.attempt,
        spec=fact.spec,
        spec_cid=fact.spec_cid,
        accepted_s=fact.at_s,
        lease_until_s=fact.lease_until_s,
        queue_tag=fact.queue_tag,
        sequence=sequence,
        answer=fact.answer,
        staged=fact.spec.inputs is None,
        history=job.history if job else (),
        proofs=fact.proofs,
        mandate=fact.mandate,
        agreement=fact.agreement,
    )


def _elsewhere(
    job: Job, fact: ResultExpired | ReplicaPlaced | ReplicaLost | LogsPacked
) -> Job:
    if isinstance(fact, LogsPacked):
        return replace(job, packed=fact)
    if isinstance(fact, ResultExpired):
        return replace(job, expired=True, replicas=())
    others = tuple(each for each in job.replicas if each.holder != fact.holder)
    if isinstance(fact, ReplicaLost):
        return replace(job, replicas=others)
    placed = Placement(
        holder=fact.holder, peer_id=fact.peer_id, addresses=fact.addresses
    )
    return replace(job, replicas=(*others, placed))


def _moved(job: Job, fact: JobMoved) -> Job:
    if job.state is not None:
        check_move(job.state, fact.state)
    again = fact.attempt != job.attempt
    move = Move(
        state=fact.state, at_s=fact.at_s, reason=fact.reason, attempt=fact.attempt
    )
    return replace(
        job,
        attempt=fact.attempt,
        state=fact.state,
        reason=fact.reason,
        started_s=fact.at_s if fact.state is State.STARTING else job.started_s,
        exit_code=fact.exit_code if again else _newer(fact.exit_code, job.exit_code),
        limit=fact.limit or ("" if again else job.limit),
        isolation=fact.isolation or job.isolation,
        cpu_ms=fact.cpu_ms or job.cpu_ms,
        memory_peak_bytes=fact.memory_peak_bytes or job.memory_peak_bytes,
        fuel=fact.fuel or job.fuel,
        reached=fact.reached or (() if again else job.reached),
        gpus=fact.gpus or (job.gpus if fact.state in HOLDING else ()),
        result=fact.result or job.result,
        receipt=fact.receipt or job.receipt,
        kept_bytes=fact.kept_bytes or job.kept_bytes,
        log=fact.log or (None if again else job.log),
        packed=None if again or fact.result else job.packed,
        history=(*job.history, move)[-HISTORY_MAX:],
        notices=(*job.notices, fact.notice),
    )


def _newer(value: int | None, before: int | None) -> int | None:
    return before if value is None else value
