"""The provider role: which input goes to which part of it."""

from dataclasses import dataclass, field, replace
from typing import Final

from nunet_node.capability.invocation import Invocation
from nunet_node.identity.statement import Statement
from nunet_node.jobs.specification import JobId
from nunet_node.market.offers import CallForBids, Refusal
from nunet_node.protocol.effects import Drained, SetTimer
from nunet_node.protocol.inputs import (
    DrainBegan,
    FrameReceived,
    InputsArrived,
    InputsNotKept,
    JobExited,
    JobStarted,
    ResultNotStored,
    ResultStored,
    RevocationsHeard,
    SessionId,
)
from nunet_node.protocol.messages import ChallengeWanted, RevocationsWanted
from nunet_node.protocol.provider import keeping, moving
from nunet_node.protocol.provider.commands import (
    Asked,
    issue_challenge,
    obey,
    refuse,
)
from nunet_node.protocol.provider.desk import Desk
from nunet_node.protocol.provider.offering import ADVERT_TIMER, Window, answer_call
from nunet_node.protocol.sessions import Session
from nunet_node.protocol.trust import revoking
from nunet_node.protocol.turn import Turn

DRAIN_TIMER: Final = "drain"

JobInput = (
    InputsArrived
    | InputsNotKept
    | JobStarted
    | JobExited
    | ResultStored
    | ResultNotStored
)


@dataclass(slots=True, kw_only=True)
class ProviderRole:
    """The node's side that offers, keeps and runs."""

    desk: Desk
    window: Window = field(default_factory=Window)
    drained: bool = False

    def heard(self, turn: Turn, session: Session, given: FrameReceived) -> bool:
        """Answer a frame if it is one that a provider answers."""
        body = given.body
        match body:
            case ChallengeWanted():
                issue_challenge(self.desk, turn, session, given.frame, body)
            case Invocation():
                asked = Asked(session=session, frame=given.frame, invocation=body)
                obey(self.desk, turn, asked)
            case RevocationsWanted():
                revoking.tell(self.desk, turn, session, given.frame, body)
            case RevocationsHeard():
                self._revoked(turn, session, given, body)
            case Statement(payload=CallForBids() as call):
                self._called(turn, session, given.frame, call)
            case _:
                return False
        return True

    def job_input(self, turn: Turn, given: JobInput) -> None:
        """Take in what the world says about a job that is kept here."""
        match given:
            case InputsArrived():
                keeping.inputs_arrived(self.desk, turn, given)
            case InputsNotKept():
                keeping.inputs_not_kept(self.desk, turn, given)
            case JobStarted():
                keeping.job_started(self.desk, turn, given)
            case JobExited():
                keeping.job_exited(self.desk, turn, given)
            case ResultStored():
                keeping.result_stored(self.desk, turn, given)
            case ResultNotStored():
                keeping.result_not_stored(self.desk, turn, given)

    def timer(self, turn: Turn, name: str, nodes_known: int) -> bool:
        """Do what a timer of the provider was set for."""
        what, _, job = name.partition(":")
        if what == moving.QUEUE_TIMER:
            keeping.queue_timed_out(self.desk, turn, JobId(job))
        elif what == moving.STAGING_TIMER:
            keeping.staging_timed_out(self.desk, turn, JobId(job))
        elif what == ADVERT_TIMER:
            self.window.show(self.desk, turn, nodes_known)
        elif what == DRAIN_TIMER:
            keeping.drain(turn)
        else:
            return False
        return True

    def session_closed(self, session: SessionId) -> None:
        """Void what hung on the session."""
        self.desk.challenges.end_session(str(session))
        self.desk.unwatch(session)

    def drain(self, turn: Turn, given: DrainBegan) -> None:
        """Take no more work, and give what runs a little time."""
        self.desk.draining = True
        at_ns = turn.after_s(given.kill_after_s)
        turn.do(SetTimer(name=DRAIN_TIMER, at_ns=at_ns))

    def settle(self, turn: Turn, nodes_known: int) -> None:
        """At the end of a turn, show what changed, and notice if all is done."""
        if self.drained:
            return
        reachable = self.desk.awake and bool(self.desk.addresses)
        busy = any(job.started for job in turn.ledger.active_jobs())
        if self.desk.draining and not busy:
            self.drained = True
            if reachable:
                self.window.show(self.desk, turn, nodes_known, leaving=True)
            turn.tell(Drained())
        elif reachable:
            self.window.refresh(self.desk, turn, nodes_known)

    def undo(self) -> None:
        """Count what the last turn said as unsaid."""
        self.drained = False
        self.window.pending = False

    def _revoked(
        self,
        turn: Turn,
        session: Session,
        given: FrameReceived,
        heard: RevocationsHeard,
    ) -> None:
        heard = replace(heard, answers=given.re is not None)
        refusal = revoking.heard_from(self.desk, turn, session, given.frame, heard)
        if refusal is not None:
            refuse(self.desk, turn, session, given.frame, refusal)

    def _called(
        self, turn: Turn, session: Session, frame: int, call: CallForBids
    ) -> None:
        answer = answer_call(self.desk, turn, session, call)
        if isinstance(answer, Refusal):
            refuse(self.desk, turn, session, frame, answer)
        else:
            self.desk.sessions.send(turn, session.id, answer, re=frame)
