"""What a provider states about a job, in records that it signs.

All are payloads of signed statements to the job's owner. `Notice`s of one job
form a chain: each carries its sequence number from 1 and the SHA-256 of the
statement before it, so a missing or reordered one shows.
"""

from typing import Annotated, Final

import msgspec

from nunet_node.domains import DOMAINS_MAX
from nunet_node.identity.did import Did
from nunet_node.identity.errors import WrongIssuerError
from nunet_node.identity.statement import Statement, open_statement
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import REPLICAS_MAX, JobId
from nunet_node.quantities import Count, Reached, ResourceVector
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record

NOTICE: Final = "notice"
ACCEPTED: Final = "accepted"
REPORT: Final = "job-report"
RECEIPT: Final = "receipt"
CONFIRMATION: Final = "confirmation"
HELD: Final = "held"
LOG_RECEIPT: Final = "log-receipt"
"""Kinds of statement; each is part of what is signed."""

REASON_CHARS_MAX: Final = 500
"""Longest reason; enough for two sentences, and terminals stay readable."""

SEALED_KEY_BYTES_MAX: Final = 128
"""Longest sealed key: one of 32 bytes takes 80."""

HISTORY_MAX: Final = 128
"""Moves kept per job: 16 attempts of at most 8 moves each."""

Reason = Annotated[str, msgspec.Meta(max_length=REASON_CHARS_MAX)]
SealedKey = Annotated[bytes, msgspec.Meta(max_length=SEALED_KEY_BYTES_MAX)]
LogDigest = Annotated[bytes, msgspec.Meta(max_length=32)]
Attempt = Annotated[int, msgspec.Meta(ge=1, le=16)]


class Queue(Record):
    """Why a job waits: its place from 1, and when it should start."""

    position: Count
    reason: Reason
    estimate_s: Count
    """Seconds until the start if every running job takes all its time."""


class Accepted(Record):
    """The provider has taken custody of the job and will not forget it."""

    job: JobId
    owner: Did
    attempt: Attempt
    spec: Cid
    state: State
    lease_until_s: Count
    """Unix time by which the attempt has ended, whatever happens."""
    price_micro_ntx: Count = 0
    queue: Queue | None = None
    wants_inputs: bool = False


class Notice(Record):
    """The job moved."""

    job: JobId
    owner: Did
    attempt: Attempt
    sequence: Annotated[int, msgspec.Meta(ge=1)]
    previous: bytes
    """SHA-256 of the notice before it; empty on the first."""
    state: State
    at_s: Count
    reason: Reason = ""
    exit_code: int | None = None
    result: Cid | None = None
    sealed_key: SealedKey = b""
    """The result's key, so that the owner can let others read without asking."""
    link: str = ""
    queue: Queue | None = None
    log_links: Count = 0
    log_digest: LogDigest = b""
    """How far the logs go, and what they come to, where no result has them."""


class Move(Record):
    """One line of a job's history."""

    state: State
    at_s: Count
    reason: Reason = ""
    attempt: Attempt = 1


class Report(Record):
    """Where a job stands now, for whoever may ask."""

    job: JobId
    owner: Did
    name: str
    attempt: Attempt
    state: State
    resources: ResourceVector
    history: Annotated[tuple[Move, ...], msgspec.Meta(max_length=HISTORY_MAX)]
    reason: Reason = ""
    exit_code: int | None = None
    queue: Queue | None = None
    result: Cid | None = None
    sequence: Count = 0
    """Sequence number of the newest notice."""
    kept_until_s: Count = 0
    """Unix time until which the result is kept; 0 while there is none."""
    expired: bool = False
    """The result was kept for as long as was agreed, and is gone."""
    replicas: Annotated[tuple[Did, ...], msgspec.Meta(max_length=REPLICAS_MAX)] = ()
    """The nodes that keep a copy of it."""
    log_links: Count = 0
    log_digest: LogDigest = b""
    """As in the last notice."""
    wants_secrets: bool = False
    """It cannot start before its secrets are handed over, for this attempt."""


class Receipt(Record):
    """Who ran what for whom, with which result; verifiable without asking anyone."""

    job: JobId
    owner: Did
    attempt: Attempt
    spec: Cid
    state: State
    engine: str
    isolation: str
    started_s: Count
    ended_s: Count
    result: Cid
    """Tree of outputs, logs and exit record, sealed unless it is public."""
    result_bytes: Count
    """Length of its files."""
    exit_code: int | None = None
    limit: str = ""
    """Which limit ended it: ``wall``, ``memory``, ``disk``, ``files``, ``log``, ``cpu``
    or ``output``; empty if none did."""
    cpu_ms: Count = 0
    memory_peak_bytes: Count = 0
    fuel: Count = 0
    """WebAssembly instructions, the same on every machine; 0 of a native job."""
    reached: Annotated[tuple[Reached, ...], msgspec.Meta(max_length=DOMAINS_MAX)] = ()
    """What it carried to and from the domains that it was let reach."""
    sealed_key: SealedKey = b""
    """The result's key, sealed to the owner; empty if the result is public."""
    kept_until_s: Count = 0
    """Unix time until which the result is kept; 0 where nobody said."""


class LogReceipt(Record):
    """How far the logs of an attempt go that no result has, and which tree has them.

    Of two about one attempt, the one with more links is newer.
    """

    job: JobId
    owner: Did
    attempt: Attempt
    root: Cid
    """Tree of the chain's records; see docs/protocol/results.md."""
    links: Count
    digest: LogDigest
    at_s: Count
    ended: bool = False
    """The attempt is over: this is all of its logs that were kept."""


class Held(Record):
    """A copy of a job's result is kept here for its owner, or is about to be."""

    job: JobId
    owner: Did
    root: Cid
    until_s: Count
    here: bool
    """Whether all of it is on disk; else it is to be handed over now."""
    keeper: Did | None = None
    """Who looks after the copies, as far as the holder knows; of several who do, the
    custodian or else the nearest."""


class Confirmation(Record):
    """A cancel was carried out, or found the job already ended."""

    job: JobId
    owner: Did
    attempt: Attempt
    state: State
    at_s: Count
    already_ended: bool = False
    reason: Reason = ""


def open_receipt(data: bytes) -> Statement[Receipt]:
    """Read and verify a receipt, whenever it was made.

    Raises:
        PeerError: it is none, or the signature does not hold.
    """
    signed = open_statement(
        data,
        kind=RECEIPT,
        payload_type=Receipt,
        now_s=0,
        audience=None,
        check_time=False,
    )
    if signed.audience != signed.payload.owner:
        raise WrongIssuerError("the receipt is not made for the job's owner")
    return signed
