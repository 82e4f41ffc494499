"""What the submitting side remembers of its conversations."""

import pytest

from nunet_node.identity.keys import SigningKey
from nunet_node.protocol.effects import OpenSession
from nunet_node.protocol.messages import CANCEL
from nunet_node.protocol.requester.memory import Pursuit
from nunet_node.protocol.turn import Turn
from tests.unit.protocol.world import World, place, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def user(world):
    return world.peer(2)


@pytest.fixture
def memory(user):
    return user.node._requester.memory


@pytest.fixture
def turn(user):
    return Turn(user.node._ledger, user.world.now)


def test_one_session_carries_everything_to_a_peer(memory, turn):
    first, is_open = memory.reach(turn, "somebody", ())
    again, _ = memory.reach(turn, "somebody", ())

    assert first == again
    assert not is_open
    assert len([e for e in turn.batch().effects if isinstance(e, OpenSession)]) == 1


def test_sessions_that_we_dial_have_odd_numbers(memory, turn):
    numbers = [memory.reach(turn, name, ())[0] for name in "abcd"]
    assert [n % 2 for n in numbers] == [1, 1, 1, 1]
    assert len(set(numbers)) == 4


def test_a_session_that_is_gone_is_dialled_anew(memory, turn):
    first, _ = memory.reach(turn, "somebody", ())
    memory.unlink(first)
    again, _ = memory.reach(turn, "somebody", ())
    assert again != first


def test_conversations_are_forgotten_and_pursuits_are_not(memory, turn):
    memory.reach(turn, "somebody", ())
    memory.pursuits["j"] = Pursuit(job="j")
    memory.questions[1, 1] = ("call", None)

    memory.forget_errands()

    assert (memory.links, memory.questions) == ({}, {})
    assert list(memory.pursuits) == ["j"]


def test_progress_makes_the_next_trouble_a_new_one(memory):
    memory.pursuits["j"] = Pursuit(job="j", tries=4)
    memory.went_on("j")
    memory.went_on("unknown")
    assert memory.pursuits["j"].tries == 0


def test_only_an_orders_owner_speaks_for_it(world, user, memory):
    world.peer(1, cpus=2)
    world.run(for_s=1)
    order = user.orders[place(user, spec())]
    now_s = world.now.unix_s
    assert memory.mandate(order, CANCEL, {}, now_s).signer is user.user

    stranger = SigningKey(b"x" * 32)
    memory.users = {stranger.did: stranger}

    assert memory.mandate(order, CANCEL, {}, now_s) is None


def test_the_newest_addresses_of_a_custodian_come_first(world, user, memory, turn):
    provider = world.peer(1, cpus=2)
    world.run(for_s=1)
    order = user.orders[place(user, spec())]
    from nunet_node.protocol import inputs as ins

    provider.give(ins.AddressesChanged(addresses=("/memory/new",)))
    world.run(for_s=1)

    addresses = memory.addresses_of(order, turn)
    assert addresses == ("/memory/new", f"/memory/{provider.peer_id}")
