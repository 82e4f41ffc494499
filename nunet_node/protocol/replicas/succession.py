"""Taking the custodian's place: copies are looked after when it is gone for ever.

A holder that nobody asks about its copy for long enough asks the others itself, under
the delegation that it was handed with the copy, and places what is lacking. Holders
have places in the succession, and each waits an hour longer than the one before. Who is
asked by somebody nearer to the custodian stops.

Rule: nobody ever gives up a copy because of another; so two at once, which a parted
network makes, cost at most a copy too many, until the time of all of them is over. What
is known of it lives in memory: a holder that restarts waits anew.
"""

from dataclasses import dataclass, field
from typing import Final

from nunet_node.protocol.provider.desk import Desk, Keeper
from nunet_node.protocol.replicas.charge import charge_of_copy
from nunet_node.protocol.replicas.placing import AUDIT_S, Placing
from nunet_node.protocol.replicas.record import Replica, ReplicaKey
from nunet_node.protocol.turn import NS_PER_S, Turn

SUCCESSION_S: Final = 4 * AUDIT_S
"""Silence after which the first holder takes over: three audits that did not come, and
the time that one may be late. A custodian that is mended in a morning stays one."""

STEP_S: Final = AUDIT_S
"""How much longer the next holder waits: the one before it has asked everybody then."""

ACTING_MAX: Final = 64
"""Copies that are taken over at one look; the rest follow at the next, so that the end
of one large custodian does not make its holders talk to everybody in one moment."""

PAUSE_S: Final = 10
"""Time between two such looks."""


@dataclass(slots=True, kw_only=True)
class Succession:
    """The copies here that nobody else looks after."""

    desk: Desk
    placing: Placing
    acting: dict[ReplicaKey, int] = field(default_factory=dict)
    """When each copy of which we look after the others is due, elapsed time."""

    def look(self, turn: Turn) -> int | None:
        """Take over what nobody asks for; return when to look again, elapsed time."""
        now_ns, dues, taken = turn.now.elapsed_ns, [], 0
        self._forget(turn)
        for replica in turn.ledger.replicas.values():
            if not _may_act(replica) or replica.key in self.acting:
                continue
            due_ns = self._due_ns(turn, replica)
            if due_ns > now_ns:
                dues.append(due_ns)
            elif taken == ACTING_MAX:
                dues.append(turn.after_s(PAUSE_S))
            else:
                taken += 1
                self._take_over(turn, replica)
        return min((*dues, *self.acting.values()), default=None)

    def look_after(self, turn: Turn, key: ReplicaKey) -> None:
        """Go on with the copies of one result that we look after."""
        replica = turn.ledger.replicas.get(key)
        charge = charge_of_copy(replica) if replica is not None else None
        if charge is None or key not in self.desk.acting:
            self._stop(key)
            return
        held = self.placing.held.get(charge.job, {})
        charge = charge_of_copy(replica, tuple(held.values())) if replica else charge
        if charge is not None:
            self.acting[key] = self.placing.look_after(turn, charge)

    def go_on(self, turn: Turn) -> None:
        """Go on with everything that is due."""
        now_ns = turn.now.elapsed_ns
        for key in [key for key, due_ns in self.acting.items() if due_ns <= now_ns]:
            self.look_after(turn, key)

    def undo(self) -> None:
        """Begin again with what we look after, after a turn was taken back."""
        for key in self.acting:
            self.acting[key] = 0

    def _take_over(self, turn: Turn, replica: Replica) -> None:
        _, job = key = replica.key
        if job in self.placing.copies or job in turn.ledger.jobs:
            return
        self.placing.copies[job] = key
        self.desk.acting.add(key)
        did, now_ns = self.desk.voice.did, turn.now.elapsed_ns
        self.desk.keepers[key] = Keeper(did=did, asked_ns=now_ns)
        self.acting[key] = now_ns
        self.look_after(turn, key)

    def _due_ns(self, turn: Turn, replica: Replica) -> int:
        # Whoever it was before a restart, it has all the time again.
        nobody = Keeper(did=self.desk.voice.did, asked_ns=turn.now.elapsed_ns)
        keeper = self.desk.keepers.setdefault(replica.key, nobody)
        wait_s = SUCCESSION_S + replica.place * STEP_S
        return keeper.asked_ns + wait_s * NS_PER_S

    def _stop(self, key: ReplicaKey) -> None:
        self.acting.pop(key, None)
        self.desk.acting.discard(key)
        self.placing.copies.pop(key[1], None)
        self.placing.held.pop(key[1], None)
        self.placing.leave(key[1])

    def _forget(self, turn: Turn) -> None:
        """Forget copies that went, and those that somebody else looks after again."""
        for key in list(self.acting):
            if key not in self.desk.acting or key not in turn.ledger.replicas:
                self._stop(key)
        for key in self.desk.keepers.keys() - turn.ledger.replicas.keys():
            del self.desk.keepers[key]


def _may_act(replica: Replica) -> bool:
    return bool(replica.mandate) and replica.kept and replica.copies > 0
