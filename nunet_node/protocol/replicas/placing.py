"""Having results kept elsewhere: choosing holders, auditing them, replacing them.

The custodian of a job asks holders in an order that anybody can compute from the job's
id and the adverts, so that the owner finds a copy without having been told where it is
(rendezvous hashing: Thaler and Ravishankar, 1998). One command places a copy and
checks up on it: a holder that says that it has all of it is asked for some blocks, and
one that has lost it, serves wrong bytes, or is silent for long is replaced.

Rule: a copy counts only when the holder has confirmed that all of it is on its disk.
What is under way is forgotten by a restart and begun again; what is kept is recorded.
"""

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from nunet_node.capability.delegation import open_delegation
from nunet_node.identity.did import Did
from nunet_node.identity.statement import Statement
from nunet_node.jobs.specification import REPLICAS_MAX, JobId
from nunet_node.jobs.statements import REASON_CHARS_MAX, Held
from nunet_node.market.offers import ADDRESSES_MAX, Advert
from nunet_node.protocol.effects import ReplicaMoved
from nunet_node.protocol.facts import ReplicaLost, ReplicaPlaced
from nunet_node.protocol.messages import KEEP
from nunet_node.protocol.provider.custody import Job, Placement
from nunet_node.protocol.provider.desk import Desk
from nunet_node.protocol.replicas.events import (
    DeliverReplica,
    ReplicaDelivered,
    ReplicaNotDelivered,
    SampleTaken,
    TakeSample,
)
from nunet_node.protocol.requester import errands
from nunet_node.protocol.requester.memory import Errand, Mandate, Memory, Outcome
from nunet_node.protocol.turn import Turn

AUDIT_S: Final = 3600
"""Time between audits of one copy: at four blocks each, ten thousand copies take three
audits a second."""

AUDIT_AGAIN_S: Final = 300
"""Pause before a silent holder is asked again."""

SILENCES_MAX: Final = 3
"""Audits in a row that may go unanswered: a restart or a short journey fits in, a
machine that is gone is replaced in a quarter of an hour after that."""

PLACE_AGAIN_S: Final = 20
"""Pause before holders are looked for again when too few were found."""

AVOIDED_S: Final = 600
"""How long a node that refused or failed is not asked again about one result."""

HANDING_S: Final = 600
"""Time in which one conversation with a holder has ended, one way or the other."""

HANDING_BYTES_PER_S: Final = 64 << 10
"""Slowest hand-over, by which large results get more time."""

SETTLING_S: Final = 60
"""Time after a start before holders are audited: others are starting too."""

NEAREST_MAX: Final = 2 * REPLICAS_MAX
"""Nodes among which the owner of a result looks for a copy of it."""


class Phase(Enum):
    """How things stand with one holder about one result."""

    KEPT = auto()
    """It keeps a copy, and is audited when that is due."""
    BUSY = auto()
    """Something is under way, and given up when that is due."""
    AVOIDED = auto()
    """It refused or failed; it may be asked again when that is due."""


@dataclass(slots=True, kw_only=True)
class Dealing:
    """What is under way with one holder about one result."""

    placement: Placement
    phase: Phase
    due_ns: int
    silences: int = 0


