"""What a node never forgets: the entries of its journal.

Rule: `apply` changes durable state from these and from nothing else, and decides
nothing, so that replaying a journal cannot re-decide history. A provider's facts
stand in the stream ``node``; the facts of an order stand in the order's own.
"""

from typing import Annotated, Final

import msgspec

from nunet_node.capability.held.terms import Budget
from nunet_node.domains import DOMAINS_MAX
from nunet_node.identity.did import Did
from nunet_node.jobs.lifecycle import State, is_final
from nunet_node.jobs.secrets import SecretSource
from nunet_node.jobs.specification import SECRETS_MAX, JobId, JobSpec
from nunet_node.jobs.statements import Accepted, Attempt, Confirmation, Notice
from nunet_node.market.offers import ADDRESSES_MAX
from nunet_node.quantities import KINDS_MAX, Count, Gpus, Reached
from nunet_node.results.logs.chain import LogHead
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import Record

NODE_STREAM: Final = "node"

FACT_BYTES_MAX: Final = 1 << 20
"""Largest fact: an accepted specification fills at most a frame of 256 KiB."""

AGREEMENT_BYTES: Final = 32
"""Length of an X25519 key."""

LINKS_MAX: Final = 16
"""Delegations that one job leans on: its owner's chain and the one that admits it."""


class ProofUsed(Record):
    """A delegation without which the job would not have been accepted."""

    cid: Cid
    expires_at_s: Count | None = None
    budget: Budget | None = None
    """What may be used under it here, of which the job is a part."""


class JobAccepted(Record, tag_field="fact", tag="job-accepted"):
    """This provider took custody of an attempt at a job."""

    job: JobId
    owner: Did
    attempt: Attempt
    spec: JobSpec
    spec_cid: Cid
    at_s: Count
    lease_until_s: Count
    queue_tag: Count
    answer: bytes
    """The signed acceptance, so that a retry hears the very same words."""
    proofs: Annotated[tuple[ProofUsed, ...], msgspec.Meta(max_length=LINKS_MAX)] = ()
    mandate: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=LINKS_MAX)] = ()
    """The owner's delegations to this provider to have the result kept elsewhere."""
    agreement: Annotated[bytes, msgspec.Meta(max_length=AGREEMENT_BYTES)] = b""
    """The X25519 key that the owner's document named; empty of a DID that carries its
    own, and of a document without one."""


class JobStaged(Record, tag_field="fact", tag="job-staged"):
    """Every input block of the job is on disk."""

    job: JobId


class JobMoved(Record, tag_field="fact", tag="job-moved"):
    """A job of this provider changed state, and its owner is to be told."""

    job: JobId
    attempt: Attempt
    state: State
    at_s: Count
    notice: bytes
    reason: str = ""
    exit_code: int | None = None
    limit: str = ""
    isolation: str = ""
    cpu_ms: Count = 0
    memory_peak_bytes: Count = 0
    fuel: Count = 0
    result: Cid | None = None
    sealed_key: bytes = b""
    receipt: bytes | None = None
    kept_bytes: Count = 0
    """Length of the result as it is stored."""
    gpus: Annotated[tuple[Gpus, ...], msgspec.Meta(max_length=KINDS_MAX)] = ()
    """The kinds of GPU that the job got with its room."""
    log: LogHead | None = None
    """How far its logs go, which no result has."""
    reached: Annotated[tuple[Reached, ...], msgspec.Meta(max_length=DOMAINS_MAX)] = ()


class CancelAccepted(Record, tag_field="fact", tag="cancel-accepted"):
    """The owner cancelled: from here on the job never starts."""

    job: JobId
    at_s: Count


class JobForgotten(Record, tag_field="fact", tag="job-forgotten"):
    """An ended job left the ledger to make room."""

    job: JobId


class ResultExpired(Record, tag_field="fact", tag="result-expired"):
    """A result was kept for as long as was agreed."""

    job: JobId
    at_s: Count


class LogsPacked(Record, tag_field="fact", tag="logs-packed"):
    """What an attempt without a result wrote stands in the store, to be copied."""

    job: JobId
    attempt: Attempt
    root: Cid
    size_bytes: Count
    at_s: Count
    receipt: bytes
    """The signed log receipt."""
    links: Count
    """How far these logs go."""
    ended: bool = False
    """The attempt is over, and these are all."""


class ReplicaPlaced(Record, tag_field="fact", tag="replica-placed"):
    """Another node keeps a copy of a result of ours."""

    job: JobId
    holder: Did
    peer_id: str
    addresses: Annotated[tuple[str, ...], msgspec.Meta(max_length=ADDRESSES_MAX)]
    at_s: Count


class ReplicaLost(Record, tag_field="fact", tag="replica-lost"):
    """A holder has lost its copy, withholds it, or is gone."""

    job: JobId
    holder: Did
    reason: str
    at_s: Count


class ReplicaTaken(Record, tag_field="fact", tag="replica-taken"):
    """This node agreed to keep a copy of a result that somebody else keeps."""

    job: JobId
    owner: Did
    attempt: Attempt
    root: Cid
    size_bytes: Count
    until_s: Count
    at_s: Count
    receipt: bytes
    """The custodian's signed receipt, for whoever reads the copy."""
    logs: bool = False
    """It is of logs that no result has, and the receipt a log receipt."""
    mandate: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=LINKS_MAX)] = ()
    """The delegations by which this node may have it kept elsewhere, if need be."""
    copies: Count = 0
    """How many copies there are to be."""
    place: Count = 0
    """How many others look after the copies before this node does."""
    custodian: Did | None = None
    """Who signed the receipt."""


