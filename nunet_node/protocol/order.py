"""A submitting peer's durable record of one job: what was wanted, said and done.

`apply_order` is the only function that changes an `Order`, and it takes facts
alone; so any process of the same home that reads the journal sees the same.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, assert_never

from nunet_node.errors import MisuseError
from nunet_node.identity.did import Did
from nunet_node.jobs.lifecycle import State, is_final
from nunet_node.jobs.secrets import SecretSource
from nunet_node.jobs.specification import JobId, JobSpec
from nunet_node.jobs.statements import Accepted, Confirmation, Move, Notice, Queue
from nunet_node.protocol.facts import (
    AwardAccepted,
    AwardDropped,
    AwardIntended,
    BidKept,
    CancelIntended,
    CancelKept,
    CustodianKept,
    InputsHanded,
    NoticeKept,
    OrderEnded,
    OrderFact,
    OrderPlaced,
    ResultFetched,
    SecretsHanded,
)
from nunet_node.wire.cid import Cid

BIDS_KEPT_MAX: Final = 64
"""Answers kept per order: the widest call, several attempts over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Award:
    """One attempt with one provider."""

    attempt: int
    provider: Did
    peer_id: str
    addresses: tuple[str, ...]
    at_s: int
    accepted: Accepted | None = None
    inputs_handed: bool = False
    secrets_for: int = 0
    """The newest attempt whose secrets the provider was given."""
    dropped: str | None = None
    """Why the attempt was given up, if it was."""
    lost: bool = False
    """It was given up without a word of the provider, who may have it still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One job, as the side that wants it knows it."""

    job: JobId
    owner: Did | None = None
    spec: JobSpec | None = None
    """Absent for a job that another home submitted."""
    claimed_owner: Did | None = None
    """Whose it is as a link says, until somebody who knows has said it."""
    salt: bytes = b""
    secrets: tuple[SecretSource, ...] = ()
    placed_s: int = 0
    bids: tuple[BidKept, ...] = ()
    award: Award | None = None
    notice: Notice | None = None
    """The newest notice of the current attempt's custodian."""
    notice_digest: bytes = b""
    """SHA-256 of the statement that carried it."""
    state: State = State.QUEUED
    reason: str = ""
    exit_code: int | None = None
    queue: Queue | None = None
    result: Cid | None = None
    link: str = ""
    history: tuple[Move, ...] = ()
    cancel_wanted: bool = False
    confirmation: Confirmation | None = None
    fetched_to: str = ""

    @property
    def attempt(self) -> int:
        """The number of the newest attempt; 0 before the first."""
        return self.award.attempt if self.award else 0

    @property
    def newest_attempt(self) -> int:
        """The same, counting those that its provider began by itself."""
        return max(self.attempt, self.notice.attempt if self.notice else 0)

    @property
    def needs_us(self) -> bool:
        """Whether its provider still lacks inputs or secrets."""
        award, named = self.award, bool(self.spec and self.spec.secrets)
        if award is None or not award.inputs_handed:
            return True
        return named and award.secrets_for < self.newest_attempt

    @property
    def ended(self) -> bool:
        """Whether the job has ended for good, as far as is known here."""
        return is_final(self.state)

    @property
    def unplaced(self) -> bool:
        """Whether nobody is being asked to take it, or has it."""
        return self.award is None or self.award.dropped is not None

    @property
    def in_custody(self) -> bool:
        """Whether some provider is known to have accepted the newest attempt."""
        award = self.award
        return award is not None and award.accepted is not None and not award.dropped


def apply_order(order: Order | None, fact: OrderFact) -> Order:
    """Return the order after ``fact``.

    Raises:
        MisuseError: the fact is about another order.
    """
    order = order or Order(job=fact.job)
    if order.job != fact.job:
        raise MisuseError(f"a fact of {fact.job} applied to {order.job}")
    match fact:
        case NoticeKept():
            return _notice(order, fact)
        case (
            AwardIntended()
            | AwardAccepted()
            | AwardDropped()
            | InputsHanded()
            | SecretsHanded()
        ):
            return _award(order, fact)
        case _:
            return _other(order, fact)


