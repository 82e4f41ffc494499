"""Nodes joined by a perfect network under virtual time, for tests of the core.

Effects go where the shells would take them; what only the world can answer (a job
that ends, a result that is stored) waits in lists until the test says so. Faults are
asked for: `Peer.kill` and `Peer.restart`, `World.cut`, `World.part` and `World.heal`,
`Peer.disk_full`. After every input the peer's invariants are checked.
"""

import heapq
import itertools

from nunet_node.identity.keys import SigningKey
from nunet_node.jobs.secrets import SecretsUse, seal_secrets
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.messages import REVOCATIONS_TOPIC
from nunet_node.protocol.opening import open_advert, open_frame, open_revocations
from nunet_node.protocol.replicas import events as rp
from nunet_node.protocol.secrets import events as sc
from nunet_node.protocol.signing.events import AskSignature, DropSignature
from nunet_node.quantities import Now
from tests.unit.protocol.peer import Peer
from tests.unit.protocol.scenery import (
    INPUT,
    NS,
    OUTPUT,
    START_S,
    capacity,
    check,
    counting_nonce,
    job_of,
    place,
    snapshot,
    spec,
)

__all__ = [
    "INPUT",
    "NS",
    "OUTPUT",
    "START_S",
    "Peer",
    "World",
    "capacity",
    "check",
    "counting_nonce",
    "job_of",
    "place",
    "snapshot",
    "spec",
]

STEPS_MAX = 50_000
"""Inputs in one `World.run`: more means that two nodes talk in circles."""


def audiences(peer):
    held = getattr(peer, "holdings", None)
    return {peer.did, peer.user.did, *(held.subjects() if held else ())}


