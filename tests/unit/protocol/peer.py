"""One node in the virtual world: its journal, and what it has asked of the world."""

import itertools
from dataclasses import dataclass, field

from nunet_node.capability.held.holdings import Holdings
from nunet_node.identity.keys import AbsentKey, SigningKey
from nunet_node.identity.peer_id import peer_id_of
from nunet_node.protocol import effects as fx
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.facts import Fact
from nunet_node.protocol.node import Node, NodeSettings
from nunet_node.protocol.replicas import events as rp
from nunet_node.protocol.signing.events import (
    AskSignature,
    SignatureMade,
    SignatureMissing,
)
from nunet_node.protocol.trust.admission import Admission
from nunet_node.quantities import ResourceVector
from nunet_node.results.logs.chain import LogHead
from nunet_node.wire.cid import Cid
from nunet_node.wire.schema import decode_record, encode_record
from tests.unit.protocol.scenery import OUTPUT, check, counting_nonce, snapshot


def log_head(links):
    return LogHead(links=links, digest=bytes([links]) * 32)


def log_root(job, links):
    return Cid.of_dag_cbor(f"{job} {links}".encode())


@dataclass(eq=False)
class Peer:
    """One node, its journal and what it has asked of the world."""

    world: object
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
    store_bytes: int = 0
    domains: tuple[str, ...] = ()
    copies: set = field(default_factory=set)
    """Roots whose blocks are on disk here, for others."""
    handing: list[object] = field(default_factory=list)
    dropped: list[object] = field(default_factory=list)
    environment: dict = field(default_factory=dict)
    """Where its secrets are read."""
    sealed: list[object] = field(default_factory=list)
    """Every order to seal secrets."""
    packings: list[object] = field(default_factory=list)
    """Orders to pack logs that were not carried out yet."""
    disk_full: bool = False
    capacity: ins.CapacityProbed | None = None
    seen: dict = field(default_factory=dict)
    admission: Admission = field(default_factory=Admission)
    holdings: Holdings = field(default_factory=Holdings)
    absent: bool = False
    """Whether the user's key is not in the process, and the test signs."""
    asked: list[AskSignature] = field(default_factory=list)

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
            users={self.user.did: self._user_key()},
            provides=self.provides,
            price_micro_ntx=self.price,
            store_bytes=self.store_bytes,
            domains=self.domains,
            boot=bytes([self.boot]) * 16,
            nonce=counting_nonce(self.key.did.encode()[-6:] + bytes([self.boot])),
            admission=self.admission,
            holdings=self.holdings,
        )
        self.node = Node(settings)
        for fact in self.journal:
            self.node.apply(fact)

    def _user_key(self):
        return (
            AbsentKey(self.user.did, self.user.algorithm) if self.absent else self.user
        )

    def sign(self):
        """Sign what was asked for first, as the one who has the user's key."""
        asked = self.asked.pop(0)
        signature = self.user.sign(asked.message)
        self.give(SignatureMade(errand=asked.errand, signature=signature))
        self.world.run()

    def decline(self, reason="not now"):
        """Do not sign what was asked for first."""
        asked = self.asked.pop(0)
        self.give(SignatureMissing(errand=asked.errand, reason=reason))
        self.world.run()

    def start(self, logs=()):
        self.give(ins.AddressesChanged(addresses=(f"/memory/{self.peer_id}",)))
        if self.capacity is not None:
            self.give(self.capacity)
        self.give(ins.NodeStarted(logs=logs))

    def restart(self, logs=None):
        """Come up again with nothing but the journal, and join the others.

        Of jobs in ``logs`` the chains go so far.
        """
        self.boot_node()
        self.start(tuple((job, 1, log_head(n)) for job, n in (logs or {}).items()))
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
        check(self)
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
        self.handing.clear()
        self.asked.clear()
        self.packings.clear()
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

    def store(self, **more):
        order = self.storing.pop(0)
        self.give(
            ins.ResultStored(
                job=order.job,
                attempt=order.attempt,
                root=OUTPUT,
                size_bytes=17,
                **more,
            )
        )
        self.world.run()

    def pack(self, links):
        """Carry out the last order to pack logs, which go so far by now."""
        order = self.packings.pop()
        self.packings.clear()
        stored = rp.LogsStored(
            job=order.job,
            attempt=order.attempt,
            root=log_root(order.job, links),
            size_bytes=links,
            head=log_head(links),
        )
        self.copies.add(stored.root)
        self.give(stored)
        self.world.run()

    def reserved(self):
        held = (j.room for j in self.jobs.values() if j.holding)
        return sum(held, ResourceVector())
