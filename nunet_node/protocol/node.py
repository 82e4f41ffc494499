"""The node as one machine: an input and the time in, facts and effects out.

Start reading here. `Node.handle` routes an input to the role that it concerns:
as a provider the node offers room and keeps jobs (`protocol.provider`), as a
submitting peer it calls, awards and watches (`protocol.requester`). Nothing here
reads a clock, a file or a socket, so the same node runs in production, under
virtual time, and again from its journal after a crash.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from nunet_node.capability.held.holdings import Holdings
from nunet_node.errors import MisuseError
from nunet_node.identity.challenge import ChallengeBook
from nunet_node.identity.did import Did
from nunet_node.identity.keys import Signer, agreement_secret_of
from nunet_node.jobs.specification import JobId
from nunet_node.market.offers import Refusal
from nunet_node.market.table import AdvertTable
from nunet_node.protocol.effects import ClockDoubted, DiskChanged, ProviderHeard
from nunet_node.protocol.facts import Fact
from nunet_node.protocol.inputs import (
    AddressesChanged,
    AdvertsHeard,
    CapacityProbed,
    DrainBegan,
    FrameReceived,
    FrameRejected,
    Input,
    InputsArrived,
    InputsNotKept,
    JobExited,
    JobStarted,
    NeighbourFound,
    NodeStarted,
    PeerGone,
    ResultNotStored,
    ResultStored,
    RevocationsHeard,
    SessionClosed,
    SessionFailed,
    SessionOpened,
    StoreFilled,
    TimerFired,
)
from nunet_node.protocol.messages import (
    ADVERT_BYTES_PER_ANSWER_MAX,
    ADVERTS_PER_ANSWER_MAX,
    Adverts,
    AdvertsWanted,
)
from nunet_node.protocol.opening import LASTING
from nunet_node.protocol.order import Order
from nunet_node.protocol.provider import keeping
from nunet_node.protocol.provider.commands import refuse
from nunet_node.protocol.provider.custody import Job
from nunet_node.protocol.provider.desk import Desk
from nunet_node.protocol.provider.role import ProviderRole
from nunet_node.protocol.replicas.events import ReplicaInput
from nunet_node.protocol.replicas.placing import Placing
from nunet_node.protocol.replicas.record import Replica, ReplicaKey
from nunet_node.protocol.replicas.upkeep import Upkeep
from nunet_node.protocol.requester.memory import Memory, Pursuit
from nunet_node.protocol.requester.role import RequesterRole
from nunet_node.protocol.sessions import Session, Sessions, Voice
from nunet_node.protocol.trust import revoking
from nunet_node.protocol.trust.admission import Admission
from nunet_node.protocol.turn import TURNS_MAX, Batch, Ledger, Turn
from nunet_node.quantities import Now

_NOTHING: Final = ((None, None),)
"""What is to be taken back of a turn that decided nothing, as nearly all do: one value
for all of them, so that hearing thousands of adverts leaves nothing behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What a node is made of; chance comes in as ``nonce``."""

    signer: Signer
    """The node's own key, which is its peer's key too."""
    peer_id: str
    users: Mapping[Did, Signer]
    """The identities that may place orders here; the first is the default."""
    provides: bool
    price_micro_ntx: int
    store_bytes: int = 0
    """Room for copies of others' results."""
    domains: tuple[str, ...] = ()
    """What jobs may be let reach over HTTP."""
    boot: bytes
    """16 random bytes, new for each process."""
    nonce: Callable[[int], bytes]
    """Fresh random bytes, so many."""
    admission: Admission = field(default_factory=Admission)
    """Whose jobs are taken."""
    holdings: Holdings = field(default_factory=Holdings)
    """The delegations at hand, for acting on others' behalf."""
    adverts: AdvertTable = field(default_factory=AdvertTable)
    """Where the node keeps what others offer."""


