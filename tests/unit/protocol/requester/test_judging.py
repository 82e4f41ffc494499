"""What an order's record still allows."""

from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Retry
from nunet_node.protocol.facts import CancelIntended
from nunet_node.protocol.order import Order
from nunet_node.protocol.requester import judging
from nunet_node.protocol.turn import Turn
from tests.unit.protocol.world import World, place, spec


def placed(**more):
    world = World()
    world.peer(1, cpus=2)
    user = world.peer(2)
    world.run(for_s=1)
    job = place(user, spec(**more))
    return user, user.orders[job]


def memory_of(user):
    return user.node._requester.memory


def test_a_provider_that_accepted_has_it():
    user, order = placed()
    assert judging.may_have_it(memory_of(user), order)


def test_nobody_is_awarded_as_attempt_one():
    assert judging.attempt_after(Order(job="j")) == 1


def test_after_an_attempt_that_was_accepted_comes_the_next():
    _, order = placed()
    assert judging.attempt_after(order) == order.attempt + 1


def test_another_attempt_is_made_only_where_the_owner_allows_it():
    _, once = placed()
    user, often = placed(retry=Retry(attempts=3, on=("lost",)))
    assert not judging.may_retry(once)
    assert judging.may_retry(often)
    turn = Turn(user.node._ledger, user.world.now)
    turn.record(CancelIntended(job=often.job, at_s=1))
    assert not judging.may_retry(user.orders[often.job])


def test_a_lease_is_what_the_provider_said():
    _, order = placed()
    said = order.award.accepted.lease_until_s
    assert judging.lease_until_s(order, order.award) == said


def test_an_order_that_is_over_is_pursued_no_more_and_ends_once():
    user, order = placed()
    turn = Turn(user.node._ledger, user.world.now)
    judging.finish(memory_of(user), turn, order, State.LOST, "r" * 600)
    ended = user.orders[order.job]
    assert (ended.state, len(ended.reason)) == (State.LOST, 500)
    assert order.job not in memory_of(user).pursuits
    judging.finish(memory_of(user), turn, ended, State.FAILED, "again")
    assert user.orders[order.job].state is State.LOST
