"""What was taken back works no more, wherever it is known, and for good."""

from nunet_node.jobs.lifecycle import State
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.messages import (
    REVOCATIONS_PER_ANSWER_MAX,
    Revocations,
    RevocationsWanted,
)
from nunet_node.protocol.trust import revoking, standing
from nunet_node.protocol.trust.events import RevocationAnswered
from nunet_node.protocol.trust.standing import Standing
from tests.unit.protocol.puppet import Puppet, code_of
from tests.unit.protocol.trust.givers import (
    COLD,
    FRIEND,
    held,
    link,
    place_for,
    revocation,
    revoke,
)
from tests.unit.protocol.world import World, spec


def network(*, providers=1):
    """Providers, and a home whose user may act for `COLD`."""
    world = World()
    homes = [world.peer(1 + n, cpus=1) for n in range(providers)]
    session = world.peer(9)
    session.given = link(COLD, session.user)
    session.holdings.add([session.given])
    return *homes, session


def void(peer):
    return set(peer.node._ledger.standing.void)


def test_a_revocation_is_acknowledged_once_it_is_on_disk():
    provider, session = network()
    taken = revocation(COLD, session.given)
    revoke(session, taken, provider)
    assert void(provider) == {taken.cid}
    assert [(n.kept, n.provider) for n in session.told(RevocationAnswered)] == [
        (True, provider.did)
    ]
    provider.kill()
    provider.world.run()
    provider.restart()
    assert void(provider) == {taken.cid}


def test_a_revocation_that_cannot_be_written_is_not_acknowledged():
    provider, session = network()
    provider.disk_full = True
    revoke(session, revocation(COLD, session.given), provider)
    assert not void(provider)
    assert [n.kept for n in session.told(RevocationAnswered)] == [False]


def test_the_word_of_an_unreachable_provider_is_that_it_has_none():
    provider, session = network()
    provider.kill()
    session.world.run()
    revoke(session, revocation(COLD, session.given), provider)
    assert [n.kept for n in session.told(RevocationAnswered)] == [False]


def test_a_command_under_a_revoked_delegation_is_refused():
    provider, session = network()
    revoke(session, revocation(COLD, session.given), provider)
    place_for(session, COLD, spec())
    assert not provider.jobs


def test_a_queued_job_is_not_started_and_a_running_one_goes_on():
    provider, session = network()
    running = place_for(session, COLD, spec())
    queued = place_for(session, COLD, spec(), salt=b"t" * 16)
    assert provider.jobs[queued].state is State.QUEUED
    revoke(session, revocation(COLD, session.given), provider)
    assert provider.jobs[queued].state is State.FAILED
    assert "revoked" in provider.jobs[queued].reason
    assert provider.jobs[running].state is State.RUNNING
    provider.finish()
    provider.store()
    assert provider.jobs[running].state is State.COMPLETED
    assert len(provider.running) == 0


def test_a_job_whose_delegation_expired_in_the_queue_is_not_started():
    provider, session = network()
    session.holdings = held()
    short = link(COLD, session.user, ttl_s=60)
    session.node._requester.memory.holdings.add([short])
    session.node._requester.memory.holdings.void([session.given.cid])
    place_for(session, COLD, spec())
    queued = place_for(session, COLD, spec(), salt=b"t" * 16)
    provider.world.run(for_s=61)
    provider.finish()
    provider.store()
    assert provider.jobs[queued].state is State.FAILED
    assert "expired" in provider.jobs[queued].reason
    assert not provider.running


def test_what_a_peer_was_given_under_a_delegation_ends_with_it():
    provider, session = network()
    job = place_for(session, COLD, spec())
    provider.finish()
    provider.store()
    session.give(ins.ReadWanted(job=job))
    session.world.run()
    assert provider.grants
    provider.give(ins.RevocationsHeard(revocations=(revocation(COLD, session.given),)))
    session.world.run()
    assert not provider.grants
    assert not provider.node._provider.desk.watchers
    assert not provider.node._provider.desk.leaning


def test_those_that_were_told_gossip_it_to_those_that_were_not():
    near, far, session = network(providers=2)
    taken = revocation(COLD, session.given)
    revoke(session, taken, near)
    assert void(near) == void(far) == {taken.cid}


def test_who_was_away_hears_it_on_coming_back():
    near, far, session = network(providers=2)
    far.kill()
    session.world.run()
    taken = revocation(COLD, session.given)
    revoke(session, taken, near)
    far.restart()
    session.world.run()
    assert void(far) == {taken.cid}


def test_who_is_asked_by_one_that_knows_more_asks_back():
    near, far, session = network(providers=2)
    near.world.part(near, far)
    taken = revocation(COLD, session.given)
    revoke(session, taken, near)
    assert not void(far)
    near.world.heal()
    near.give(ins.NeighbourFound(peer_id=far.peer_id))
    near.world.run()
    assert void(far) == {taken.cid}


def test_many_revocations_come_page_by_page():
    world = World()
    full = world.peer(1, cpus=1)
    many = [
        revocation(COLD, link(COLD, FRIEND))
        for _ in range(REVOCATIONS_PER_ANSWER_MAX + 20)
    ]
    full.give(ins.RevocationsHeard(revocations=tuple(many)))
    new = world.peer(2, cpus=1)
    world.run()
    assert void(new) == void(full)
    assert len(void(new)) == len(many)


def test_nothing_is_said_to_a_neighbour_that_knows_the_same():
    world = World()
    provider = world.peer(1, cpus=1)
    puppet = Puppet(world, 5)
    session = puppet.dial(provider)
    same = revoking.summary_of(Standing())
    puppet.say(session, RevocationsWanted(summary=same))
    world.run()
    bodies = [heard.body for heard in puppet.heard]
    assert [type(b) for b in bodies] == [ins.RevocationsHeard]
    assert bodies[0].revocations == ()


def test_a_strangers_revocation_is_neither_kept_nor_acknowledged():
    world = World()
    provider = world.peer(1, cpus=1)
    puppet = Puppet(world, 5)
    session = puppet.dial(provider)
    answer = puppet.ask(session, Revocations(items=(b"nothing", b"")))
    assert code_of(answer) == "revocation.none-kept"
    assert not void(provider)


def test_a_peer_that_provides_nothing_says_so():
    world = World()
    home = world.peer(1)
    puppet = Puppet(world, 5)
    session = puppet.dial(home)
    taken = revocation(COLD, link(COLD, FRIEND))
    answer = puppet.ask(session, Revocations(items=(taken.data,)))
    assert code_of(answer) == "provider.none"
    assert not home.journal


def test_strangers_cannot_keep_a_revocation_out_that_matters_here(monkeypatch):
    monkeypatch.setattr(revoking, "REVOCATIONS_MAX", 2)
    provider, session = network()
    place_for(session, COLD, spec())
    place_for(session, COLD, spec(), salt=b"t" * 16)
    many = tuple(revocation(FRIEND, link(FRIEND, COLD)) for _ in range(4))
    provider.give(ins.RevocationsHeard(revocations=many))
    assert len(void(provider)) == 2
    taken = revocation(COLD, session.given)
    provider.give(ins.RevocationsHeard(revocations=(taken,)))
    assert taken.cid in void(provider)
    assert standing.REVOCATIONS_MAX > 2
