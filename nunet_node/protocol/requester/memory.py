"""What the submitting side's parts share, and forget at the end of the process.

Links: one session per peer carries every conversation with it. What waits for an
answer is remembered by session and frame, so an answer finds its question.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from nunet_node.capability.command import Command
from nunet_node.capability.delegation import Delegation, seal_delegation
from nunet_node.capability.held.holdings import Holdings
from nunet_node.capability.proof_chain import Act
from nunet_node.identity.did import Did
from nunet_node.identity.keys import AbsentKey, Signer
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import Notice
from nunet_node.market.offers import Bid, Refusal
from nunet_node.market.table import AdvertTable
from nunet_node.protocol.effects import OpenSession, OrderChanged
from nunet_node.protocol.facts import OrderFact
from nunet_node.protocol.inputs import SessionId
from nunet_node.protocol.messages import KEEP, SUBMIT, Body
from nunet_node.protocol.order import Order
from nunet_node.protocol.sessions import NONCE_BYTES, Sessions
from nunet_node.protocol.turn import Turn
from nunet_node.wire.cid import Cid

LOST_AFTER_S: Final = 30
"""Silence after which a custodian counts as lost to whoever waits for it."""

BACKOFF_S: Final = (0, 1, 2, 4, 8)
"""Pauses between attempts to reach a custodian; the last repeats."""


class Step(Enum):
    """How far an errand has come."""

    QUEUED = auto()
    """Behind another that the same absent key has to sign."""
    ALLOWING = auto()
    """The delegation that it brings along is being signed."""
    CONNECTING = auto()
    CHALLENGE_ASKED = auto()
    SIGNING = auto()
    COMMANDED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """Who signs a command, on whose resources, and by what right."""

    signer: Signer
    subject: Did
    proofs: tuple[Delegation, ...] = ()
    """From the subject down to the signer; empty if they are one."""


@dataclass(slots=True, kw_only=True)
class Errand:
    """One command on its way: reach, be challenged, command, be answered."""

    number: int = 0
    job: JobId
    command: str
    provider: Did
    peer_id: str
    addresses: tuple[str, ...]
    mandate: Mandate
    args: Mapping[str, Any]
    beside: tuple[Delegation, ...] = ()
    """The delegations that the arguments name."""
    answers_as: Did | None = None
    """Whose statement answers it, if not the provider's own."""
    draft: bytes = b""
    """The token that lacks its signature, if its key is absent."""
    allowing: Mandate | None = None
    """Who has to sign the delegation in ``draft``, before anything is asked."""
    session: SessionId = 0
    step: Step = Step.QUEUED

    @property
    def absent(self) -> set[Did]:
        """Whose signatures it takes that are not made in this process."""
        signers = [
            self.mandate.signer,
            *([self.allowing.signer] if self.allowing else []),
        ]
        return {each.did for each in signers if isinstance(each, AbsentKey)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an errand ended: answered, refused, with nobody there, or never signed."""

    errand: Errand
    answer: Any = None
    """The opened statement, if there was one."""
    refusal: Refusal | None = None
    unreachable: str = ""
    unsigned: str = ""
    """Why whoever has the key did not sign; nothing was commanded then."""


@dataclass(slots=True, kw_only=True)
class Call:
    """A call for bids that is open."""

    job: JobId
    call: bytes
    asked: dict[Did, SessionId] = field(default_factory=dict)
    """Who has not answered yet."""
    bids: list[tuple[Did, Bid]] = field(default_factory=list)
    refusals: list[tuple[Did, Refusal]] = field(default_factory=list)
    closed: bool = False


@dataclass(slots=True, kw_only=True)
class Pursuit:
    """An order that this process drives to its end."""

    job: JobId
    tries: int = 0
    """Failures in a row to reach the custodian."""
    doubts: int = 0
    """Notices in a row that contradict what is kept; its custodian is asked once."""
    recalls: int = 0
    """Calls in a row for which nobody took it."""
    silent_since_ns: int | None = None
    avoid: set[Did] = field(default_factory=set)
    """Providers that were lost with an earlier attempt of this job."""
    discovery_ends_ns: int | None = None
    """Until when a provider is waited for; None while nobody is waited for."""
    unheard: bool = True
    """The award that stands may have been commanded, and its answer not heard. So it
    is after a restart, when nobody remembers."""
    sealing: bool = False
    """Its secrets are being read."""
    secrets_lost: bool = False
    """Its custodian says that it has none, whatever it was given before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What is between a provider and us about the revocation of a token."""

    provider: Did
    cid: Cid
    asks: bool
    """Whether we ask for it, and do not bring it."""


Question = tuple[str, Any]
"""What a frame asked: ``("errand", number)``, ``("call", (job, provider))`` or
``("revoke", word)``."""


@dataclass(slots=True, kw_only=True)
class Memory:
    """The submitting side's working memory."""

    sessions: Sessions
    adverts: AdvertTable
    users: Mapping[Did, Signer]
    peer_id: str
    nonce: Callable[[int], bytes]
    holdings: Holdings = field(default_factory=Holdings)
    errands: dict[int, Errand] = field(default_factory=dict)
    questions: dict[tuple[SessionId, int], Question] = field(default_factory=dict)
    calls: dict[JobId, Call] = field(default_factory=dict)
    pursuits: Mapping[JobId, Pursuit] = field(default_factory=dict)
    """What is driven here. It is replaced and never changed, so that a turn remembers
    what was there before it for nothing."""
    links: dict[str, SessionId] = field(default_factory=dict)
    """The session to each peer that we dialled, open or opening."""
    words: dict[Word, tuple[SessionId, Body | None]] = field(default_factory=dict)
    """What is said of revocations: in which session, and what is still to be said."""
    curious: set[SessionId] = field(default_factory=set)
    """Sessions being opened to ask a neighbour what it has heard."""
    clock_doubted: bool = False
    """The last peer that we asked answered with nothing but stale adverts."""
    full: bool = False
    """Nothing can be recorded now, so no order goes on."""
    next_session: int = 1
    next_errand: int = 1

    def reach(
        self, turn: Turn, peer_id: str, addresses: tuple[str, ...]
    ) -> tuple[SessionId, bool]:
        """Return the session to a peer and whether it is open; dial if need be."""
        known = self.links.get(peer_id)
        if known is not None:
            return known, self.sessions.get(known) is not None
        session = self.next_session
        self.next_session += 2  # even numbers are for those who dial us
        self.links[peer_id] = session
        turn.do(OpenSession(session=session, peer_id=peer_id, addresses=addresses))
        return session, False

    def unlink(self, session: SessionId) -> None:
        """Forget a session that closed or never opened."""
        self.curious.discard(session)
        for peer_id, known in list(self.links.items()):
            if known == session:
                del self.links[peer_id]

    def went_on(self, job: JobId) -> None:
        """Note that an order got further, so that the next trouble is a new one.

        An answer alone is no progress: a peer that answers and goes away, again and
        again, must not be asked without a pause.
        """
        pursuit = self.pursuits.get(job)
        if pursuit is not None:
            pursuit.tries = pursuit.recalls = pursuit.doubts = 0

    def take_up(self, job: JobId) -> None:
        """Drive this order from now on, if it is not driven yet."""
        if job not in self.pursuits:
            self.pursuits = {**self.pursuits, job: Pursuit(job=job)}

    def let_go(self, job: JobId) -> None:
        """Drive this order no longer."""
        if job in self.pursuits:
            left = self.pursuits.items()
            self.pursuits = {name: pursuit for name, pursuit in left if name != job}

    def forget_errands(self) -> None:
        """Forget every conversation, but not which orders are pursued."""
        self.errands.clear()
        self.questions.clear()
        self.calls.clear()
        self.links.clear()
        self.curious.clear()
        for pursuit in self.pursuits.values():
            pursuit.sealing = False

    def record(
        self, turn: Turn, *facts: OrderFact, notice: Notice | None = None
    ) -> Order:
        """Keep facts of one order, let watchers know, and return it as it is now."""
        turn.record(*facts)
        job = facts[-1].job
        turn.tell(OrderChanged(job=job, notice=notice))
        return turn.ledger.orders[job]

    def mandate(
        self, order: Order, command: str, args: Mapping[str, Any], now_s: int
    ) -> Mandate | None:
        """Return who may use a command on this order here, and by what right."""
        owner = order.owner or order.claimed_owner
        if owner is not None and owner in self.users:
            return Mandate(signer=self.users[owner], subject=owner)
        if owner is not None:
            mandate = self._delegated(owner, Command(command), args, now_s)
            if mandate is not None:
                return mandate
        if order.spec is not None or not self.users:
            return None
        # A stranger's job: its custodian says that it is not ours, and nothing else.
        did, signer = next(iter(self.users.items()))
        return Mandate(signer=signer, subject=did)

    def _delegated(
        self, owner: Did, command: Command, args: Mapping[str, Any], now_s: int
    ) -> Mandate | None:
        for did, signer in self.users.items():
            act = Act(invoker=did, subject=owner, command=command, args=args)
            chain = self.holdings.best(act, now_s)
            if chain is not None:
                return Mandate(signer=signer, subject=owner, proofs=chain)
        return None

    def admission(
        self, order: Order, args: Mapping[str, Any], now_s: int
    ) -> tuple[Delegation, ...]:
        """Return the chain by which the order's provider admits the owner, if any."""
        heard = order.award and self.adverts.of_provider(order.award.provider, now_s)
        if not heard or order.owner is None:
            return ()
        for anchor in heard.payload.anchors:
            act = Act(
                invoker=order.owner,
                subject=Did(anchor),
                command=Command(SUBMIT),
                args=args,
            )
            chain = self.holdings.best(act, now_s)
            if chain is not None:
                return chain
        return ()

    def allowance(self, order: Order, now_s: int) -> tuple[Mandate, bytes] | None:
        """Return what allows the order's provider to have the result kept elsewhere.

        Returns:
            Who allows it, and the token made here and now: a draft, if the key is
            absent. None if no copies are wanted, or nobody here may allow it.
        """
        award, spec, owner = order.award, order.spec, order.owner
        if award is None or spec is None or owner is None or not spec.replicas:
            return None
        about = {"job": order.job, "copies": spec.replicas}
        giver = self.mandate(order, KEEP, about, now_s)
        if giver is None:
            return None
        data = seal_delegation(
            signer=giver.signer,
            audience=award.provider,
            subject=owner,
            command=KEEP,
            nonce=self.nonce(NONCE_BYTES),
            expires_at_s=now_s + spec.lease_s + spec.retention_s,
            policy=(("==", ".job", order.job), ("<=", ".copies", spec.replicas)),
        )
        return giver, data

    def addresses_of(self, order: Order, turn: Turn) -> tuple[str, ...]:
        """Return where the order's custodian should be now, best guess first."""
        award = order.award
        if award is None:
            return ()
        heard = self.adverts.of_provider(award.provider, turn.now.unix_s)
        newest = heard.payload.addresses if heard else ()
        return tuple(dict.fromkeys((*newest, *award.addresses)))
