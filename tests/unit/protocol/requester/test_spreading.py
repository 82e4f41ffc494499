"""Taking a delegation back tells each provider once, and the user of each answer."""

from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import RevocationAnswered
from nunet_node.protocol.messages import REVOKED, Revocations, RevocationsKept
from nunet_node.wire.cid import Cid
from tests.unit.protocol.puppet import Puppet
from tests.unit.protocol.trust.givers import COLD, FRIEND, link, revocation, revoke
from tests.unit.protocol.world import World

TAKEN = revocation(COLD, link(COLD, FRIEND))


def answers(home):
    return {news.provider: news.kept for news in home.told(RevocationAnswered)}


def test_each_provider_answers_for_itself():
    world = World()
    one, other = world.peer(1, cpus=1), world.peer(2, cpus=1)
    home, idle = world.peer(3), world.peer(4)
    revoke(home, TAKEN, one, other, idle)
    assert answers(home) == {one.did: True, other.did: True, idle.did: False}


def test_a_provider_that_is_told_again_says_the_same():
    world = World()
    provider, home = world.peer(1, cpus=1), world.peer(3)
    revoke(home, TAKEN, provider)
    revoke(home, TAKEN, provider)
    assert [news.kept for news in home.told(RevocationAnswered)] == [True, True]


def test_a_word_for_another_token_or_by_another_is_no_word():
    world = World()
    home, puppet = world.peer(3), Puppet(world, 5)

    def wrong(puppet, given):
        if isinstance(given.body, ins.RevocationsHeard):
            kept = RevocationsKept(cids=(Cid.of_raw(b"other"),))
            return puppet.state(REVOKED, kept, home.did)
        return None

    puppet.answer = wrong
    revoke(home, TAKEN, puppet)
    assert answers(home) == {puppet.did: False}


def test_a_session_that_ends_first_is_no_word():
    world = World()
    home, puppet = world.peer(3), Puppet(world, 5)
    revoke(home, TAKEN, puppet)
    heard = [h.body for h in puppet.heard if isinstance(h.body, ins.RevocationsHeard)]
    assert [each.cid for each in heard[0].revocations] == [TAKEN.cid]
    world.cut(home, puppet)
    world.run()
    assert answers(home) == {puppet.did: False}


def test_a_home_that_provides_nothing_keeps_nothing_that_it_is_told():
    world = World()
    home, puppet = world.peer(3), Puppet(world, 5)
    session = puppet.dial(home)
    puppet.say(session, Revocations(items=(TAKEN.data,)))
    world.run()
    assert not home.journal
