"""Nodes joined by a perfect network under virtual time, for tests of the core.

Effects go where the shells would take them; what only the world can answer (a job
that ends, a result that is stored) waits in lists until the test says so. Faults are
asked for: `Peer.kill` and `Peer.restart`, `World.cut`, `World.part` and `World.heal`,
`Peer.disk_full`. After every input the peer's invariants are checked.
"""

import heapq
import itertools
from dataclasses import dataclass, field

from nunet_node.capability.held.holdings import Holdings
from nunet_node.identity.keys import SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.jobs.specification import Engine, JobId, JobSpec, job_id_of
from nunet_node.market.offers import EngineOffer
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.facts import Fact
from nunet_node.protocol.messages import REVOCATIONS_TOPIC
from nunet_node.protocol.node import Node, NodeSettings
from nunet_node.protocol.opening import open_advert, open_frame, open_revocations
from nunet_node.protocol.trust.admission import Admission
from nunet_node.quantities import Now, ResourceVector
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import decode_record, encode_record

START_S = 1_700_000_000
NS = 1_000_000_000
OUTPUT = Cid.of_raw(b"what the job left")
INPUT = Cid.of_raw(b"what the job needs")

STEPS_MAX = 50_000
"""Inputs in one `World.run`: more means that two nodes talk in circles."""


def counting_nonce(seed):
    numbers = itertools.count(1)
    return lambda size: (seed + next(numbers).to_bytes(8, "big")).rjust(size, b"\0")[
        -size:
    ]


@dataclass(eq=False)
class Peer:
    """One node, its journal and what it has asked of the world."""

    world: "World"
    key: SigningKey
    user: SigningKey
    provides: bool
    name: str = ""
    journal: list[Fact] = field(default_factory=list)
    running: list[fx.StartJob] = field(default_factory=list)
    storing: list[fx.StoreResult] = field(default_factory=list)
    expecting: list[fx.ExpectInputs] = field(default_factory=list)
    grants: list[object] = field(default_factory=list)
    news: list[fx.News] = field(default_factory=list)
    held: list[ins.Input] = field(default_factory=list)
    up: bool = True
    boot: int = 0
    price: int = 0
    disk_full: bool = False
    capacity: ins.CapacityProbed | None = None
    seen: dict = field(default_factory=dict)
    admission: Admission = field(default_factory=Admission)
    holdings: Holdings = field(default_factory=Holdings)

    def __post_init__(self):
        self.peer_id = peer_id_of(self.key.did)
        self.did = self.key.did
        self.boot_node()

    @property
    def jobs(self):
        return self.node.jobs

    @property
    def orders(self):
        return self.node.orders

    def boot_node(self):
        self.boot += 1
        self.up = True
        self.sessions = {}
        self.even = itertools.count(2, 2)
        settings = NodeSettings(
            signer=self.key,
            peer_id=self.peer_id,
            users={self.user.did: self.user},
            provides=self.provides,
            price_micro_ntx=self.price,
            boot=bytes([self.boot]) * 16,
            nonce=counting_nonce(self.key.did.encode()[-6:] + bytes([self.boot])),
            admission=self.admission,
            holdings=self.holdings,
        )
        self.node = Node(settings)
        for fact in self.journal:
            self.node.apply(fact)

    def start(self):
        self.give(ins.AddressesChanged(addresses=(f"/memory/{self.peer_id}",)))
        if self.capacity is not None:
            self.give(self.capacity)
        self.give(ins.NodeStarted())

    def restart(self):
        """Come up again with nothing but the journal, and join the others."""
        self.boot_node()
        self.start()
        self.world.introduce(self)
        self.world.run()

    def give(self, given):
        before = snapshot(self.node)
        batch = self.node.handle(given, self.world.now)
        if batch.facts and self.disk_full:
            self.node.undo()
            assert snapshot(self.node) == before, "the turn was not taken back"
            self._refuse(given)
            return
        for fact in batch.facts:
            # Through bytes, as a journal would.
            data = encode_record(fact)
            self.journal.append(decode_record(Fact, data, bytes_max=1 << 20))
        self.world.check(self)
        for effect in batch.effects:
            self.world.perform(self, effect)

    def _refuse(self, given):
        if isinstance(given, ins.FrameReceived | ins.FrameRejected):
            self.world.close(self, given.session)
        elif not isinstance(given, ins.StoreFilled):
            self.held.append(given)
        if not isinstance(given, ins.StoreFilled):
            self.give(ins.StoreFilled(full=True))

    def disk_has_room(self):
        """Let the journal be written again, and repeat what could not be kept."""
        self.disk_full = False
        self.give(ins.StoreFilled(full=False))
        held, self.held = self.held, []
        for given in held:
            self.give(given)
        self.world.run()

    def told(self, kind):
        return [n for n in self.news if isinstance(n, kind)]

    def kill(self):
        self.up = False
        for session, (other, theirs) in list(self.sessions.items()):
            other.sessions.pop(theirs, None)
            self.world.later(0, other, ins.SessionClosed(session=theirs))
            self.world.later(0, other, ins.PeerGone(peer_id=self.peer_id))
            self.sessions.pop(session)
        self.running.clear()
        self.storing.clear()
        self.expecting.clear()
        self.held.clear()
        self.disk_full = False

    def finish(self, exit_code=0, limit="", **more):
        order = self.running.pop(0)
        self.give(
            ins.JobExited(
                job=order.job,
                attempt=order.attempt,
                exit_code=exit_code,
                limit=limit,
                **more,
            )
        )
        self.world.run()

    def store(self):
        order = self.storing.pop(0)
        self.give(
            ins.ResultStored(
                job=order.job, attempt=order.attempt, root=OUTPUT, size_bytes=17
            )
        )
        self.world.run()

    def reserved(self):
        held = (j.spec.resources for j in self.jobs.values() if j.holding)
        return sum(held, ResourceVector())


