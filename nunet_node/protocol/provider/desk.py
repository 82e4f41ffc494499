"""What the provider's parts share: what it has, who watches, whom it owes words.

Everything here is forgotten by a restart; what must not be is in the ledger.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from nunet_node.identity.challenge import ChallengeBook
from nunet_node.identity.did import Did
from nunet_node.jobs.scheduler import Holding, Waiting, free_of, given_of
from nunet_node.jobs.specification import JobId
from nunet_node.market.offers import EngineOffer, Machine
from nunet_node.protocol.effects import EndGrants
from nunet_node.protocol.inputs import SessionId
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.sessions import Session, Sessions, Voice
from nunet_node.protocol.trust.admission import Admission
from nunet_node.protocol.turn import Turn
from nunet_node.quantities import Gpus, ResourceVector
from nunet_node.wire.cid import Cid

WATCHERS_PER_JOB_MAX: Final = 8
"""Sessions that may watch one job; an owner has few screens."""

LEANING_MAX: Final = 4_096
"""Peers that were given something under a delegation, for each delegation: as many as
a node's connections; beyond it the oldest have to ask again."""

NOTHING: Final = ResourceVector()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HeldSecrets:
    """A job's secrets for one attempt, sealed to this node."""

    attempt: int
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """Who looks after a copy, and when it asked for that last, elapsed time."""

    did: Did
    asked_ns: int