class World:
    """The network and the clock."""

    def __init__(self):
        self.elapsed_ns = 0
        self.peers = []
        self.apart = set()
        self.starts_at_once = True
        """Whether a job runs as soon as it is started."""
        self.watch = None
        """Called with each peer and effect, for transcripts."""
        self._heap = []
        self._order = itertools.count()
        self._timers = {}

    @property
    def now(self):
        return Now(unix_s=START_S + self.elapsed_ns // NS, elapsed_ns=self.elapsed_ns)

    def peer(
        self, number, *, cpus=None, engines=("process",), price=0, name="", **more
    ):
        peer = Peer(
            world=self,
            key=SigningKey(bytes([number]) * 32),
            user=SigningKey(bytes([100 + number]) * 32),
            provides=cpus is not None,
            price=price,
            name=name or f"peer-{number}",
            **more,
        )
        if cpus is not None:
            peer.capacity = capacity(cpus, engines)
        self.peers.append(peer)
        peer.start()
        self.introduce(peer)
        self.run()
        return peer

    def introduce(self, peer):
        for other in self.peers:
            if other is not peer and other.up:
                self.later(0, peer, ins.NeighbourFound(peer_id=other.peer_id))

    def later(self, after_ns, peer, given, key=None):
        at = max(self.elapsed_ns, self.elapsed_ns + after_ns)
        heapq.heappush(self._heap, (at, next(self._order), peer, peer.boot, given, key))

    def run(self, for_s=0):
        """Let everything due within the time happen."""
        until = self.elapsed_ns + for_s * NS
        steps = 0
        while self._heap and self._heap[0][0] <= until:
            at, _, peer, boot, given, key = heapq.heappop(self._heap)
            self.elapsed_ns = max(self.elapsed_ns, at)
            if key is not None and self._timers.get((peer, boot, key[0])) != key[1]:
                continue
            if peer.up and peer.boot == boot:
                steps += 1
                assert steps < STEPS_MAX, f"in circles: {given}"
                peer.give(given)
        self.elapsed_ns = until

    def cut(self, one, other):
        """Break every session between two peers; they may dial again."""
        for session, (at, _) in list(one.sessions.items()):
            if at is other:
                self.close(one, session)

    def part(self, one, other):
        """Keep two peers from reaching each other until `heal`."""
        self.apart.add(frozenset((one.peer_id, other.peer_id)))
        self.cut(one, other)

    def heal(self):
        self.apart.clear()

    def close(self, peer, session):
        other, theirs = peer.sessions.pop(session, (None, None))
        self.later(0, peer, ins.SessionClosed(session=session))
        if other is not None:
            other.sessions.pop(theirs, None)
            self.later(0, other, ins.SessionClosed(session=theirs))

    def perform(self, peer, effect):
        if self.watch is not None:
            self.watch(peer, effect)
        match effect:
            case fx.OpenSession():
                self._open(peer, effect)
            case fx.CloseSession():
                self.close(peer, effect.session)
            case fx.Send():
                self._send(peer, effect)
            case fx.Publish():
                self._publish(peer, effect)
            case fx.SetTimer():
                number = next(self._order)
                self._timers[peer, peer.boot, effect.name] = number
                after = effect.at_ns - self.elapsed_ns
                fired = ins.TimerFired(name=effect.name)
                self.later(after, peer, fired, key=(effect.name, number))
            case fx.CancelTimer():
                self._timers.pop((peer, peer.boot, effect.name), None)
            case fx.GrantRead() | fx.GrantLogs():
                peer.grants.append(effect)
            case fx.EndGrants():
                peer.grants = [g for g in peer.grants if g.peer_id != effect.peer_id]
            case fx.Tell():
                peer.news.append(effect.news)
            case AskSignature():
                peer.asked.append(effect)
            case DropSignature():
                peer.asked = [a for a in peer.asked if a.errand != effect.errand]
            case _:
                self._work(peer, effect)

    def _work(self, peer, effect):
        match effect:
            case fx.StartJob():
                job = peer.jobs[effect.job]
                assert not job.cancelling, "a cancelled job was started"
                assert all(r.job != effect.job for r in peer.running), "twice at once"
                peer.running.append(effect)
                started = ins.JobStarted(job=effect.job, attempt=effect.attempt)
                if self.starts_at_once:
                    self.later(0, peer, started)
            case fx.StopJob():
                if not any(r.job == effect.job for r in peer.running):
                    return
                peer.running = [r for r in peer.running if r.job != effect.job]
                exited = ins.JobExited(
                    job=effect.job,
                    attempt=effect.attempt,
                    exit_code=None,
                    limit="cancelled",
                )
                self.later(0, peer, exited)
            case fx.StoreResult():
                peer.storing.append(effect)
            case fx.DiscardScratch():
                peer.storing = [s for s in peer.storing if s.job != effect.job]
            case fx.ExpectInputs():
                peer.expecting.append(effect)
            case fx.DeliverInputs():
                self._deliver(peer, effect)
            case sc.SealSecrets():
                self._seal(peer, effect)
            case _:
                self._copy(peer, effect)

    def _seal(self, peer, effect):
        peer.sealed.append(effect)
        missing = [s.name for s in effect.sources if s.env not in peer.environment]
        if missing:
            unread = sc.SecretsUnread(job=effect.job, reason=f"no {missing[0]}")
            self.later(0, peer, unread)
            return
        use = SecretsUse(
            job=effect.job,
            attempt=effect.attempt,
            provider=effect.provider,
            owner=effect.owner,
        )
        values = {s.name: peer.environment[s.env] for s in effect.sources}
        sealed = seal_secrets(
            values, use, ephemeral_secret=bytes([len(peer.sealed)]) * 32
        )
        given = sc.SecretsSealed(
            job=effect.job,
            attempt=effect.attempt,
            provider=effect.provider,
            sealed=sealed,
        )
        self.later(0, peer, given)

    def _copy(self, peer, effect):
        match effect:
            case rp.ExpectReplica():
                peer.handing.append(effect)
            case rp.DeliverReplica():
                self._hand_copy(peer, effect)
            case rp.TakeSample():
                self._sample(peer, effect)
            case rp.DropReplica():
                peer.dropped.append(effect)
                whole = (each.whole for each in peer.node.replicas.values())
                kept = {each.root for each in whole if each is not None}
                peer.copies &= kept
            case rp.DropResult():
                peer.dropped.append(effect)
            case rp.StoreLogs():
                peer.packings.append(effect)

    def _hand_copy(self, peer, effect):
        other = self._peer(peer, effect.peer_id)
        about = {"job": effect.job, "holder": effect.holder}
        expected = [
            e
            for e in (other.handing if other else ())
            if (e.job, e.peer_id, e.root) == (effect.job, peer.peer_id, effect.root)
        ]
        if not expected:
            failed = rp.ReplicaNotDelivered(**about, reason="not expected")
            self.later(0, peer, failed)
            return
        other.copies.add(effect.root)
        arrived = rp.ReplicaArrived(
            job=effect.job, owner=expected[0].owner, root=effect.root
        )
        self.later(0, other, arrived)
        self.later(0, peer, rp.ReplicaDelivered(**about))

    def _sample(self, peer, effect):
        other = self._peer(peer, effect.peer_id)
        granted = other is not None and any(
            isinstance(g, fx.GrantRead)
            and (g.peer_id, g.root) == (peer.peer_id, effect.root)
            for g in other.grants
        )
        fault = "" if granted and effect.root in other.copies else "it has no block"
        taken = rp.SampleTaken(job=effect.job, holder=effect.holder, fault=fault)
        self.later(0, peer, taken)

    def _peer(self, peer, peer_id):
        if frozenset((peer.peer_id, peer_id)) in self.apart:
            return None
        return next((p for p in self.peers if p.peer_id == peer_id and p.up), None)

    def _open(self, peer, effect):
        other = self._peer(peer, effect.peer_id)
        if other is None:
            failed = ins.SessionFailed(
                session=effect.session, peer_id=effect.peer_id, reason="nobody there"
            )
            self.later(0, peer, failed)
            return
        theirs = next(other.even)
        peer.sessions[effect.session] = (other, theirs)
        other.sessions[theirs] = (peer, effect.session)
        opened = ins.SessionOpened(session=theirs, peer_id=peer.peer_id, ours=False)
        self.later(0, other, opened)
        opened = ins.SessionOpened(
            session=effect.session, peer_id=other.peer_id, ours=True
        )
        self.later(0, peer, opened)

    def _send(self, peer, effect):
        link = peer.sessions.get(effect.session)
        if link is None:
            return
        other, theirs = link
        getattr(other, "raw", []).append(effect.data)
        opened = open_frame(
            theirs,
            effect.data,
            now_s=self.now.unix_s,
            audiences=audiences(other),
            own_did=other.did,
        )
        self.later(0, other, opened)

    def _publish(self, author, effect):
        if effect.topic == REVOCATIONS_TOPIC:
            said = open_revocations((effect.data,))
            for peer in self.peers:
                if peer is not author and self._peer(author, peer.peer_id) is not None:
                    self.later(0, peer, said)
            return
        heard = open_advert(effect.data, now_s=self.now.unix_s)
        for peer in self.peers:
            if peer is not author and self._peer(author, peer.peer_id) is not None:
                self.later(0, peer, ins.AdvertsHeard(adverts=(heard,)))

    def _deliver(self, peer, effect):
        other = self._peer(peer, effect.peer_id)
        expected = other is not None and any(
            e.job == effect.job and e.peer_id == peer.peer_id for e in other.expecting
        )
        if not expected:
            failed = ins.InputsNotDelivered(
                job=effect.job, attempt=effect.attempt, reason="not expected"
            )
            self.later(0, peer, failed)
            return
        arrived = ins.InputsArrived(job=effect.job, attempt=effect.attempt)
        self.later(0, other, arrived)
        done = ins.InputsDelivered(job=effect.job, attempt=effect.attempt)
        self.later(0, peer, done)