class ReplicaKept(Record, tag_field="fact", tag="replica-kept"):
    """Every block of the copy is on disk."""

    job: JobId
    owner: Did


class ReplicaStayed(Record, tag_field="fact", tag="replica-stayed"):
    """What was to take the place of a copy never came whole, so the copy stays."""

    job: JobId
    owner: Did


class ReplicaDropped(Record, tag_field="fact", tag="replica-dropped"):
    """A copy is kept no longer."""

    job: JobId
    owner: Did
    reason: str
    at_s: Count


class RevocationKept(Record, tag_field="fact", tag="revocation-kept"):
    """A delegation is void here for ever."""

    cid: Cid
    at_s: Count
    data: bytes
    """The revocation itself, as signed, to be passed on."""
    keep_until_s: Count | None = None
    """When it would have expired anyway, and a margin; None is never."""


class OrderPlaced(Record, tag_field="fact", tag="order-placed"):
    """The user of this home wants a job done."""

    job: JobId
    owner: Did
    spec: JobSpec
    salt: bytes
    at_s: Count
    secrets: Annotated[
        tuple[SecretSource, ...], msgspec.Meta(max_length=SECRETS_MAX)
    ] = ()
    """Where its secrets are read from, each time they are handed over."""


class BidKept(Record, tag_field="fact", tag="bid-kept"):
    """How a provider answered the call, for ``status`` to tell."""

    job: JobId
    provider: Did
    price_micro_ntx: Count | None = None
    refused: str = ""


class AwardIntended(Record, tag_field="fact", tag="award-intended"):
    """We are about to submit to this provider; it may accept and we not hear it."""

    job: JobId
    attempt: Attempt
    provider: Did
    peer_id: str
    addresses: tuple[str, ...]
    at_s: Count


class AwardAccepted(Record, tag_field="fact", tag="award-accepted"):
    """The provider signed that it has custody."""

    job: JobId
    attempt: Attempt
    accepted: Accepted
    data: bytes
    """The statement itself, as signed."""
    at_s: Count


class AwardDropped(Record, tag_field="fact", tag="award-dropped"):
    """The provider refused, or its attempt is given up."""

    job: JobId
    attempt: Attempt
    reason: str
    at_s: Count
    lost: bool = False
    """Given up in silence: the provider may have it, so the next has a new number."""


class InputsHanded(Record, tag_field="fact", tag="inputs-handed"):
    """The provider has all inputs; it needs us no more."""

    job: JobId
    attempt: Attempt


class SecretsHanded(Record, tag_field="fact", tag="secrets-handed"):
    """The provider was given the secrets of one of its attempts."""

    job: JobId
    attempt: Attempt
    """The award's."""
    for_attempt: Attempt
    """What they were sealed for: that, or one that the provider began by itself."""


class NoticeKept(Record, tag_field="fact", tag="notice-kept"):
    """A notice of the custodian, verified and in order."""

    job: JobId
    notice: Notice
    data: bytes
    """The statement itself, as signed."""


class OrderEnded(Record, tag_field="fact", tag="order-ended"):
    """The order ended on our side, without or beyond the custodian's word."""

    job: JobId
    state: State
    reason: str
    at_s: Count


class CancelIntended(Record, tag_field="fact", tag="cancel-intended"):
    """The user cancels; until it is confirmed we go on trying."""

    job: JobId
    at_s: Count


class CancelKept(Record, tag_field="fact", tag="cancel-kept"):
    """The custodian's signed confirmation."""

    job: JobId
    confirmation: Confirmation
    data: bytes
    """The statement itself, as signed."""


class ResultFetched(Record, tag_field="fact", tag="result-fetched"):
    """The result was verified and written where the user wanted it."""

    job: JobId
    path: str
    at_s: Count


class CustodianKept(Record, tag_field="fact", tag="custodian-kept"):
    """Where to reach a job's custodian now."""

    job: JobId
    provider: Did
    peer_id: str
    addresses: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)]
    owner: Did | None = None
    """Whose it is, as the link says, which proves nothing."""


JobFact = (
    JobAccepted
    | JobStaged
    | JobMoved
    | CancelAccepted
    | JobForgotten
    | ResultExpired
    | LogsPacked
    | ReplicaPlaced
    | ReplicaLost
)

ReplicaFact = ReplicaTaken | ReplicaKept | ReplicaStayed | ReplicaDropped

ProviderFact = JobFact | ReplicaFact | RevocationKept

OrderFact = (
    OrderPlaced
    | BidKept
    | AwardIntended
    | AwardAccepted
    | AwardDropped
    | InputsHanded
    | SecretsHanded
    | NoticeKept
    | OrderEnded
    | CancelIntended
    | CancelKept
    | ResultFetched
    | CustodianKept
)

Fact = ProviderFact | OrderFact


def is_repeatable(fact: Fact) -> bool:
    """Tell whether a fact that a power cut takes can be had again.

    Such is a provider's word that is not its last: whoever asks for it again hears it
    again. What follows from it, with or without the record, is the same. Our own
    decisions are not, nor is anything that a provider decided.
    """
    match fact:
        case NoticeKept(notice=notice):
            return not is_final(notice.state)
        case BidKept() | AwardAccepted() | InputsHanded() | SecretsHanded():
            return True
        case _:
            return False


def stream_of(fact: Fact) -> str:
    """Return the journal stream in which the fact stands."""
    return NODE_STREAM if isinstance(fact, ProviderFact) else fact.job
