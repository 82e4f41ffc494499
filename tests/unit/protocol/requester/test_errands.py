"""A command on its way: challenged first, signed for this request, never composed."""

import pytest

from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import Challenged, CommandRefused, ProviderUnreachable
from nunet_node.protocol.messages import CANCEL, STATUS, SUBMIT
from nunet_node.protocol.requester import errands
from nunet_node.protocol.requester.errands import ERRAND_S
from nunet_node.protocol.turn import Turn
from tests.unit.protocol.puppet import Puppet
from tests.unit.protocol.world import World, place, spec


@pytest.fixture
def world():
    return World()


@pytest.fixture
def user(world):
    return world.peer(2)


def memory_of(peer):
    return peer.node._requester.memory


def turn_of(peer):
    return Turn(peer.node._ledger, peer.world.now)


def test_every_command_is_challenged(world, user):
    world.peer(1, cpus=2)
    world.run(for_s=1)
    job = place(user, spec())
    user.give(ins.ReportWanted(job=job))
    user.give(ins.CancelWanted(job=job))
    world.run()

    commands = [n.command for n in user.told(Challenged)]
    assert commands == [SUBMIT, STATUS, CANCEL]


def test_an_errand_leaves_nothing_behind(world, user):
    world.peer(1, cpus=2)
    world.run(for_s=1)
    job = place(user, spec())
    user.give(ins.CancelWanted(job=job))
    world.run()

    assert memory_of(user).errands == {}
    assert memory_of(user).questions == {}
    assert memory_of(user).calls == {}
    assert memory_of(user).pursuits == {}


def test_a_silent_provider_is_unreachable_in_the_end(world, user):
    provider = world.peer(1, cpus=2)
    world.run(for_s=1)
    job = place(user, spec())
    silent = Puppet(world, 1, user=provider.user)
    provider.kill()
    silent.answer = None
    world.peers.remove(provider)
    world.run()
    user.news.clear()
    user.give(ins.ReportWanted(job=job))
    world.run(for_s=ERRAND_S + 1)

    reasons = [n.reason for n in user.told(ProviderUnreachable)]
    assert f"no answer within {ERRAND_S} s" in reasons


def test_an_order_without_a_custodian_has_nobody_to_ask(world, user):
    job = place(user, spec())
    order = user.orders[job]

    assert not errands.begin(memory_of(user), turn_of(user), order, STATUS, {})

    user.give(ins.ReportWanted(job=job))
    (told,) = user.told(CommandRefused)
    assert told.refusal.code == "job.nowhere"


def test_a_job_nobody_here_knows_has_nobody_to_ask(user):
    user.give(ins.ReadWanted(job="a" * 32))
    (told,) = user.told(CommandRefused)
    assert told.refusal.code == "job.nowhere"


def test_an_answer_to_no_errand_is_none(user):
    outcome = errands.answered(memory_of(user), turn_of(user), 99, None, None)
    assert outcome is None
    assert errands.timed_out(memory_of(user), turn_of(user), 99) is None