def _award(
    order: Order,
    fact: AwardIntended | AwardAccepted | AwardDropped | InputsHanded | SecretsHanded,
) -> Order:
    if isinstance(fact, AwardIntended):
        award = Award(
            attempt=fact.attempt,
            provider=fact.provider,
            peer_id=fact.peer_id,
            addresses=fact.addresses,
            at_s=fact.at_s,
        )
        return replace(order, award=award, notice=None, notice_digest=b"")
    if order.award is None or order.award.attempt != fact.attempt:
        return order
    match fact:
        case AwardAccepted():
            award = replace(order.award, accepted=fact.accepted)
            if order.ended:
                return replace(order, award=award)
            told = fact.accepted
            return replace(
                order, award=award, state=told.state, reason="", queue=told.queue
            )
        case AwardDropped():
            return _dropped(order, order.award, fact)
        case InputsHanded() | SecretsHanded():
            return replace(order, award=_handed(order.award, fact))


def _handed(award: Award, fact: InputsHanded | SecretsHanded) -> Award:
    if isinstance(fact, SecretsHanded):
        return replace(award, secrets_for=fact.for_attempt)
    return replace(award, inputs_handed=True)


def _dropped(order: Order, award: Award, fact: AwardDropped) -> Order:
    award = replace(award, dropped=fact.reason, lost=fact.lost)
    if order.ended:
        return replace(order, award=award)
    move = Move(
        state=State.LOST, at_s=fact.at_s, reason=fact.reason, attempt=fact.attempt
    )
    return replace(
        order,
        award=award,
        state=State.QUEUED,
        reason=fact.reason,
        exit_code=None,
        queue=None,
        history=(*order.history, move) if fact.lost else order.history,
    )


def _notice(order: Order, fact: NoticeKept) -> Order:
    notice = fact.notice
    move = Move(
        state=notice.state,
        at_s=notice.at_s,
        reason=notice.reason,
        attempt=notice.attempt,
    )
    return replace(
        order,
        owner=order.owner or notice.owner,
        notice=notice,
        notice_digest=sha256(fact.data).digest(),
        state=notice.state,
        reason=notice.reason,
        exit_code=notice.exit_code,
        queue=notice.queue,
        result=notice.result,
        link=notice.link or order.link,
        history=(*order.history, move),
    )


def _other(
    order: Order,
    fact: OrderPlaced
    | BidKept
    | OrderEnded
    | CancelIntended
    | CancelKept
    | ResultFetched
    | CustodianKept,
) -> Order:
    match fact:
        case OrderPlaced():
            after = replace(
                order,
                owner=fact.owner,
                spec=fact.spec,
                salt=fact.salt,
                secrets=fact.secrets,
                placed_s=fact.at_s,
            )
        case BidKept():
            others = tuple(b for b in order.bids if b.provider != fact.provider)
            after = replace(order, bids=(*others, fact)[-BIDS_KEPT_MAX:])
        case OrderEnded():
            after = _ended(order, fact)
        case CancelIntended():
            after = replace(order, cancel_wanted=True)
        case CancelKept():
            after = replace(order, confirmation=fact.confirmation)
        case ResultFetched():
            after = replace(order, fetched_to=fact.path)
        case CustodianKept():
            after = _custodian(order, fact)
        case _:
            assert_never(fact)
    return after


def _ended(order: Order, fact: OrderEnded) -> Order:
    move = Move(
        state=fact.state,
        at_s=fact.at_s,
        reason=fact.reason,
        attempt=max(1, order.attempt),
    )
    return replace(
        order,
        state=fact.state,
        reason=fact.reason,
        queue=None,
        history=(*order.history, move),
    )


def _custodian(order: Order, fact: CustodianKept) -> Order:
    award = order.award
    if award is None or award.provider != fact.provider:
        award = Award(
            attempt=max(1, order.attempt),
            provider=fact.provider,
            peer_id=fact.peer_id,
            addresses=fact.addresses,
            at_s=order.placed_s,
        )
        # Each custody has its own chain of notices, which begins anew.
        order = replace(order, notice=None, notice_digest=b"")
    return replace(
        order,
        award=replace(award, peer_id=fact.peer_id, addresses=fact.addresses),
        claimed_owner=fact.owner or order.claimed_owner,
    )