@dataclass(slots=True, kw_only=True)
class Placing:
    """The custodian's care for the copies of its results."""

    desk: Desk
    memory: Memory
    dealings: dict[JobId, dict[Did, Dealing]] = field(default_factory=dict)

    def look_after(self, turn: Turn, job: Job) -> int | None:
        """Do what is due for one result; return when to look again, elapsed time."""
        if not job.spec.replicas or job.expired or job.result is None:
            self.dealings.pop(job.job, None)
            return None
        dealings = self.dealings.setdefault(job.job, {})
        for placement in job.replicas:
            if placement.holder not in dealings:
                dealings[placement.holder] = Dealing(
                    placement=placement,
                    phase=Phase.KEPT,
                    due_ns=turn.after_s(SETTLING_S),
                )
        for dealing in list(dealings.values()):
            if dealing.due_ns <= turn.now.elapsed_ns:
                self._due(turn, job, dealing)
        job = turn.ledger.jobs[job.job]
        self._find(turn, job, dealings)
        dues = [each.due_ns for each in dealings.values()]
        if len(job.replicas) < job.spec.replicas:
            dues.append(turn.after_s(PLACE_AGAIN_S))
        return min(dues)

    def ended(self, turn: Turn, outcome: Outcome) -> None:
        """Take a holder's answer, or that there is none."""
        errand = outcome.errand
        dealing = self._busy(errand.job, errand.provider)
        job = turn.ledger.jobs.get(errand.job)
        if dealing is None or job is None or job.result is None:
            return
        said = outcome.answer.payload if outcome.answer is not None else None
        if outcome.unreachable:
            self._silent(turn, job, dealing, outcome.unreachable)
        elif not isinstance(said, Held) or (said.job, said.root) != (
            job.job,
            job.result,
        ):
            why = outcome.refusal.reason if outcome.refusal else "answered wrongly"
            self._failed(turn, job, dealing, why)
        elif said.here:
            order = TakeSample(
                job=job.job,
                holder=errand.provider,
                peer_id=errand.peer_id,
                root=job.result,
            )
            turn.do(order)
        elif dealing.placement in job.replicas:
            self._failed(turn, job, dealing, "it no longer has the copy")
        else:
            self._hand_over(turn, job, dealing)

    def delivered(
        self, turn: Turn, given: ReplicaDelivered | ReplicaNotDelivered
    ) -> None:
        """A holder has all of a copy, or handing it over failed."""
        dealing, job = self._busy(given.job, given.holder), self._job(turn, given.job)
        if dealing is None or job is None:
            return
        if isinstance(given, ReplicaDelivered):
            self._kept(turn, job, dealing)
        else:
            self._failed(turn, job, dealing, given.reason)

    def sampled(self, turn: Turn, given: SampleTaken) -> None:
        """A holder was audited."""
        dealing, job = self._busy(given.job, given.holder), self._job(turn, given.job)
        if dealing is None or job is None:
            return
        if not given.fault:
            self._kept(turn, job, dealing)
        elif given.silent:
            self._silent(turn, job, dealing, given.fault)
        else:
            self._failed(turn, job, dealing, given.fault)

    def _busy(self, job: JobId, holder: Did) -> Dealing | None:
        dealing = self.dealings.get(job, {}).get(holder)
        return dealing if dealing and dealing.phase is Phase.BUSY else None

    def _job(self, turn: Turn, name: JobId) -> Job | None:
        job = turn.ledger.jobs.get(name)
        return job if job is not None and job.result is not None else None

    def _due(self, turn: Turn, job: Job, dealing: Dealing) -> None:
        match dealing.phase:
            case Phase.KEPT:
                self._ask(turn, job, dealing)
            case Phase.BUSY:
                self._silent(turn, job, dealing, "it did not answer in time")
            case Phase.AVOIDED:
                del self.dealings[job.job][dealing.placement.holder]

    def _find(self, turn: Turn, job: Job, dealings: Mapping[Did, Dealing]) -> None:
        """Ask as many more holders as are lacking."""
        kept = {each.holder for each in job.replicas}
        asked = [
            did
            for did, each in dealings.items()
            if each.phase is Phase.BUSY and did not in kept
        ]
        lacking = job.spec.replicas - len(kept) - len(asked)
        if lacking <= 0:
            return
        offers = (
            heard
            for heard in self.memory.adverts.fresh(turn.now.unix_s)
            if heard.payload.store_free_bytes >= job.kept_bytes
            and heard.payload.store_bytes
            and heard.issuer not in dealings
        )
        for heard in nearest(job.job, offers, lacking):
            placement = Placement(
                holder=heard.issuer,
                peer_id=heard.payload.peer_id,
                addresses=heard.payload.addresses,
            )
            dealing = Dealing(placement=placement, phase=Phase.BUSY, due_ns=0)
            self.dealings[job.job][heard.issuer] = dealing
            self._ask(turn, job, dealing)

    def _ask(self, turn: Turn, job: Job, dealing: Dealing) -> None:
        wait_s = HANDING_S + job.kept_bytes // HANDING_BYTES_PER_S
        dealing.phase, dealing.due_ns = Phase.BUSY, turn.after_s(wait_s)
        to = dealing.placement
        heard = self.memory.adverts.of_provider(to.holder, turn.now.unix_s)
        newest = heard.payload.addresses if heard else ()
        errand = Errand(
            job=job.job,
            command=KEEP,
            provider=to.holder,
            peer_id=to.peer_id,
            addresses=tuple(dict.fromkeys((*newest, *to.addresses))),
            mandate=Mandate(
                signer=self.desk.voice.signer,
                subject=job.owner,
                proofs=tuple(map(open_delegation, job.mandate)),
            ),
            args={
                "job": job.job,
                "attempt": job.attempt,
                "root": job.result,
                "size_bytes": job.kept_bytes,
                "until_s": job.kept_until_s,
                "receipt": job.receipt,
            },
        )
        errands.launch(self.memory, turn, errand)

    def _hand_over(self, turn: Turn, job: Job, dealing: Dealing) -> None:
        to = dealing.placement
        assert job.result is not None  # noqa: S101 - for the type checker
        turn.do(
            DeliverReplica(
                job=job.job, holder=to.holder, peer_id=to.peer_id, root=job.result
            )
        )

    def _kept(self, turn: Turn, job: Job, dealing: Dealing) -> None:
        dealing.phase, dealing.silences = Phase.KEPT, 0
        dealing.due_ns = turn.after_s(AUDIT_S)
        to = dealing.placement
        if any(each.holder == to.holder for each in job.replicas):
            return
        placed = ReplicaPlaced(
            job=job.job,
            holder=to.holder,
            peer_id=to.peer_id,
            addresses=to.addresses[:ADDRESSES_MAX],
            at_s=turn.now.unix_s,
        )
        turn.record(placed)
        turn.tell(ReplicaMoved(job=job.job, holder=to.holder, placed=True))

    def _silent(self, turn: Turn, job: Job, dealing: Dealing, reason: str) -> None:
        """Ask a holder again that may be back soon; go elsewhere if it is not."""
        dealing.silences += 1
        placed = dealing.placement in job.replicas
        if placed and dealing.silences < SILENCES_MAX:
            dealing.phase = Phase.KEPT
            dealing.due_ns = turn.after_s(AUDIT_AGAIN_S)
        else:
            self._failed(turn, job, dealing, reason)

    def _failed(self, turn: Turn, job: Job, dealing: Dealing, reason: str) -> None:
        """Count a holder's copy as lost, and do not ask it again soon."""
        dealing.phase, dealing.due_ns = Phase.AVOIDED, turn.after_s(AVOIDED_S)
        holder = dealing.placement.holder
        if not any(each.holder == holder for each in job.replicas):
            return
        lost = ReplicaLost(
            job=job.job,
            holder=holder,
            reason=reason[:REASON_CHARS_MAX],
            at_s=turn.now.unix_s,
        )
        turn.record(lost)
        turn.tell(
            ReplicaMoved(job=job.job, holder=holder, placed=False, reason=lost.reason)
        )


def nearest(
    job: JobId, offers: Iterable[Statement[Advert]], count: int
) -> list[Statement[Advert]]:
    """Return the nodes that keep a job's copies first, the first of all first."""

    def distance(heard: Statement[Advert]) -> bytes:
        return hashlib.sha256(f"{job}|{heard.issuer}".encode()).digest()

    return heapq.nsmallest(count, offers, key=distance)
