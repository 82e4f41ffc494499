"""The twelve invariants, checked from outside after every turn, and one of notices.

Rule: a checker keeps its own books, made from facts, frames and effects alone; it
asks no node what it believes where it could be wrong about it. Numbers are those of
the network's list of promises (I1 to I12, and N1); what each says stands beside its
check.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from nunet_node.capability.invocation import Invocation
from nunet_node.errors import NunetNodeError
from nunet_node.identity.did import Did
from nunet_node.jobs.lifecycle import HOLDING, MOVES, State, is_final
from nunet_node.jobs.specification import JobId
from nunet_node.protocol import effects as fx
from nunet_node.protocol import facts as ft
from nunet_node.protocol.inputs import FrameReceived, Input, JobExited
from nunet_node.protocol.messages import CANCEL, SUBMIT
from nunet_node.protocol.turn import Batch, Ledger
from nunet_node.quantities import ResourceVector
from nunet_node.simulator.plan import NS_PER_S
from nunet_node.simulator.world.machine import Machine
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import decode_record, encode_record

NOTHING: Final = ResourceVector()

STOPPED_NS: Final = NS_PER_S
"""Time in which what was cancelled is dead: the order to kill it comes in the same
turn as the acceptance, and carrying it out takes a hundredth of this."""


class BrokenPromiseError(NunetNodeError):
    """The network broke one of its invariants, which is our bug."""

    def __init__(self, invariant: str, at_ns: int, said: str) -> None:
        super().__init__(f"{invariant} at {at_ns / 1e9:.6f} s: {said}")
        self.invariant, self.at_ns, self.said = invariant, at_ns, said

    def __reduce__(self) -> tuple[type, tuple[str, int, str]]:
        """Let it come back from another process of a sweep."""
        return type(self), (self.invariant, self.at_ns, self.said)


@dataclass(slots=True)
class Custody:
    """What one provider's facts say of one job."""

    owner: Did
    attempt: int
    need: ResourceVector
    state: State | None = None
    cancelling: bool = False
    invocation: Cid | None = None


@dataclass(slots=True)
class Books:
    """What is known of one machine by its facts alone."""

    jobs: dict[JobId, Custody] = field(default_factory=dict)
    reserved: ResourceVector = NOTHING
    spent: set[Cid] = field(default_factory=set)
    """Commands that had an effect."""
    copies: dict[JobId, Did] = field(default_factory=dict)
    """Whose results it ever kept copies of."""
    stopping: dict[JobId, int] = field(default_factory=dict)
    """When it accepted which cancel, since it booted."""
    heard: dict[JobId, int] = field(default_factory=dict)
    """The number of the last notice of a job's newest attempt."""
    chain: dict[JobId, bytes] = field(default_factory=dict)
    """The digest of that notice."""
    told: dict[JobId, list[State]] = field(default_factory=dict)
    """What the owner was told of a job's newest attempt, in order."""


