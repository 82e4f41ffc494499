"""Having results kept elsewhere: choosing holders, auditing them, replacing them.

The custodian of a job asks holders in an order that its owner knows, too. One command
places a copy and checks up on it: a holder that says that it has all of it is asked for
some blocks, and one that has lost it, serves wrong bytes, or is silent for long is
replaced.

Rule: a copy counts only when the holder has confirmed that all of it is on its disk.
What is under way is forgotten by a restart and begun again; what is kept is recorded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from nunet_node.identity.did import Did
from nunet_node.identity.statement import Statement
from nunet_node.jobs.specification import JobId
from nunet_node.jobs.statements import REASON_CHARS_MAX, Held
from nunet_node.market.offers import ADDRESSES_MAX, Advert
from nunet_node.protocol.facts import ReplicaLost, ReplicaPlaced
from nunet_node.protocol.messages import KEEP
from nunet_node.protocol.provider.custody import Placement
from nunet_node.protocol.provider.desk import Desk, Keeper
from nunet_node.protocol.replicas.charge import (
    Charge,
    charge_of,
    charge_of_copy,
    distance,
    passed_on,
    request_of,
)
from nunet_node.protocol.replicas.choosing import NEAREST_MAX, apart, nearest
from nunet_node.protocol.replicas.events import (
    DeliverReplica,
    ReplicaDelivered,
    ReplicaMoved,
    ReplicaNotDelivered,
    SampleTaken,
    TakeSample,
)
from nunet_node.protocol.replicas.record import ReplicaKey
from nunet_node.protocol.requester import errands
from nunet_node.protocol.requester.memory import Errand, Mandate, Memory, Outcome
from nunet_node.protocol.turn import Turn

AUDIT_S: Final = 3600
"""Time between audits of one copy: at four blocks each, ten thousand copies take three
audits a second."""

AUDIT_AGAIN_S: Final = 300
"""Pause before a silent holder is asked again."""

SILENCES_MAX: Final = 3
"""Audits in a row that may go unanswered: a restart or a short journey fits in, a
machine that is gone is replaced in a quarter of an hour after that."""

PLACE_AGAIN_S: Final = 20
"""Pause before holders are looked for again when too few were found."""

AVOIDED_S: Final = 600
"""How long a node that refused or failed is not asked again about one result."""

HANDING_S: Final = 600
"""Time in which one conversation with a holder has ended, one way or the other."""

HANDING_BYTES_PER_S: Final = 64 << 10
"""Slowest hand-over, by which large results get more time."""

SETTLING_S: Final = 60
"""Time after a start before holders are audited: others are starting too."""


class Phase(Enum):
    """How things stand with one holder about one result."""

    KEPT = auto()
    """It keeps a copy, and is audited when that is due."""
    BUSY = auto()
    """Something is under way, and given up when that is due."""
    AVOIDED = auto()
    """It refused or failed; it may be asked again when that is due."""


@dataclass(slots=True, kw_only=True)
class Dealing:
    """What is under way with one holder about one job."""

    placement: Placement
    phase: Phase
    due_ns: int
    silences: int = 0
    asked: bytes = b""
    """The receipt of what it was asked to keep last."""
    kept: bytes = b""
    """The receipt of what it keeps; empty if that is not known."""


@dataclass(slots=True, kw_only=True)
class Placing:
    """The care for the copies of what a node has to have kept elsewhere."""

    desk: Desk
    memory: Memory
    dealings: dict[JobId, dict[Did, Dealing]] = field(default_factory=dict)
    copies: dict[JobId, ReplicaKey] = field(default_factory=dict)
    """The copies here that are looked after in their custodians' place."""
    held: dict[JobId, dict[Did, Placement]] = field(default_factory=dict)
    """Who else was found to have one of those."""

    def look_after(self, turn: Turn, charge: Charge) -> int:
        """Do what is due for one charge; return when to look again, elapsed time."""
        dealings = self.dealings.setdefault(charge.job, {})
        for placement in charge.placed:
            if placement.holder not in dealings:
                dealings[placement.holder] = Dealing(
                    placement=placement,
                    phase=Phase.KEPT,
                    due_ns=turn.after_s(SETTLING_S),
                )
        for dealing in list(dealings.values()):
            newer = dealing.kept not in (b"", charge.receipt)
            waits = dealing.phase is Phase.KEPT and newer and not dealing.silences
            if waits or dealing.due_ns <= turn.now.elapsed_ns:
                self._due(turn, charge, dealing)
        charge = self._charge(turn, charge.job) or charge
        self._find(turn, charge, dealings)
        dues = [each.due_ns for each in dealings.values()]
        if len(charge.placed) < charge.copies:
            dues.append(turn.after_s(PLACE_AGAIN_S))
        return min(dues, default=turn.after_s(PLACE_AGAIN_S))

    def leave(self, job: JobId) -> None:
        """Look after a job's copies no longer."""
        self.dealings.pop(job, None)

    def is_busy(self, job: JobId) -> bool:
        """Tell whether anything is under way about a job."""
        dealings = self.dealings.get(job, {}).values()
        return any(each.phase is Phase.BUSY for each in dealings)

    def ended(self, turn: Turn, outcome: Outcome) -> None:
        """Take a holder's answer, or that there is none."""
        errand = outcome.errand
        charge = self._charge(turn, errand.job)
        dealing = self._current(turn, charge, errand.provider)
        if dealing is None or charge is None:
            return
        said = outcome.answer.payload if outcome.answer is not None else None
        if outcome.unreachable:
            self._silent(turn, charge, dealing, outcome.unreachable)
        elif not isinstance(said, Held) or (said.job, said.root) != (
            charge.job,
            charge.root,
        ):
            refusal = outcome.refusal
            reason = refusal.reason if refusal else "it answered something else"
            self._failed(turn, charge, dealing, reason)
        elif self._gives_way(turn, charge, said.keeper):
            dealing.phase, dealing.due_ns = Phase.KEPT, turn.after_s(AUDIT_S)
        elif said.here:
            turn.do(
                TakeSample(
                    job=charge.job,
                    holder=errand.provider,
                    peer_id=errand.peer_id,
                    root=charge.root,
                )
            )
        elif dealing.placement in charge.placed and _had(dealing, charge):
            self._failed(turn, charge, dealing, "it no longer has the copy")
        else:
            self._hand_over(turn, charge, dealing)

    def delivered(
        self, turn: Turn, given: ReplicaDelivered | ReplicaNotDelivered
    ) -> None:
        """A holder has all of a copy, or handing it over failed."""
        charge = self._charge(turn, given.job)
        dealing = self._current(turn, charge, given.holder)
        if dealing is None or charge is None:
            return
        if isinstance(given, ReplicaDelivered):
            self._kept(turn, charge, dealing)
        else:
            self._failed(turn, charge, dealing, given.reason)

    def sampled(self, turn: Turn, given: SampleTaken) -> None:
        """A holder was audited."""
        charge = self._charge(turn, given.job)
        dealing = self._current(turn, charge, given.holder)
        if dealing is None or charge is None:
            return
        if not given.fault:
            self._kept(turn, charge, dealing)
        elif given.silent:
            self._silent(turn, charge, dealing, given.fault)
        else:
            self._failed(turn, charge, dealing, given.fault)

    def _charge(self, turn: Turn, name: JobId) -> Charge | None:
        job = turn.ledger.jobs.get(name)
        if job is not None:
            return charge_of(job)
        key = self.copies.get(name)
        replica = turn.ledger.replicas.get(key) if key is not None else None
        if replica is None:
            return None
        return charge_of_copy(replica, tuple(self.held.get(name, {}).values()))

    def _gives_way(self, turn: Turn, charge: Charge, keeper: Did | None) -> bool:
        """Stop acting if somebody does who comes before us; tell whether we do."""
        own, key = self.desk.voice.did, (charge.owner, charge.job)
        if charge.custodian is None or keeper is None or keeper == own:
            return False
        nearer = distance(charge.job, keeper) < distance(charge.job, own)
        if keeper != charge.custodian and not nearer:
            return False
        self.desk.keepers[key] = Keeper(did=keeper, asked_ns=turn.now.elapsed_ns)
        self.desk.acting.discard(key)
        return True

    def _current(
        self, turn: Turn, charge: Charge | None, holder: Did
    ) -> Dealing | None:
        """Return what is under way with a holder, if it is about this charge."""
        if charge is None:
            return None
        dealing = self.dealings.get(charge.job, {}).get(holder)
        if dealing is None or dealing.phase is not Phase.BUSY:
            return None
        if dealing.asked == charge.receipt:
            return dealing
        # There is something newer since: how this went does not matter.
        if any(each.holder == holder for each in charge.placed):
            dealing.phase, dealing.due_ns = Phase.KEPT, turn.now.elapsed_ns
        else:
            del self.dealings[charge.job][holder]
        return None

    def _due(self, turn: Turn, charge: Charge, dealing: Dealing) -> None:
        match dealing.phase:
            case Phase.KEPT:
                self._ask(turn, charge, dealing)
            case Phase.BUSY:
                self._silent(turn, charge, dealing, "it did not answer in time")
            case Phase.AVOIDED:
                del self.dealings[charge.job][dealing.placement.holder]

    def _find(
        self, turn: Turn, charge: Charge, dealings: Mapping[Did, Dealing]
    ) -> None:
        """Ask as many more holders as are lacking."""
        kept = {each.holder for each in charge.placed}
        asked = [
            did
            for did, each in dealings.items()
            if each.phase is Phase.BUSY and did not in kept
        ]
        lacking = charge.copies - len(kept) - len(asked)
        if lacking <= 0:
            return
        offers = [
            heard
            for heard in self.memory.adverts.fresh(turn.now.unix_s)
            if heard.payload.store_bytes and heard.issuer != charge.custodian
        ]

        def fits(heard: Statement[Advert]) -> bool:
            roomy = heard.payload.store_free_bytes >= charge.size_bytes
            return roomy and heard.issuer not in dealings

        # The owner looks with the nearest of all, the full ones included.
        near = [*filter(fits, nearest(charge.job, offers, NEAREST_MAX))]
        if len(near) < lacking:
            near = nearest(charge.job, filter(fits, offers), lacking)
        taken = [
            each.placement.addresses
            for each in dealings.values()
            if each.phase is not Phase.AVOIDED
        ]
        for heard in apart(near, lacking, [*taken, self.desk.addresses]):
            placement = Placement(
                holder=heard.issuer,
                peer_id=heard.payload.peer_id,
                addresses=heard.payload.addresses,
            )
            dealing = Dealing(placement=placement, phase=Phase.BUSY, due_ns=0)
            self.dealings[charge.job][heard.issuer] = dealing
            self._ask(turn, charge, dealing)

    def _ask(self, turn: Turn, charge: Charge, dealing: Dealing) -> None:
        wait_s = HANDING_S + charge.size_bytes // HANDING_BYTES_PER_S
        dealing.phase, dealing.due_ns = Phase.BUSY, turn.after_s(wait_s)
        dealing.asked = charge.receipt
        to = dealing.placement
        proofs, handed = passed_on(charge, self.desk.voice, to.holder)
        heard = self.memory.adverts.of_provider(to.holder, turn.now.unix_s)
        newest = heard.payload.addresses if heard else ()
        errand = Errand(
            job=charge.job,
            command=KEEP,
            provider=to.holder,
            peer_id=to.peer_id,
            addresses=tuple(dict.fromkeys((*newest, *to.addresses))),
            mandate=Mandate(
                signer=self.desk.voice.signer, subject=charge.owner, proofs=proofs
            ),
            args=request_of(turn, charge, handed, self._place(charge, to.holder)),
            beside=handed,
        )
        errands.launch(self.memory, turn, errand)

    def _place(self, charge: Charge, holder: Did) -> int:
        """Return how many other holders look after the copies before this one."""
        dealings = self.dealings[charge.job].items()
        others = [did for did, each in dealings if each.phase is not Phase.AVOIDED]
        own = distance(charge.job, holder)
        return sum(distance(charge.job, did) < own for did in others)

    def _hand_over(self, turn: Turn, charge: Charge, dealing: Dealing) -> None:
        to, job, root = dealing.placement, charge.job, charge.root
        turn.do(
            DeliverReplica(job=job, holder=to.holder, peer_id=to.peer_id, root=root)
        )

    def _kept(self, turn: Turn, charge: Charge, dealing: Dealing) -> None:
        dealing.phase, dealing.silences = Phase.KEPT, 0
        other = dealing.kept not in (b"", charge.receipt)
        dealing.kept, dealing.due_ns = charge.receipt, turn.after_s(AUDIT_S)
        to = dealing.placement
        if any(each.holder == to.holder for each in charge.placed):
            if other and not charge.logs:
                _tell(turn, charge, to.holder)
            return
        if charge.custodian is None:
            placed = ReplicaPlaced(
                job=charge.job,
                holder=to.holder,
                peer_id=to.peer_id,
                addresses=to.addresses[:ADDRESSES_MAX],
                at_s=turn.now.unix_s,
            )
            turn.record(placed)
        else:
            self.held.setdefault(charge.job, {})[to.holder] = to
        _tell(turn, charge, to.holder)

    def _silent(
        self, turn: Turn, charge: Charge, dealing: Dealing, reason: str
    ) -> None:
        """Ask a holder again that may be back soon; go elsewhere if it is not."""
        dealing.silences += 1
        placed = dealing.placement in charge.placed
        if placed and dealing.silences < SILENCES_MAX:
            dealing.phase = Phase.KEPT
            dealing.due_ns = turn.after_s(AUDIT_AGAIN_S)
        else:
            self._failed(turn, charge, dealing, reason)

    def _failed(
        self, turn: Turn, charge: Charge, dealing: Dealing, reason: str
    ) -> None:
        """Count a holder's copy as lost, and do not ask it again soon."""
        dealing.phase, dealing.due_ns = Phase.AVOIDED, turn.after_s(AVOIDED_S)
        holder = dealing.placement.holder
        if not any(each.holder == holder for each in charge.placed):
            return
        reason = reason[:REASON_CHARS_MAX]
        if charge.custodian is None:
            lost = ReplicaLost(
                job=charge.job, holder=holder, reason=reason, at_s=turn.now.unix_s
            )
            turn.record(lost)
        else:
            self.held.get(charge.job, {}).pop(holder, None)
        _tell(turn, charge, holder, lost=reason)


def _tell(turn: Turn, charge: Charge, holder: Did, *, lost: str | None = None) -> None:
    moved = ReplicaMoved(
        job=charge.job,
        holder=holder,
        placed=lost is None,
        reason=lost or "",
        logs=charge.logs,
    )
    turn.tell(moved)


def _had(dealing: Dealing, charge: Charge) -> bool:
    """Tell whether a holder that has not all of it had all of it before.

    After a restart nobody remembers: a result is never replaced, logs often are.
    """
    return dealing.kept == charge.receipt or not (dealing.kept or charge.logs)