def audiences(peer):
    held = getattr(peer, "holdings", None)
    return {peer.did, peer.user.did, *(held.subjects() if held else ())}


def snapshot(node):
    ledger = node._ledger
    return (
        dict(ledger.jobs),
        dict(ledger.orders),
        set(ledger.active),
        ledger.started_tag,
        ledger.sequence,
        ledger.standing,
    )


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

    def check(self, peer):
        """Assert what must hold of one node after every input."""
        if peer.capacity is not None and peer.node._provider.desk.awake:
            assert peer.reserved().fits(peer.capacity.total), "more than there is"
        active = {name for name, job in peer.jobs.items() if not job.ended}
        assert set(peer.node._ledger.active) == active
        for record in (*peer.jobs.values(), *peer.orders.values()):
            key = (type(record), record.job)
            owner, state, attempt = peer.seen.get(key, (None, None, 0))
            assert owner in (None, record.owner), "a job changed hands"
            final = state is not None and state.value in FINAL
            assert not final or (record.state is state) or record.attempt > attempt
            peer.seen[key] = (record.owner, record.state, record.attempt)

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


FINAL = {"completed", "failed", "cancelled", "timed_out", "lost", "refused"}


def capacity(cpus, engines=("process",), *, ready=True):
    return ins.CapacityProbed(
        total=ResourceVector(
            cpu_millis=cpus * 1000, memory_bytes=8 << 30, disk_bytes=8 << 30
        ),
        engines=tuple(EngineOffer(engine=e, isolation=e, ready=ready) for e in engines),
    )


def spec(cpus=1, **more):
    given = {
        "name": "work",
        "engine": Engine.PROCESS,
        "command": ("true",),
        "resources": ResourceVector(
            cpu_millis=cpus * 1000, memory_bytes=1 << 20, disk_bytes=1 << 20
        ),
    }
    return JobSpec(**{**given, **more})


def job_of(peer, wanted, salt=b"s" * 16) -> JobId:
    return job_id_of(peer.user.did, Cid.of_dag_cbor(encode_record(wanted)), salt)


def place(peer, wanted, salt=b"s" * 16) -> JobId:
    """Submit a job from this peer and let the network settle."""
    job = job_of(peer, wanted, salt)
    peer.give(ins.OrderWanted(job=job, spec=wanted, salt=salt))
    peer.world.run()
    return job
