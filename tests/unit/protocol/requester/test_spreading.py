"""Each provider is told of a revocation, or asked for it, and the user hears of each."""

from nunet_node.protocol import inputs as ins
from nunet_node.protocol.messages import (
    REVOKED,
    Revocations,
    RevocationsKept,
    RevocationsWanted,
)
from nunet_node.protocol.trust.events import (
    RevocationAnswered,
    StandingTold,
    StandingWanted,
)
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


def ask(home, cid, *providers):
    reached = tuple((each.did, each.peer_id, ()) for each in providers)
    home.give(StandingWanted(cid=cid, providers=reached))
    home.world.run()


def told(home):
    return {
        news.provider: (news.revocation, bool(news.unanswered))
        for news in home.told(StandingTold)
    }


def test_a_provider_that_is_asked_shows_the_revocation_among_many():
    world = World()
    keeper, other, asker = world.peer(1, cpus=1), world.peer(2, cpus=1), world.peer(3)
    # The two providers do not know each other yet, so one alone hears of it.
    world.part(keeper, other)
    links = [link(COLD, FRIEND, nonce=bytes([n]) * 12) for n in range(40)]
    taken = [revocation(COLD, each) for each in links]
    for each in taken[:-1]:
        revoke(asker, each, keeper)
    for each in taken:
        asker.news.clear()
        ask(asker, each.cid, keeper, other)
        shown = each.data if each is not taken[-1] else b""
        assert told(asker) == {keeper.did: (shown, False), other.did: (b"", False)}


def test_a_revocation_of_something_else_is_no_answer():
    world = World()
    home, puppet = world.peer(3), Puppet(world, 5)
    other = revocation(COLD, link(COLD, FRIEND, nonce=b"o" * 12))

    def wrong(puppet, given):
        if isinstance(given.body, RevocationsWanted):
            return Revocations(items=(other.data, b"no token at all"))
        return None

    puppet.answer = wrong
    ask(home, TAKEN.cid, puppet)
    assert told(home) == {puppet.did: (b"", False)}


def test_whoever_answers_something_else_or_nothing_said_nothing():
    world = World()
    home, strange, silent = world.peer(3), Puppet(world, 5), Puppet(world, 6)

    def wrong(puppet, given):
        kept = RevocationsKept(cids=(TAKEN.cid,))
        return puppet.state(REVOKED, kept, home.did)

    strange.answer = wrong
    silent.answer = lambda *_: None
    ask(home, TAKEN.cid, strange, silent)
    world.cut(home, silent)
    world.run()
    assert told(home) == {strange.did: (b"", True), silent.did: (b"", True)}


def test_bringing_a_revocation_and_asking_for_it_at_once_are_two_words():
    world = World()
    provider, home = world.peer(1, cpus=1), world.peer(3)
    reached = ((provider.did, provider.peer_id, ()),)
    home.give(StandingWanted(cid=TAKEN.cid, providers=reached))
    revoke(home, TAKEN, provider)
    assert answers(home) == {provider.did: True}
    assert provider.did in told(home)