@dataclass(slots=True, kw_only=True)
class Desk:
    """The provider's working memory."""

    voice: Voice
    sessions: Sessions
    challenges: ChallengeBook
    peer_id: str
    provides: bool
    price_micro_ntx: int
    store_bytes: int = 0
    """Room for copies of others' results, as the node's owner allows."""
    admission: Admission = field(default_factory=Admission)
    total: ResourceVector = NOTHING
    engines: tuple[EngineOffer, ...] = ()
    machine: Machine | None = None
    domains: tuple[str, ...] = ()
    """What jobs may be let reach over HTTP, as the node's owner allows."""
    largest: tuple[ResourceVector, ...] = ()
    """What one job can have at most; all of `total` if empty."""
    run_s_max: int = 0
    """The longest that one job may run; 0 is for ever."""
    addresses: tuple[str, ...] = ()
    awake: bool = False
    """The journal was read to its end; nothing may start before."""
    draining: bool = False
    full: bool = False
    """The disk has no room for new work."""
    watchers: dict[JobId, set[SessionId]] = field(default_factory=dict)
    cancels: dict[JobId, list[tuple[SessionId, int]]] = field(default_factory=dict)
    """Cancel commands whose confirmation waits for the process tree to die."""
    agreement_secret: bytes = field(default=b"", repr=False)
    """The node's secret X25519 key, to which secrets are sealed."""
    secrets: dict[JobId, HeldSecrets] = field(default_factory=dict)
    """Those of jobs that have not started; see `protocol.secrets.holding`."""
    keepers: dict[tuple[Did, JobId], Keeper] = field(default_factory=dict)
    """Who looks after each copy that is kept here."""
    acting: set[tuple[Did, JobId]] = field(default_factory=set)
    """The copies of which this node looks after the others, their custodian gone."""
    leaning: OrderedDict[tuple[Cid, str], None] = field(default_factory=OrderedDict)
    """Which peers were given something under which delegation."""

    def engine(self, name: str) -> EngineOffer | None:
        """Return the engine of this name, if it is offered."""
        return next((e for e in self.engines if e.engine == name), None)

    def free(self, turn: Turn) -> ResourceVector:
        """Return what no job has reserved."""
        held = (j.room for j in turn.ledger.active_jobs() if j.holding)
        return free_of(self.total, held)

    def gpus_for(self, turn: Turn, job: Job) -> tuple[Gpus, ...]:
        """Return which kinds of GPU a job gets if it is given room now."""
        given = given_of(job.spec.resources, self.free(turn), self.largest)
        return () if given is None else given.gpu_kinds

    @property
    def serves(self) -> bool:
        """Whether others have a reason to command anything here."""
        return self.provides or self.store_bytes > 0

    def store_free_bytes(self, turn: Turn) -> int:
        """Return the room for copies that none has taken."""
        taken = sum(each.room_bytes for each in turn.ledger.replicas.values())
        return 0 if self.draining else max(0, self.store_bytes - taken)

    def waiting(self, turn: Turn) -> tuple[Waiting, ...]:
        """Return the queue as the scheduler sees it."""
        jobs = turn.ledger.active_jobs()
        return tuple(self.as_waiting(job) for job in jobs if not job.holding)

    def as_waiting(self, job: Job) -> Waiting:
        """Return one job as the scheduler sees it."""
        return Waiting(
            job=job.job,
            tag=job.queue_tag,
            sequence=job.sequence,
            need=job.spec.resources,
            run_s=job.spec.timeouts.run_s,
            ready=self.ready(job),
        )

    def holding(self, turn: Turn) -> tuple[Holding, ...]:
        """Return the jobs that have room, and for how long at most."""
        return tuple(
            Holding(need=job.room, ends_in_s=_ends_in_s(job, turn))
            for job in turn.ledger.active_jobs()
            if job.holding
        )

    def ready(self, job: Job) -> bool:
        """Tell whether nothing but room keeps the job from starting."""
        offer = self.engine(job.spec.engine)
        can_run = offer is not None and offer.ready and self._could_hold(job)
        here = job.staged and not self.wants_secrets(job)
        return here and not job.cancelling and can_run

    def secrets_of(self, job: Job) -> bytes:
        """Return the sealed secrets of the attempt that stands, if they are here."""
        held = self.secrets.get(job.job)
        return held.sealed if held and held.attempt == job.attempt else b""

    def wants_secrets(self, job: Job) -> bool:
        """Tell whether the job cannot start before its secrets are handed over."""
        named = bool(job.spec.secrets) and not job.started and not job.ended
        return named and not self.secrets_of(job)

    def _could_hold(self, job: Job) -> bool:
        """Tell whether a machine of the cluster could hold the job if it were empty.

        What has its room already is started, and then judged by who starts it.
        """
        fits = (job.spec.resources.fits(room) for room in self.largest)
        return job.holding or not self.largest or any(fits)

    def watch(self, session: Session, job: Job) -> None:
        """Let a session hear every further notice of a job."""
        watchers = self.watchers.setdefault(job.job, set())
        while len(watchers) >= WATCHERS_PER_JOB_MAX:
            watchers.discard(min(watchers))
        watchers.add(session.id)

    def unwatch(self, session: SessionId) -> None:
        """Forget a session that is gone."""
        for name, watchers in list(self.watchers.items()):
            watchers.discard(session)
            if not watchers:
                del self.watchers[name]

    def lean(self, turn: Turn, peer_id: str, cids: Iterable[Cid]) -> None:
        """Note that what a peer was given ends with these delegations."""
        for cid in cids:
            self.leaning[cid, peer_id] = None
            if len(self.leaning) > LEANING_MAX:
                self._end(turn, self.leaning.popitem(last=False)[0][1])

    def end_leaning(self, turn: Turn, cids: Iterable[Cid]) -> None:
        """End whatever was given under these delegations."""
        void = set(cids)
        for peer_id in {peer for cid, peer in self.leaning if cid in void}:
            self._end(turn, peer_id)

    def unlean(self, peer_id: str) -> None:
        """Forget what a peer was given, because it is gone."""
        for key in [key for key in self.leaning if key[1] == peer_id]:
            del self.leaning[key]

    def _end(self, turn: Turn, peer_id: str) -> None:
        turn.do(EndGrants(peer_id=peer_id))
        for session in self.sessions.of_peer(peer_id):
            if not session.ours:
                self.unwatch(session.id)
                self.sessions.close(turn, session.id)
        self.unlean(peer_id)

    def queue_reason(self, job: Job) -> str:
        """Return in words why a job waits if it is not for room; else nothing."""
        offer = self.engine(job.spec.engine)
        if not job.staged:
            return "its inputs have not all arrived"
        if self.wants_secrets(job):
            return "its secrets have not been handed over"
        if offer is None or not offer.ready:
            return f"engine {job.spec.engine} is being prepared"
        if not self._could_hold(job):
            return "no machine that is offered here now is large enough"
        return ""


def _ends_in_s(job: Job, turn: Turn) -> int:
    begun = job.started_s or turn.now.unix_s
    return max(1, begun + job.spec.timeouts.run_s - turn.now.unix_s)