class Promises:
    """A watcher that raises as soon as a promise is broken."""

    idle_too = False

    def __init__(self, machines: list[Machine]) -> None:
        self._books = [Books() for _ in machines]
        self._peers = {machine.peer_id: machine for machine in machines}
        self._owners: dict[JobId, Did] = {}
        self._custodies: dict[JobId, list[Custody]] = {}
        self._results: dict[JobId, tuple[Did, Cid]] = {}
        self._now_ns = 0

    def turned(self, now_ns: int, machine: Machine, given: Input, batch: Batch) -> None:
        """Check one turn.

        Raises:
            BrokenPromiseError: it broke an invariant.
        """
        if not batch.facts and not batch.effects:
            return
        self._now_ns = now_ns
        books = self._books[machine.index]
        command = None
        if type(given) is FrameReceived and isinstance(given.body, Invocation):
            command = given.body
        for fact in batch.facts:
            self._fact(machine, books, fact, command)
        if books.stopping:
            self._stopped(machine, books, given)
        for effect in batch.effects:
            if type(effect) is fx.StartJob:
                self._starts(machine, books, effect)
            elif type(effect) is fx.GrantRead or type(effect) is fx.GrantLogs:
                self._grants(books, effect)

    def booted(self, now_ns: int, machine: Machine) -> None:
        """Check that a journal read again is the state that wrote it (I12).

        Raises:
            BrokenPromiseError: it is not.
        """
        self._now_ns = now_ns
        if machine.original is not None and machine.is_new_copy:
            self._copied(machine, self._books[machine.original.index])
        self._books[machine.index].stopping.clear()
        ledger = Ledger()
        for fact in machine.journal:
            data = encode_record(fact)
            ledger.apply(decode_record(ft.Fact, data, bytes_max=ft.FACT_BYTES_MAX))
        jobs, orders = dict(machine.node.jobs), dict(machine.node.orders)
        copies, died_as = dict(machine.node.replicas), machine.died_as
        booted_as = (jobs, orders, copies)
        if (ledger.jobs, ledger.orders, ledger.replicas) != booted_as:
            self._broken("I12", f"{machine.name} is not what its journal says")
        for job, custody in self._books[machine.index].jobs.items():
            kept = jobs.get(job)
            if kept is None or (kept.state, kept.owner) != (
                custody.state,
                custody.owner,
            ):
                self._broken("I6", f"{machine.name} came back without {job}")
        if died_as is not None and died_as != booted_as:
            self._broken("I12", f"{machine.name} is not who it was when it died")

    def settled(self, now_ns: int, machines: list[Machine]) -> None:
        """Check what must hold when all is quiet.

        Raises:
            BrokenPromiseError: room is still taken, or the two sides disagree.
        """
        self._now_ns = now_ns
        for machine in machines:
            if machine.gone or not machine.up:
                continue
            books = self._books[machine.index]
            if books.reserved != NOTHING:
                self._broken("I4", f"{machine.name} still holds {books.reserved}")
            if machine.running:
                self._broken("I7", f"{machine.name} still runs a job")
            for job, states in books.told.items():
                if State.COMPLETED in states and State.STARTING not in states:
                    self._broken("I11", f"{job} completed, and never started")

    def _copied(self, machine: Machine, before: Books) -> None:
        """Begin the books of a copied home with what stands in the original's."""
        books = self._books[machine.index] = deepcopy(before)
        for job, custody in books.jobs.items():
            self._custodies[job].append(custody)

    def _fact(
        self,
        machine: Machine,
        books: Books,
        fact: ft.Fact,
        command: Invocation | None,
    ) -> None:
        match fact:
            case ft.JobAccepted():
                self._accepts(machine, books, fact, command)
            case ft.JobMoved():
                self._moves(machine, books, fact)
            case ft.CancelAccepted():
                self._cancels(books, fact, command)
            case ft.JobForgotten():
                forgotten = books.jobs.pop(fact.job)
                if forgotten.state is None or not is_final(forgotten.state):
                    self._broken("I6", f"{fact.job} is forgotten, and has not ended")
            case ft.ReplicaTaken():
                books.copies[fact.job] = fact.owner
            case _:
                self._order_fact(books, fact)

    def _order_fact(self, books: Books, fact: ft.Fact) -> None:
        match fact:
            case ft.OrderPlaced():
                self._owned(fact.job, fact.owner)
            case ft.AwardIntended():
                books.heard.pop(fact.job, None)
                books.chain.pop(fact.job, None)
                if State.COMPLETED in books.told.pop(fact.job, ()):
                    self._broken("I3", f"{fact.job} has a result, and runs again")
            case ft.AwardAccepted():
                self._acknowledged(fact)
            case ft.NoticeKept():
                self._noticed(books, fact)
            case ft.OrderEnded():
                self._told(books, fact.job, fact.state)
            case ft.CancelKept():
                self._confirmed(fact)
            case _:
                pass

    def _accepts(
        self,
        machine: Machine,
        books: Books,
        fact: ft.JobAccepted,
        command: Invocation | None,
    ) -> None:
        # I5, and I9: only a command of the owner makes a job, and each makes one.
        self._owned(fact.job, fact.owner)
        if command is None or command.command != SUBMIT:
            self._broken("I5", f"{machine.name} took {fact.job} without a command")
            return
        if command.subject != fact.owner or command.audience != machine.did:
            self._broken("I5", f"{fact.job} was taken on another's command")
        self._spend(books, command)
        before = books.jobs.get(fact.job)
        if before is not None and not (before.state and is_final(before.state)):
            self._broken("I2", f"{fact.job} was accepted twice at {machine.name}")
        custody = Custody(
            owner=fact.owner,
            attempt=fact.attempt,
            need=fact.spec.resources,
            invocation=command.cid,
        )
        books.jobs[fact.job] = custody
        self._custodies.setdefault(fact.job, []).append(custody)

    def _moves(self, machine: Machine, books: Books, fact: ft.JobMoved) -> None:
        # I2: states move along the table. I4: no more is reserved than there is.
        custody = books.jobs.get(fact.job)
        if custody is None:
            self._broken("I2", f"{fact.job} moved before it was accepted")
            return
        before, after = custody.state, fact.state
        if before is not None and after not in MOVES[before]:
            self._broken("I2", f"{fact.job} moved from {before} to {after}")
        custody.state, custody.attempt = after, fact.attempt
        held, holds = before in HOLDING, after in HOLDING
        if holds and not held:
            books.reserved += custody.need
        elif held and not holds:
            books.reserved = books.reserved.less(custody.need)
        if not books.reserved.fits(machine.offered):
            self._broken("I4", f"{machine.name} has reserved {books.reserved}")

    def _cancels(
        self, books: Books, fact: ft.CancelAccepted, command: Invocation | None
    ) -> None:
        custody = books.jobs[fact.job]
        custody.cancelling = True
        books.stopping[fact.job] = self._now_ns
        if command is None or command.command != CANCEL:
            self._broken("I5", f"{fact.job} was cancelled without a command")
        elif command.subject != custody.owner:
            self._broken("I5", f"{fact.job} was cancelled by {command.subject}")
        else:
            self._spend(books, command)

    def _starts(self, machine: Machine, books: Books, effect: fx.StartJob) -> None:
        # I5: nothing runs without its owner's command. I7: nothing cancelled starts.
        custody = books.jobs.get(effect.job)
        if custody is None or custody.invocation is None:
            self._broken("I5", f"{effect.job} starts without a command")
        elif custody.owner != effect.owner:
            self._broken("I1", f"{effect.job} starts for {effect.owner}")
        elif custody.cancelling:
            self._broken("I7", f"{effect.job} starts after its cancel was accepted")
        elif custody.state is not State.STARTING:
            self._broken("I2", f"{effect.job} starts while it is {custody.state}")
        if effect.job in machine.running:
            self._broken("I5", f"{effect.job} runs twice at once on {machine.name}")

    def _grants(self, books: Books, effect: fx.GrantRead | fx.GrantLogs) -> None:
        # I8: nobody reads but the owner, and a custodian the copies of its results.
        peer = self._peers.get(effect.peer_id)
        custody = books.jobs.get(effect.job)
        owner = custody.owner if custody else books.copies.get(effect.job)
        keeps = peer is not None and effect.job in self._books[peer.index].jobs
        audits = type(effect) is fx.GrantRead and effect.job in books.copies and keeps
        if not audits and (peer is None or owner not in peer.users):
            self._broken("I8", f"{effect.job} may be read by {effect.peer_id}")

    def _acknowledged(self, fact: ft.AwardAccepted) -> None:
        # I6: what was acknowledged is on the provider's disk.
        said = fact.accepted
        self._owned(fact.job, said.owner)
        kept = self._custodies.get(fact.job, ())
        if not any(custody.attempt >= said.attempt for custody in kept):
            self._broken("I6", f"{fact.job} was acknowledged and is on no disk")

    def _stopped(self, machine: Machine, books: Books, given: Input) -> None:
        # I7: what was cancelled is killed at once, and does not run to its end.
        over = None
        if isinstance(given, JobExited) and given.limit != "cancelled":
            over = given.job
        for job, accepted_ns in books.stopping.items():
            late = self._now_ns > accepted_ns + STOPPED_NS
            if late and (job in machine.running or job == over):
                self._broken("I7", f"{job} ran on after its cancel was accepted")

    def _confirmed(self, fact: ft.CancelKept) -> None:
        # I7: what was confirmed has ended.
        said = fact.confirmation
        kept = self._custodies.get(fact.job, ())
        if not is_final(said.state) or all(c.state is not said.state for c in kept):
            self._broken("I7", f"{fact.job} was confirmed as {said.state} and is not")

    def _noticed(self, books: Books, fact: ft.NoticeKept) -> None:
        # I3: at most one result is accepted.
        notice = fact.notice
        if notice.sequence <= books.heard.get(fact.job, 0):
            self._broken("I11", f"notice {notice.sequence} of {fact.job} is kept twice")
        # N1: what is believed of a job is one chain, whoever signs two.
        if notice.previous != books.chain.get(fact.job, b""):
            self._broken("N1", f"{fact.job} is told on from what was never heard")
        books.heard[fact.job] = notice.sequence
        books.chain[fact.job] = sha256(fact.data).digest()
        self._told(books, fact.job, notice.state)
        if notice.result is None:
            return
        known = self._results.setdefault(fact.job, (notice.owner, notice.result))
        if known != (notice.owner, notice.result):
            self._broken("I3", f"{fact.job} has two results")

    def _told(self, books: Books, job: JobId, state: State) -> None:
        # I2: an end is final for the owner too. I11: each end is told once.
        told = books.told.setdefault(job, [])
        if told and is_final(told[-1]):
            self._broken("I11", f"{job} ended as {told[-1]} and is told {state}")
        told.append(state)

    def _owned(self, job: JobId, owner: Did) -> None:
        # I1: a job has one owner, everywhere and for ever.
        if self._owners.setdefault(job, owner) != owner:
            self._broken("I1", f"{job} has two owners")

    def _spend(self, books: Books, command: Invocation) -> None:
        # I9: a command acts at most once, also after a crash.
        if command.cid in books.spent:
            self._broken("I9", f"{command.cid} acted twice")
        books.spent.add(command.cid)

    def _broken(self, invariant: str, said: str) -> None:
        raise BrokenPromiseError(invariant, self._now_ns, said)
