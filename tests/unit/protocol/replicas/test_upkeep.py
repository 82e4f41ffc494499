"""What a node does in its own time: results whose time is over, and when it looks."""

import pytest

from nunet_node.protocol import effects as fx
from nunet_node.protocol.inputs import ReadWanted, ReportWanted
from nunet_node.protocol.replicas.events import DropResult
from nunet_node.protocol.replicas.upkeep import UPKEEP_TIMER
from tests.unit.protocol.replicas.kit import Neighbourhood, wanting


@pytest.fixture
def town():
    return Neighbourhood(holders=1)


def test_a_result_goes_when_its_time_is_over_and_the_owner_is_told(town):
    job = town.finished(wanting(replicas=0, retention_s=1000))
    town.world.run(for_s=999)
    assert not town.provider.jobs[job].expired
    town.world.run(for_s=1)
    assert town.provider.jobs[job].expired
    assert town.provider.dropped == [DropResult(job=job)]

    town.user.give(ReadWanted(job=job))
    town.user.give(ReportWanted(job=job))
    town.world.run()
    (refused,) = town.user.told(fx.CommandRefused)
    (told,) = town.user.told(fx.ReportReceived)
    assert refused.refusal.code == "result.expired"
    assert refused.refusal.never
    assert (told.report.expired, told.report.replicas) == (True, ())


def test_a_result_whose_time_ended_while_its_provider_was_down_goes_at_the_start(town):
    job = town.finished(wanting(replicas=0, retention_s=1000))
    town.provider.kill()
    town.world.run(for_s=2000)
    town.provider.restart()
    town.world.run(for_s=1)

    assert town.provider.jobs[job].expired


def test_what_the_disk_could_not_take_is_done_later(town):
    job = town.finished(wanting(replicas=0, retention_s=1000))
    town.provider.disk_full = True
    town.world.run(for_s=1500)
    assert not town.provider.jobs[job].expired
    assert not town.provider.dropped
    town.provider.disk_has_room()
    town.world.run(for_s=10)

    assert town.provider.jobs[job].expired
    assert DropResult(job=job) in town.provider.dropped


def test_a_node_that_keeps_nothing_sets_no_timer(town):
    set_here = []
    town.world.watch = lambda _peer, effect: set_here.append(
        getattr(effect, "name", "")
    )
    town.world.run(for_s=100)

    assert UPKEEP_TIMER not in set_here


def test_a_failed_job_without_a_result_is_not_looked_after(town):
    job = town.finished(wanting(replicas=0, retention_s=5))
    again = town.finished(wanting(replicas=0, retention_s=50), salt=b"t" * 16)
    town.world.run(for_s=6)

    assert town.provider.jobs[job].expired
    assert not town.provider.jobs[again].expired
