"""The submitting role: which input goes to which part of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nunet_node.identity.did import Did
from nunet_node.identity.statement import Statement
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import Notice
from nunet_node.market.offers import Bid, Refusal
from nunet_node.protocol.effects import (
    CommandRefused,
)
from nunet_node.protocol.facts import (
    CancelIntended,
    OrderPlaced,
    ResultFetched,
)
from nunet_node.protocol.inputs import (
    CancelWanted,
    CustodianNamed,
    FollowWanted,
    FrameReceived,
    FrameRejected,
    InputsDelivered,
    InputsNotDelivered,
    LogsWanted,
    OrderWanted,
    ReadWanted,
    ReportWanted,
    ResultWritten,
    SessionId,
)
from nunet_node.protocol.messages import KEEP, LOGS, READ, STATUS, AdvertsWanted
from nunet_node.protocol.order import Order
from nunet_node.protocol.replicas.events import ReplicaWanted
from nunet_node.protocol.replicas.upkeep import Upkeep
from nunet_node.protocol.requester import (
    believing,
    calling,
    errands,
    pursuing,
    spreading,
)
from nunet_node.protocol.requester.answering import tell_answer
from nunet_node.protocol.requester.memory import Memory, Outcome, Pursuit
from nunet_node.protocol.secrets import handing
from nunet_node.protocol.secrets.events import SecretsNews
from nunet_node.protocol.sessions import Session, Voice
from nunet_node.protocol.signing.absence import drop_signatures
from nunet_node.protocol.signing.events import SignatureNews
from nunet_node.protocol.trust.events import RevokeWanted, StandingWanted, TrustWish
from nunet_node.protocol.turn import Turn

Wish = (
    OrderWanted
    | FollowWanted
    | ReportWanted
    | ReadWanted
    | LogsWanted
    | CancelWanted
    | CustodianNamed
    | TrustWish
    | ResultWritten
    | ReplicaWanted
    | InputsDelivered
    | InputsNotDelivered
    | SecretsNews
    | SignatureNews
)


QUESTIONS: Final = frozenset({STATUS, READ, LOGS})
"""Commands whose answer is for whoever asked, and changes no record."""

_ASIDE: Final = QUESTIONS | {KEEP}
"""Commands that do not drive an order."""


@dataclass(slots=True, kw_only=True)
class RequesterRole:
    """The node's side that wants work done and looks after it."""

    memory: Memory
    voice: Voice
    upkeep: Upkeep

    def undo(self, pursued: Mapping[JobId, Pursuit]) -> None:
        """Pursue again what was pursued then, and nothing that was taken up since."""
        self.memory.pursuits = pursued

    def wish(self, turn: Turn, given: Wish) -> None:
        """Do what the user of this home wants."""
        if isinstance(given, SecretsNews | SignatureNews):
            self._made(turn, given)
            return
        match given:
            case OrderWanted():
                self._place(turn, given)
            case InputsDelivered() | InputsNotDelivered():
                pursuing.delivered(self.memory, turn, self.voice, given)
            case CustodianNamed():
                believing.custodian(self.memory, turn, given)
            case RevokeWanted() | StandingWanted():
                spreading.begin(self.memory, turn, given)
            case ResultWritten():
                self._written(turn, given)
            case ReplicaWanted():
                self._holder(turn, given)
            case _:
                self._about(turn, given)

    def answered(self, turn: Turn, given: FrameReceived | FrameRejected) -> None:
        """Take an answer to one of our frames, or a push."""
        refusal, body = _read(given)
        if given.re is None:
            if isinstance(body, Statement) and isinstance(body.payload, Notice):
                pursuing.heard_notice(self.memory, turn, self.voice, body)
            return
        question = self.memory.questions.pop((given.session, given.re), None)
        if question is None:
            return
        kind, about = question
        if kind == "call":
            self._bid(turn, about, body, refusal)
            return
        if kind == "revoke":
            spreading.answered(self.memory, turn, about, given, refusal)
            return
        outcome = errands.answered(self.memory, turn, about, body, refusal)
        self._ended(turn, (outcome,) if outcome else ())

    def session_opened(self, turn: Turn, session: SessionId) -> bool:
        """Say what waited to be said; tell whether it was opened to ask a neighbour."""
        curious = session in self.memory.curious
        if curious:
            self.memory.curious.discard(session)
            self.memory.sessions.send(turn, session, AdvertsWanted())
        calling.session_opened(self.memory, turn, self.voice, session)
        errands.session_opened(self.memory, turn, session)
        spreading.session_opened(self.memory, turn, session)
        return curious

    def session_lost(
        self, turn: Turn, session: SessionId, peer_id: str, reason: str
    ) -> None:
        """Count what depended on a session as unanswered."""
        memory = self.memory
        if memory.links.get(peer_id) != session:
            return
        memory.unlink(session)
        memory.questions = {
            q: a for q, a in memory.questions.items() if q[0] != session
        }
        spreading.session_lost(memory, turn, session, reason)
        lost = errands.session_lost(memory, turn, session, reason)
        for call in calling.session_lost(memory, turn, session):
            pursuing.award_next(memory, turn, self.voice, call)
        self._ended(turn, lost)
        told = {o.errand.job for o in lost if o.errand.command not in _ASIDE}
        pursuing.connection_lost(memory, turn, self.voice, peer_id, told, reason)

    def recover(self, turn: Turn) -> None:
        """Begin every pursuit again, after a turn was taken back.

        What that turn had ordered was never done, so nothing that was under way can
        be relied upon: sessions are dialled anew.
        """
        memory = self.memory
        for session in memory.sessions.ours():
            memory.sessions.close(turn, session.id)
        drop_signatures(memory, turn)
        memory.forget_errands()
        for job in list(memory.pursuits):
            self._again(turn, job)

    def ask_neighbour(self, turn: Turn, peer_id: str) -> Session | None:
        """Ask a connected peer which adverts it has heard.

        Returns:
            The session with it, if one is open already.
        """
        session, is_open = self.memory.reach(turn, peer_id, ())
        if is_open:
            self.memory.sessions.send(turn, session, AdvertsWanted())
            return self.memory.sessions.get(session)
        self.memory.curious.add(session)
        return None

    def adverts_heard(self, turn: Turn) -> None:
        """Look again at every order that waits for a provider."""
        for pursuit in list(self.memory.pursuits.values()):
            order = turn.ledger.orders.get(pursuit.job)
            waits = pursuit.discovery_ends_ns is not None
            if waits and order is not None and order.unplaced:
                pursuing.pursue(self.memory, turn, self.voice, order)

    def timer(self, turn: Turn, name: str) -> bool:
        """Do what a timer of the submitting side was set for."""
        what, _, about = name.partition(":")
        if what == errands.ERRAND_TIMER:
            late = errands.timed_out(self.memory, turn, int(about))
            self._ended(turn, (late,) if late else ())
        elif what == calling.BIDS_TIMER:
            call = self.memory.calls.get(JobId(about))
            if call is not None and not call.closed:
                pursuing.award_next(self.memory, turn, self.voice, call)
        elif what in {
            calling.DISCOVERY_TIMER,
            calling.RECALL_TIMER,
            pursuing.AGAIN_TIMER,
        }:
            self._again(turn, JobId(about))
        elif what == handing.AGAIN_TIMER:
            handing.again(self.memory, turn, JobId(about))
        else:
            return False
        return True

    def _again(self, turn: Turn, job: JobId) -> None:
        order = turn.ledger.orders.get(job)
        if order is not None:
            pursuing.pursue(self.memory, turn, self.voice, order)

    def _place(self, turn: Turn, given: OrderWanted) -> None:
        if given.job not in turn.ledger.orders:
            owner = given.owner or next(iter(self.memory.users))
            placed = OrderPlaced(
                job=given.job,
                owner=owner,
                spec=given.spec,
                salt=given.salt,
                secrets=given.secrets,
                at_s=turn.now.unix_s,
            )
            self.memory.record(turn, placed)
        self._pursue(turn, turn.ledger.orders[given.job])

    def _pursue(self, turn: Turn, order: Order) -> None:
        self.memory.take_up(order.job)
        pursuing.pursue(self.memory, turn, self.voice, order)

    def _made(self, turn: Turn, given: SecretsNews | SignatureNews) -> None:
        if isinstance(given, SecretsNews):
            handing.sealed(self.memory, turn, given)
        else:
            ended = errands.signature(self.memory, turn, given)
            self._ended(turn, (ended,) if ended else ())

    def _written(self, turn: Turn, given: ResultWritten) -> None:
        if given.job in turn.ledger.orders:
            fetched = ResultFetched(
                job=given.job, path=given.path, at_s=turn.now.unix_s
            )
            self.memory.record(turn, fetched)

    def _about(
        self,
        turn: Turn,
        given: FollowWanted | ReportWanted | ReadWanted | LogsWanted | CancelWanted,
    ) -> None:
        order = turn.ledger.orders.get(given.job)
        if order is None:
            self._nowhere(turn, given.job, "no such job is known here")
            return
        match given:
            case FollowWanted():
                self._pursue(turn, order)
            case CancelWanted():
                self._cancel(turn, order)
            case ReportWanted():
                self._ask(turn, order, STATUS)
            case ReadWanted():
                self._ask(turn, order, READ)
            case LogsWanted():
                self._ask(turn, order, LOGS)

    def _cancel(self, turn: Turn, order: Order) -> None:
        if not order.cancel_wanted:
            intended = CancelIntended(job=order.job, at_s=turn.now.unix_s)
            order = self.memory.record(turn, intended)
        self._pursue(turn, order)

    def _ask(self, turn: Turn, order: Order, command: str) -> None:
        if not errands.begin(self.memory, turn, order, command, {}):
            self._nowhere(turn, order.job, "no provider is known to have it")

    def _holder(self, turn: Turn, given: ReplicaWanted) -> None:
        order = turn.ledger.orders.get(given.job)
        if not order or not errands.ask_holder(self.memory, turn, order, given):
            self._nowhere(turn, given.job, "nobody is known who ran it")

    def _nowhere(self, turn: Turn, job: JobId, reason: str) -> None:
        refusal = Refusal(code="job.nowhere", reason=reason)
        turn.tell(CommandRefused(job=job, command="", provider="", refusal=refusal))

    def _bid(
        self,
        turn: Turn,
        asked: tuple[JobId, Did],
        body: Any,
        refusal: Refusal | None,
    ) -> None:
        job, provider = asked
        call = self.memory.calls.get(job)
        if call is None:
            return
        bid = body.payload if body is not None else None
        if bid is not None and (body.issuer != provider or not isinstance(bid, Bid)):
            bid, refusal = None, Refusal(code="bid.wrong", reason="not its own bid")
        calling.answered(self.memory, turn, call, provider, bid, refusal)
        if not call.asked and not call.closed:
            pursuing.award_next(self.memory, turn, self.voice, call)

    def _ended(self, turn: Turn, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.errand.command in QUESTIONS:
                tell_answer(turn, outcome)
            elif outcome.errand.command == KEEP:
                self.upkeep.ended(turn, outcome)
            else:
                pursuing.ended(self.memory, turn, self.voice, outcome)


def _read(given: FrameReceived | FrameRejected) -> tuple[Refusal | None, Any]:
    if isinstance(given, FrameRejected):
        return Refusal(code=given.code, reason=given.reason[:500]), None
    body = given.body
    if not isinstance(body, Statement):
        return Refusal(code="peer.wrong-answer", reason="answered no statement"), None
    if isinstance(body.payload, Refusal):
        return body.payload, None
    return None, body
