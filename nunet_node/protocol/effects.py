"""What a node orders the world to do; the shells carry it out and decide nothing.

Effects of one input are performed in order, after the facts decided with them
are on disk. Each order that ends in an answer names the input that answers it. What
every advert of the network makes anew is a struct, which costs a tenth to make.
"""

from dataclasses import dataclass

import msgspec

from nunet_node.jobs.specification import JobId, JobSpec
from nunet_node.jobs.statements import Confirmation, Notice, Receipt, Report
from nunet_node.market.offers import Bid, Refusal
from nunet_node.protocol.inputs import SessionId
from nunet_node.protocol.replicas.events import ReplicaEffect, ReplicaTold
from nunet_node.protocol.secrets.events import SealSecrets, SecretsAwaited
from nunet_node.protocol.signing.events import SignatureEffect
from nunet_node.protocol.trust.events import TrustNews
from nunet_node.quantities import Gpus
from nunet_node.results.logs.chain import LogHead
from nunet_node.wire.cid import Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """Reach a peer; answered by `SessionOpened` or `SessionFailed`."""

    session: SessionId
    peer_id: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseSession:
    """Finish a stream; answered by `SessionClosed`."""

    session: SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send one frame; it may be lost with its session, never altered."""

    session: SessionId
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Gossip an advert; best effort."""

    topic: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Answer with `TimerFired` then; a timer of the same name is replaced."""

    name: str
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTimer:
    """Forget a timer; a name that is not set is no error."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectInputs:
    """Let this peer hand over these blocks; answered by `InputsArrived`.

    The leave ends with the peer's connection, and is given again on a retry. If the
    store has every block already the answer comes at once.
    """

    job: JobId
    attempt: int
    peer_id: str
    root: Cid
    bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartJob:
    """Run it; answered by `JobStarted`, then `JobExited`; or `JobExited` alone."""

    job: JobId
    attempt: int
    owner: str
    spec: JobSpec
    gpus: tuple[Gpus, ...] = ()
    """The kinds of GPU that it holds."""
    secrets: bytes = b""
    """Its secrets, sealed to this node for this attempt; empty if it names none."""
    agreement: bytes = b""
    """The owner's X25519 key, where the owner's DID does not carry it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopJob:
    """Kill its whole process tree; answered by `JobExited` with ``cancelled``.

    Carried out even if the job ends at the same moment; one `JobExited` comes.
    """

    job: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreResult:
    """Collect and store what the job left; answered by `ResultStored` or not."""

    job: JobId
    attempt: int
    spec: JobSpec
    exit_code: int | None
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardScratch:
    """Remove the job's directory; ends a `StoreResult` that is under way."""

    job: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRead:
    """Let this peer read the blocks under ``root`` while it stays connected."""

    peer_id: str
    job: JobId
    root: Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantLogs:
    """Let this peer follow the job's logs while it stays connected."""

    peer_id: str
    job: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndGrants:
    """End everything that this peer may read or follow; it may ask anew."""

    peer_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverInputs:
    """Hand the order's inputs to its provider; answered by `InputsDelivered`."""

    job: JobId
    attempt: int
    peer_id: str
    root: Cid


class Tell(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person, or a program watching, wants to know."""

    news: "News"


class ProviderHeard(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's advert is new, or changed."""

    provider: str
    peer_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockDoubted:
    """All that a peer had to say is out of date by our clock, or in its future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A call for bids went out to this many providers."""

    job: JobId
    providers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BidCounted:
    """A provider answered the call."""

    job: JobId
    provider: str
    bid: Bid | None
    refusal: Refusal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaced:
    """Nobody takes the job for now; it is offered again till its queue time is over."""

    job: JobId
    queue_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureWanted:
    """A command waits for a program, or a person, to sign it."""

    job: JobId
    did: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenged:
    """A provider asked us to prove our DID, and we did."""

    job: JobId
    provider: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanged:
    """The order's record is newer; read it for the details."""

    job: JobId
    notice: Notice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAccepted:
    """A provider took custody; with its inputs handed over, nothing needs us."""

    job: JobId
    provider: str
    staged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderUnreachable:
    """The custodian cannot be reached; we go on trying."""

    job: JobId
    provider: str
    reason: str
    lost: bool
    """We have tried for longer than a node may be silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportReceived:
    """The custodian says where the job stands."""

    job: JobId
    provider: str
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadGranted:
    """The result may now be fetched from this peer, on this connection."""

    job: JobId
    peer_id: str
    receipt: Receipt
    receipt_data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsGranted:
    """The logs may now be read from this peer, on this connection."""

    job: JobId
    peer_id: str
    attempt: int
    head: LogHead | None = None
    """What the provider signed of them, if the job ended without a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelConfirmed:
    """The custodian confirms, signed."""

    job: JobId
    confirmation: Confirmation
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRefused:
    """A provider refused a command of ours, signed."""

    job: JobId
    command: str
    provider: str
    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMovedHere:
    """A job that this node keeps has moved."""

    job: JobId
    owner: str
    attempt: int
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskChanged:
    """The disk has no room for new work, or has it again."""

    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """Nothing is left to do before stopping."""


News = (
    ProviderHeard
    | ClockDoubted
    | Called
    | BidCounted
    | Unplaced
    | SignatureWanted
    | Challenged
    | OrderChanged
    | OrderAccepted
    | SecretsAwaited
    | ProviderUnreachable
    | ReportReceived
    | ReadGranted
    | LogsGranted
    | CancelConfirmed
    | CommandRefused
    | TrustNews
    | JobMovedHere
    | ReplicaTold
    | DiskChanged
    | Drained
)

Effect = (
    OpenSession
    | CloseSession
    | Send
    | Publish
    | SetTimer
    | CancelTimer
    | ExpectInputs
    | StartJob
    | StopJob
    | StoreResult
    | DiscardScratch
    | GrantRead
    | GrantLogs
    | EndGrants
    | DeliverInputs
    | SealSecrets
    | ReplicaEffect
    | SignatureEffect
    | Tell
)