class Node:
    """One peer: a provider, a submitting peer, or both."""

    def __init__(self, settings: NodeSettings) -> None:
        self._did = settings.signer.did
        self._ledger = Ledger()
        self._sessions = Sessions()
        self.adverts = settings.adverts
        voice = Voice(signer=settings.signer, nonce=settings.nonce)
        desk = Desk(
            voice=voice,
            sessions=self._sessions,
            challenges=ChallengeBook(signer=settings.signer, boot=settings.boot),
            peer_id=settings.peer_id,
            provides=settings.provides,
            price_micro_ntx=settings.price_micro_ntx,
            store_bytes=settings.store_bytes,
            domains=settings.domains,
            admission=settings.admission,
            agreement_secret=agreement_secret_of(settings.signer),
        )
        memory = self._memory = Memory(
            sessions=self._sessions,
            adverts=self.adverts,
            users=settings.users,
            peer_id=settings.peer_id,
            nonce=settings.nonce,
            holdings=settings.holdings,
        )
        self._provider = ProviderRole(desk=desk)
        self._upkeep = Upkeep(placing=Placing(desk=desk, memory=memory))
        self._requester = RequesterRole(memory=memory, voice=voice, upkeep=self._upkeep)
        self._turns: tuple[tuple[Turn | None, Mapping[JobId, Pursuit] | None], ...] = ()
        """What can be taken back: facts, and what was pursued before them."""
        self._undone = False
        self._unsettled = True
        """What we show may be out of date; only facts and conditions change it."""

    @property
    def jobs(self) -> Mapping[JobId, Job]:
        """The jobs in this node's custody."""
        return self._ledger.jobs

    @property
    def replicas(self) -> Mapping[ReplicaKey, Replica]:
        """The copies of others' results that this node keeps."""
        return self._ledger.replicas

    @property
    def orders(self) -> Mapping[JobId, Order]:
        """The orders that were loaded or placed here."""
        return self._ledger.orders

    @property
    def clock_doubted(self) -> bool:
        """Whether all that the network says is out of date by our clock."""
        return self._memory.clock_doubted

    def apply(self, fact: Fact) -> None:
        """Replay one fact from the journal; nothing is decided."""
        self._ledger.apply(fact)

    def handle(self, given: Input, now: Now, *, joins: bool = False) -> Batch:
        """Decide what follows from one input.

        The facts must be on disk before any effect is carried out; if they cannot be
        kept, call `undo` before the next input.

        Args:
            given: what happened.
            now: when.
            joins: whether the facts of the turn before are not on disk yet either, so
                that both may have to be taken back; at most `TURNS_MAX` turns in all.
        """
        turn, pursued = Turn(self._ledger, now), self._memory.pursuits
        before = self._turns[1 - TURNS_MAX :] if joins else ()
        self._turns = (*before, (turn, pursued))
        if type(given) is AdvertsHeard:
            # By far the most frequent of all, so it does not wait for its turn below.
            self._adverts(turn, given)
        else:
            self._route(turn, given)
        if self._undone and not self._provider.desk.full:
            self._undone = False
            self._requester.recover(turn)
        if turn.decided or self._unsettled:
            self._unsettled = False
            self._upkeep.settle(turn)
            self._provider.settle(turn, len(self.adverts))
        elif pursued is self._memory.pursuits:
            self._turns = (*before, *_NOTHING) if joins else _NOTHING
        return turn.batch()

    def undo(self, turns: int = 1) -> None:
        """Take back the facts of the last turns, because they could not be kept.

        What they ordered on account of those facts is not to be carried out either.

        Args:
            turns: how many, of those that joined.

        Raises:
            MisuseError: there were not so many.
        """
        if not 1 <= turns <= len(self._turns):
            raise MisuseError(f"{turns} turns to take back of {len(self._turns)}")
        for _ in range(turns):
            turn, pursued = self._turns[-1]
            self._turns = self._turns[:-1]
            if turn is not None and pursued is not None:
                turn.undo()
                self._requester.undo(pursued)
        self._provider.undo()
        self._upkeep.undo()
        self._undone = self._unsettled = True

    def _route(self, turn: Turn, given: Input) -> None:
        match given:
            case FrameReceived() | FrameRejected():
                self._frame(turn, given)
            case (
                SessionOpened()
                | SessionClosed()
                | SessionFailed()
                | PeerGone()
                | AdvertsHeard()
                | RevocationsHeard()
                | NeighbourFound()
            ):
                self._peers(turn, given)
            case TimerFired():
                known = len(self.adverts)
                ours = self._provider.timer(turn, given.name, known)
                if not ours and not self._upkeep.timer(turn, given.name):
                    self._requester.timer(turn, given.name)
            case (
                InputsArrived()
                | InputsNotKept()
                | JobStarted()
                | JobExited()
                | ResultStored()
                | ResultNotStored()
            ):
                self._provider.job_input(turn, given)
            case (
                NodeStarted()
                | DrainBegan()
                | AddressesChanged()
                | CapacityProbed()
                | StoreFilled()
            ):
                self._condition(turn, given)
            case _:
                if isinstance(given, ReplicaInput):
                    self._upkeep.heard(turn, given)
                else:
                    self._requester.wish(turn, given)

    def _peers(
        self,
        turn: Turn,
        given: SessionOpened
        | SessionClosed
        | SessionFailed
        | PeerGone
        | AdvertsHeard
        | RevocationsHeard
        | NeighbourFound,
    ) -> None:
        match given:
            case SessionOpened():
                session = self._sessions.add(
                    given.session, given.peer_id, ours=given.ours
                )
                if self._requester.session_opened(turn, given.session):
                    revoking.ask(self._provider.desk, turn, session)
            case SessionClosed() | SessionFailed() | PeerGone():
                self._gone(turn, given)
            case AdvertsHeard():
                self._adverts(turn, given)
            case RevocationsHeard():
                heard = given.revocations
                revoking.keep(self._provider.desk, turn, heard, spread=False)
            case NeighbourFound():
                known = self._requester.ask_neighbour(turn, given.peer_id)
                if known is not None:
                    revoking.ask(self._provider.desk, turn, known)

    def _condition(
        self,
        turn: Turn,
        given: NodeStarted
        | DrainBegan
        | AddressesChanged
        | CapacityProbed
        | StoreFilled,
    ) -> None:
        desk, self._unsettled = self._provider.desk, True
        match given:
            case NodeStarted():
                desk.awake = True
                logs = {(job, attempt): head for job, attempt, head in given.logs}
                keeping.resume(desk, turn, logs)
                self._upkeep.begin(turn)
            case DrainBegan():
                self._provider.drain(turn, given)
            case AddressesChanged():
                desk.addresses = given.addresses
            case CapacityProbed():
                desk.total, desk.engines = given.total, given.engines
                desk.machine, desk.largest = given.machine, given.largest
                desk.run_s_max = given.run_s_max
                keeping.schedule(desk, turn)
            case StoreFilled():
                if desk.full != given.full:
                    turn.tell(DiskChanged(full=given.full))
                desk.full = self._memory.full = given.full
                self._undone = True
                keeping.schedule(desk, turn)

    def _frame(self, turn: Turn, given: FrameReceived | FrameRejected) -> None:
        session = self._sessions.get(given.session)
        if session is None:
            return
        if isinstance(given, FrameReceived) and isinstance(given.body, AdvertsHeard):
            self._adverts(turn, given.body)
        opened = given if isinstance(given, FrameReceived) else None
        if opened and isinstance(opened.body, RevocationsHeard):
            self._provider.heard(turn, session, opened)
            self._requester.answered(turn, opened)
        elif given.re is not None:
            self._requester.answered(turn, given)
        elif isinstance(given, FrameRejected):
            self._reject(turn, session, given)
        elif isinstance(given.body, AdvertsWanted):
            self._tell_adverts(turn, session, given.frame)
        elif not self._provider.heard(turn, session, given):
            self._requester.answered(turn, given)

    def _reject(self, turn: Turn, session: Session, given: FrameRejected) -> None:
        # What could not be opened may have been an answer to a challenge, and a
        # challenge is spent when it is first presented, even if that fails.
        self._provider.desk.challenges.end_session(str(session.id))
        if given.frame is not None:
            refusal = Refusal(
                code=given.code,
                reason=given.reason[:500],
                never=given.code in LASTING,
            )
            refuse(self._provider.desk, turn, session, given.frame, refusal)

    def _gone(
        self, turn: Turn, given: SessionClosed | SessionFailed | PeerGone
    ) -> None:
        if isinstance(given, PeerGone):
            self.adverts.forget(given.peer_id)
            self._provider.desk.unlean(given.peer_id)
            return
        session = self._sessions.remove(given.session)
        self._provider.session_closed(given.session)
        if isinstance(given, SessionFailed):
            self._requester.session_lost(
                turn, given.session, given.peer_id, given.reason
            )
        elif session is not None:
            reason = "the connection was lost"
            self._requester.session_lost(turn, session.id, session.peer_id, reason)

    def _adverts(self, turn: Turn, given: AdvertsHeard) -> None:
        own, hear, now_s, news = self._did, self.adverts.hear, turn.now.unix_s, False
        for heard in given.adverts:
            if heard.issuer != own and hear(heard, now_s):
                peer_id, news = heard.payload.peer_id, True
                turn.tell(ProviderHeard(provider=heard.issuer, peer_id=peer_id))
        memory, doubted = self._memory, not given.adverts
        if (given.stale or news) and doubted != memory.clock_doubted:
            memory.clock_doubted = doubted
            if doubted:
                turn.tell(ClockDoubted())
        if memory.pursuits:
            self._requester.adverts_heard(turn)

    def _tell_adverts(self, turn: Turn, session: Session, frame: int) -> None:
        own = self._provider.window.data
        items, room = [own] if own else [], ADVERT_BYTES_PER_ANSWER_MAX - len(own)
        for heard in self.adverts.fresh(turn.now.unix_s):
            room -= len(heard.data)
            if room < 0 or len(items) >= ADVERTS_PER_ANSWER_MAX:
                break
            items.append(heard.data)
        self._sessions.send(turn, session.id, Adverts(items=tuple(items)), re=frame)
