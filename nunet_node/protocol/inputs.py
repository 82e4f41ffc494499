"""What can happen to a node: facts about the world, in the past tense.

The shells make these of what they have verified; `Node.handle` decides what follows.
"""

from dataclasses import dataclass

from nunet_node.capability.invocation import Invocation
from nunet_node.capability.revocation import Revocation
from nunet_node.identity.challenge import Challenge
from nunet_node.identity.did import Did
from nunet_node.identity.statement import Statement
from nunet_node.jobs.secrets import SecretSource
from nunet_node.jobs.specification import JobId, JobSpec
from nunet_node.jobs.statements import (
    Accepted,
    Confirmation,
    Held,
    Notice,
    Receipt,
    Report,
)
from nunet_node.market.offers import (
    Advert,
    Bid,
    CallForBids,
    EngineOffer,
    Machine,
    Refusal,
)
from nunet_node.protocol.messages import (
    AdvertsWanted,
    ChallengeWanted,
    RevocationsKept,
    RevocationsWanted,
)
from nunet_node.protocol.replicas.events import ReplicaNews
from nunet_node.protocol.secrets.events import SecretsNews
from nunet_node.protocol.signing.events import SignatureNews
from nunet_node.protocol.trust.events import TrustWish
from nunet_node.quantities import Reached, ResourceVector
from nunet_node.results.logs.chain import LogHead
from nunet_node.wire.cid import Cid

SessionId = int
"""A session's number, never used twice here: odd if we dialled, even if they did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStarted:
    """The journal was read to its end, and the world may now be touched."""

    logs: tuple[tuple[JobId, int, LogHead], ...] = ()
    """How far those go of attempts under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainBegan:
    """The node was asked to stop: no new work, tell everybody."""

    kill_after_s: int
    """How long running jobs may still take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired:
    """A timer set by an effect has run out."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressesChanged:
    """The host listens on these multiaddrs, each with its peer id."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityProbed:
    """What this machine can give, as measured and as its owner allows."""

    total: ResourceVector
    engines: tuple[EngineOffer, ...]
    machine: Machine | None = None
    largest: tuple[ResourceVector, ...] = ()
    """What one job can have at most, where that is less than all there is."""
    run_s_max: int = 0
    """The longest that a job may run; 0 is for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFilled:
    """The disk has no room for new work, or has it again."""

    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened:
    """A stream with a peer is up; Noise has proved the peer's id."""

    session: SessionId
    peer_id: str
    ours: bool
    """We dialled it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFailed:
    """The peer could not be reached."""

    session: SessionId
    peer_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed:
    """The stream is gone, by either side or by the network."""

    session: SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerGone:
    """No connection with the peer is left, or its liveness probe failed."""

    peer_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvertsHeard:
    """Adverts, in answer or by gossip; those that did not verify are left out."""

    adverts: tuple[Statement[Advert], ...]
    stale: int = 0
    """How many more are genuine, but out of date or dated in the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationsHeard:
    """Revocations, by gossip or from a peer; those that did not verify are left out."""

    revocations: tuple[Revocation, ...]
    answers: bool = False
    """We asked for them."""
    more: bool = False


OpenedBody = (
    AdvertsWanted
    | AdvertsHeard
    | RevocationsWanted
    | RevocationsHeard
    | Statement[RevocationsKept]
    | ChallengeWanted
    | Invocation
    | Statement[CallForBids]
    | Statement[Bid]
    | Statement[Refusal]
    | Statement[Challenge]
    | Statement[Accepted]
    | Statement[Notice]
    | Statement[Report]
    | Statement[Receipt]
    | Statement[Held]
    | Statement[Confirmation]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameReceived:
    """A frame of a session, opened."""

    session: SessionId
    frame: int
    re: int | None
    body: OpenedBody


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRejected:
    """A frame could not be opened: the peer broke a rule, or its time is off."""

    session: SessionId
    frame: int | None
    """The frame's number, if that could be read."""
    re: int | None
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsArrived:
    """Every input block of the job is verified and on disk."""

    job: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsNotKept:
    """The job's inputs came, and could not be written here."""

    job: JobId
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """The job's first process runs."""

    job: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobExited:
    """The job's whole process tree is gone."""

    job: JobId
    attempt: int
    exit_code: int | None
    limit: str = ""
    """As in `Receipt`; ``cancelled`` by us; ``lost`` with the machine that ran it."""
    reason: str = ""
    """For people; set if it could not be run at all."""
    isolation: str = ""
    cpu_ms: int = 0
    memory_peak_bytes: int = 0
    fuel: int = 0
    """WebAssembly instructions that it took; 0 of a native job."""
    log: LogHead | None = None
    reached: tuple[Reached, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultStored:
    """Outputs, logs and exit record are in the store, on disk."""

    job: JobId
    attempt: int
    root: Cid
    size_bytes: int
    sealed_key: bytes = b""
    """The result's key, sealed to the owner; empty for a public result."""
    reason: str = ""
    """What was left out and why; empty if nothing was."""
    refused: str = ""
    """Why all outputs were left out, which fails the job."""
    kept_bytes: int = 0
    """Length of what is stored; 0 if it is what its files have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultNotStored:
    """Outputs could not be stored."""

    job: JobId
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderWanted:
    """The user of this home submits a job."""

    job: JobId
    spec: JobSpec
    salt: bytes
    owner: Did | None = None
    """Whose job it is; the first user's unless said."""
    secrets: tuple[SecretSource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowWanted:
    """Keep an order of this home going: watch it, retry it, fetch nothing."""

    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportWanted:
    """The user asks where a job stands."""

    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWanted:
    """The user asks for a job's result: the receipt, and leave to fetch it."""

    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsWanted:
    """The user asks for leave to read a job's logs."""

    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelWanted:
    """The user cancels a job."""

    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class CustodianNamed:
    """A link or a search says which DID keeps a job that this home did not submit."""

    job: JobId
    provider: str
    peer_id: str
    addresses: tuple[str, ...]
    owner: Did | None = None
    """Whose job it is, as the link says, which proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsDelivered:
    """The provider has confirmed that every input block is on its disk."""

    job: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsNotDelivered:
    """Handing over the inputs failed."""

    job: JobId
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultWritten:
    """The result was verified and stands where the user wanted it."""

    job: JobId
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourFound:
    """A peer we are connected to, worth asking what it has heard."""

    peer_id: str


Input = (
    NodeStarted
    | DrainBegan
    | TimerFired
    | AddressesChanged
    | CapacityProbed
    | StoreFilled
    | SessionOpened
    | SessionFailed
    | SessionClosed
    | PeerGone
    | AdvertsHeard
    | RevocationsHeard
    | FrameReceived
    | FrameRejected
    | InputsArrived
    | InputsNotKept
    | JobStarted
    | JobExited
    | ResultStored
    | ResultNotStored
    | OrderWanted
    | FollowWanted
    | ReportWanted
    | ReadWanted
    | LogsWanted
    | CancelWanted
    | CustodianNamed
    | TrustWish
    | InputsDelivered
    | InputsNotDelivered
    | ResultWritten
    | NeighbourFound
    | ReplicaNews
    | SecretsNews
    | SignatureNews
)
