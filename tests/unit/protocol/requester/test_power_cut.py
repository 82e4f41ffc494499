"""What did not wait for the disk is heard again after a power cut, and nothing twice.

The death of a process takes none of its facts; a power cut takes those at the end of
the journal that nothing was synced after.
"""

import pytest

from nunet_node.jobs.lifecycle import State
from nunet_node.protocol import inputs as ins
from nunet_node.protocol.effects import StartJob
from nunet_node.protocol.facts import NoticeKept, is_repeatable
from tests.unit.protocol.scenery import INPUT, place, spec
from tests.unit.protocol.world import World


class Day:
    """A provider, an owner, and a job in custody."""

    def __init__(self, **wanted):
        self.world = World()
        self.starts = 0
        self.world.watch = self.count
        self.provider = self.world.peer(1, cpus=2)
        self.owner = self.world.peer(11)
        self.world.run(for_s=1)
        self.job = place(self.owner, spec(**wanted))

    def count(self, _, effect):
        self.starts += isinstance(effect, StartJob)

    def power_cut(self):
        """Take the owner's machine down, and what its disk had not yet; return it."""
        lost = []
        self.owner.kill()
        while is_repeatable(self.owner.journal[-1]):
            lost.append(self.owner.journal.pop())
        self.owner.restart()
        self.owner.give(ins.FollowWanted(job=self.job))
        self.world.run(for_s=5)
        return lost

    @property
    def order(self):
        return self.owner.orders[self.job]


def test_an_acceptance_that_was_lost_is_heard_again():
    day = Day()

    lost = day.power_cut()

    assert lost
    assert day.order.award.accepted is not None
    assert day.order.award.inputs_handed
    assert day.starts == 1


def test_inputs_that_were_handed_over_are_not_missed():
    day = Day(inputs=INPUT)
    day.power_cut()

    assert day.order.award.inputs_handed
    assert day.starts == 1


@pytest.mark.parametrize("cuts", [1, 3])
def test_a_job_comes_to_its_one_end_over_power_cuts(cuts):
    day = Day()
    for _ in range(cuts):
        day.power_cut()
    day.provider.finish()
    assert any(isinstance(fact, NoticeKept) for fact in day.power_cut())
    day.provider.store()
    day.world.run(for_s=60)

    assert day.order.state is State.COMPLETED
    assert day.starts == 1


def test_the_last_word_stays():
    day = Day()
    day.provider.finish()
    day.provider.store()

    assert day.power_cut() == []
    assert day.order.state is State.COMPLETED
