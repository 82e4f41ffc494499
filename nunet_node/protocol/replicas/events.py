"""What the node orders about copies of results, and what it hears of them.

As everywhere, an order that ends in an answer names the input that answers it.
"""

from dataclasses import dataclass

from nunet_node.identity.did import Did
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import LogReceipt, Receipt
from nunet_node.results.logs.chain import LogHead
from nunet_node.wire.cid import Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectReplica:
    """Let this peer hand over a copy; answered by `ReplicaArrived`, if it does.

    The leave ends with the peer's connection.
    """

    job: JobId
    owner: Did
    peer_id: str
    root: Cid
    bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverReplica:
    """Hand a result over to a holder; answered by `ReplicaDelivered` or not."""

    job: JobId
    holder: Did
    peer_id: str
    root: Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSample:
    """Fetch some blocks of a copy, drawn by lot, and check them.

    Answered by `SampleTaken`. Holder and auditor agree on nothing beforehand, so that
    only who has all can always answer.
    """

    job: JobId
    holder: Did
    peer_id: str
    root: Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class DropReplica:
    """Let go of a copy; what nothing else needs is deleted."""

    job: JobId
    owner: Did


@dataclass(frozen=True, slots=True, kw_only=True)
class DropResult:
    """Let go of a job's result, whose time is over."""

    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLogs:
    """Put what an attempt wrote so far into the store as a tree, to be copied.

    Answered by `LogsStored` if it wrote anything.
    """

    job: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsStored:
    """What an attempt wrote so far stands in the store, on disk."""

    job: JobId
    attempt: int
    root: Cid
    size_bytes: int
    head: LogHead


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaArrived:
    """Every block of a copy is verified and on disk here."""

    job: JobId
    owner: Did
    root: Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDelivered:
    """A holder has confirmed that every block is on its disk."""

    job: JobId
    holder: Did


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaNotDelivered:
    """Handing a copy over failed."""

    job: JobId
    holder: Did
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTaken:
    """A holder was asked for some blocks of its copy."""

    job: JobId
    holder: Did
    fault: str = ""
    """What was wrong with what came; empty if all was right."""
    silent: bool = False
    """Nothing came, so that it may be the network's doing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaWanted:
    """The user asks a holder for a job's result, or for its logs.

    Answered like `ReadWanted`, or by `LogCopyGranted` where there are logs alone.
    """

    job: JobId
    holder: Did
    peer_id: str
    addresses: tuple[str, ...]
    logs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCopyGranted:
    """A holder has a job's logs, and they may now be read there."""

    job: JobId
    peer_id: str
    holder: Did
    receipt: LogReceipt | Receipt
    """What the job's provider signed of them, or of the result that has them."""
    receipt_data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaMoved:
    """A result that this node keeps has one copy more, or one less."""

    job: JobId
    holder: str
    placed: bool
    reason: str = ""
    logs: bool = False
    """It is a copy of logs; that of the result, which takes its place, is told too."""


ReplicaTold = LogCopyGranted | ReplicaMoved

ReplicaEffect = (
    ExpectReplica | DeliverReplica | TakeSample | DropReplica | DropResult | StoreLogs
)

ReplicaInput = (
    ReplicaArrived | ReplicaDelivered | ReplicaNotDelivered | SampleTaken | LogsStored
)

ReplicaNews = ReplicaInput | ReplicaWanted
