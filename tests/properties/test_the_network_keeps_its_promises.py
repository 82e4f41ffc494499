"""Whatever happens in whatever order, the node's promises hold.

Two providers and two owners live under virtual time while jobs come and go, nodes
crash and return, connections break, disks fill and engines vanish. After each input
`World.check` asserts that a job keeps its owner, that what has ended stays ended, that
no more is reserved than there is, and that nothing cancelled starts. Here, after each
step, journals are replayed and notices read; and when the faults stop, everything ends.
"""

from collections import Counter
from hashlib import sha256

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from nunet_node.identity.statement import open_statement
from nunet_node.jobs.lifecycle import State, is_final
from nunet_node.jobs.specification import Retry, RetryCause, Timeouts
from nunet_node.jobs.statements import NOTICE, Notice
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import OrderChanged, StartJob
from nunet_node.protocol.messages import CANCEL
from nunet_node.protocol.turn import Ledger
from tests.unit.protocol.puppet import Puppet, code_of
from tests.unit.protocol.world import (
    INPUT,
    World,
    capacity,
    job_of,
    place,
    snapshot,
    spec,
)

CPUS = 3
ANY = st.integers(min_value=0, max_value=1)


class Network(RuleBasedStateMachine):
    """Two providers, two owners, a stranger, and everything that can go wrong."""

    @initialize()
    def begin(self):
        self.world = World()
        self.providers = [self.world.peer(n, cpus=CPUS, price=n) for n in (1, 2)]
        self.users = [self.world.peer(n) for n in (11, 12)]
        self.stranger = Puppet(self.world, 60)
        self.salts = iter(range(1000))
        self.world.run(for_s=1)
        self.peers = self.providers + self.users
        self.starts = Counter()
        self.world.watch = self.count_starts
        for who in (0, 1):
            self.submit(who=who, cpus=2, attempts=1 + who, queue_s=600, inputs=False)

    def count_starts(self, _, effect):
        if isinstance(effect, StartJob):
            self.starts[effect.job] += 1

    @rule(
        who=ANY,
        cpus=st.integers(min_value=1, max_value=4),
        attempts=st.integers(min_value=1, max_value=3),
        queue_s=st.sampled_from([5, 600]),
        inputs=st.booleans(),
    )
    def submit(self, who, cpus, attempts, queue_s, inputs):
        user = self.users[who]
        if not user.up or user.disk_full:
            return
        wanted = spec(
            cpus=cpus,
            retry=Retry(attempts=attempts, on=(RetryCause.LOST, RetryCause.FAILED)),
            timeouts=Timeouts(run_s=60, queue_s=queue_s),
            inputs=INPUT if inputs else None,
        )
        place(user, wanted, next(self.salts).to_bytes(16, "big"))

    @rule(data=st.data())
    def submit_again(self, data):
        user = self.users[data.draw(ANY)]
        if user.orders and user.up and not user.disk_full:
            job = data.draw(st.sampled_from(sorted(user.orders)))
            order = user.orders[job]
            if order.spec is not None:
                assert job == job_of(user, order.spec, order.salt)
                place(user, order.spec, order.salt)

    @rule(data=st.data())
    def cancel(self, data):
        user = self.users[data.draw(ANY)]
        if user.orders and user.up and not user.disk_full:
            job = data.draw(st.sampled_from(sorted(user.orders)))
            user.give(ins.CancelWanted(job=job))
            self.world.run()

    @rule(
        who=ANY, code=st.sampled_from([0, 0, 0, 1]), limit=st.sampled_from(["", "wall"])
    )
    def a_job_exits(self, who, code, limit):
        if self.providers[who].running:
            self.providers[who].finish(exit_code=code, limit=limit)

    @rule(who=ANY, stored=st.booleans())
    def a_result_is_stored_or_not(self, who, stored):
        provider = self.providers[who]
        if provider.storing and stored:
            provider.store()
        elif provider.storing:
            order = provider.storing.pop(0)
            lost = ins.ResultNotStored(
                job=order.job, attempt=order.attempt, reason="no room"
            )
            provider.give(lost)
            self.world.run()

    @rule(who=st.integers(min_value=0, max_value=3))
    def a_node_dies_or_returns(self, who):
        peer = self.peers[who]
        if peer.up:
            peer.kill()
            self.world.run()
        else:
            self.revive(peer)

    @rule(one=ANY, other=ANY, for_good=st.booleans())
    def a_connection_breaks(self, one, other, for_good):
        pair = self.providers[one], self.users[other]
        if for_good:
            self.world.part(*pair)
        else:
            self.world.cut(*pair)
        self.world.run()

    @rule()
    def the_network_heals(self):
        self.world.heal()

    @rule(who=st.integers(min_value=0, max_value=3))
    def a_disk_fills_or_has_room_again(self, who):
        peer = self.peers[who]
        if peer.up and peer.disk_full:
            peer.disk_has_room()
        elif peer.up:
            peer.disk_full = True

    @rule(who=ANY, ready=st.booleans())
    def an_engine_is_lost_or_found(self, who, ready):
        provider = self.providers[who]
        if provider.up:
            provider.give(capacity(CPUS, ready=ready))
            self.world.run()

    @rule(seconds=st.sampled_from([1, 7, 45]))
    def time_passes(self, seconds):
        self.world.run(for_s=seconds)

    @precondition(lambda self: any(p.jobs for p in self.providers))
    @rule(data=st.data())
    def a_stranger_tries_to_cancel(self, data):
        provider = data.draw(st.sampled_from(self.providers))
        if provider.up and provider.jobs:
            job = data.draw(st.sampled_from(sorted(provider.jobs)))
            session = self.stranger.dial(provider)
            heard = self.stranger.command(session, provider, CANCEL, {"job": job})
            assert code_of(heard) == "job.unknown"
            self.world.cut(self.stranger, provider)

    @invariant()
    def a_journal_read_again_gives_the_same_node(self):
        for peer in self.peers:
            ledger = Ledger()
            for fact in peer.journal:
                ledger.apply(fact)
            peer_like = type("Replayed", (), {"_ledger": ledger})
            if peer.up:
                assert snapshot(peer_like) == snapshot(peer.node)

    @invariant()
    def every_job_has_an_unbroken_chain_of_notices(self):
        for provider in self.providers:
            for job in provider.jobs.values():
                previous = b""
                for number, data in enumerate(job.notices, 1):
                    said = read(data, self.world)
                    assert (said.issuer, said.payload.owner) == (
                        provider.did,
                        job.owner,
                    )
                    assert said.payload.sequence == number
                    assert said.payload.previous == previous
                    previous = sha256(data).digest()
                assert read(job.notices[-1], self.world).payload.state is job.state

    @invariant()
    def what_was_confirmed_as_cancelled_stays_so(self):
        for user in self.users:
            for order in user.orders.values():
                said = order.confirmation
                if said is None:
                    continue
                custodian = self.custodian(order)
                assert is_final(said.state)
                assert custodian.jobs[order.job].state is said.state

    @invariant()
    def an_acknowledged_job_is_not_forgotten(self):
        for user in self.users:
            for order in user.orders.values():
                if order.in_custody:
                    assert order.job in self.custodian(order).jobs

    @invariant()
    def a_job_that_may_run_once_never_runs_twice(self):
        for user in self.users:
            for job, order in user.orders.items():
                if order.spec is not None and order.spec.retry.attempts == 1:
                    assert self.starts[job] <= 1

    def teardown(self):
        """When the faults stop every job ends, and everybody says the same."""
        if not hasattr(self, "peers"):
            return
        self.world.heal()
        for peer in self.peers:
            if not peer.up:
                self.revive(peer)
            if peer.disk_full:
                peer.disk_has_room()
        for provider in self.providers:
            provider.give(capacity(CPUS))
        self.drive_to_the_end()
        for provider in self.providers:
            assert provider.reserved().cpu_millis == 0
            assert all(job.ended for job in provider.jobs.values())
        for user in self.users:
            for order in user.orders.values():
                self.all_is_told(user, order)

    def drive_to_the_end(self):
        for _ in range(60):
            self.world.run(for_s=20)
            for provider in self.providers:
                while provider.running:
                    provider.finish()
                while provider.storing:
                    provider.store()
            if all(o.ended for u in self.users for o in u.orders.values()) and all(
                j.ended for p in self.providers for j in p.jobs.values()
            ):
                return

    def all_is_told(self, user, order):
        assert order.ended, (order.state, order.reason, order.award)
        if order.in_custody and order.notice is not None:
            job = self.custodian(order).jobs[order.job]
            if is_final(order.notice.state):
                assert (job.state, job.result) == (order.state, order.result)
                ends = [
                    n.notice.state
                    for n in user.told(OrderChanged)
                    if n.job == order.job and n.notice and is_final(n.notice.state)
                ]
                assert len(ends) <= 1
        if order.state is State.COMPLETED:
            assert order.result is not None

    def custodian(self, order):
        return next(p for p in self.providers if p.did == order.award.provider)

    def revive(self, peer):
        peer.restart()
        for job, order in list(peer.orders.items()):
            if not order.ended or (order.cancel_wanted and order.confirmation is None):
                peer.give(ins.FollowWanted(job=job))
        self.world.run()


def read(data, world):
    return open_statement(
        data,
        kind=NOTICE,
        payload_type=Notice,
        now_s=world.now.unix_s,
        audience=None,
        check_time=False,
    )


Network.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, derandomize=True, deadline=None
)
TestTheNetwork = Network.TestCase
