"""Processors that machines share, or have for themselves."""

from random import Random

from nunet_node.simulator.medium.links import Paths
from nunet_node.simulator.scenario import Faults, Fleet, Links, Scenario
from nunet_node.simulator.world.population import populate

MS = 1_000_000
MACHINES = populate(Scenario(fleet=Fleet(providers=4, submitters=1)), 1)


def paths(cores):
    return Paths(Links(cores=cores), Faults(), Random(1))


def test_who_has_processors_of_its_own_waits_for_nobody():
    own = paths(0)
    for machine in MACHINES:
        assert [own.handled_ns(0, 1_000, machine) for _ in range(3)] == [MS] * 3


def test_a_machine_handles_one_thing_at_a_time():
    shared = paths(2)
    taken = [shared.handled_ns(0, 1_000, MACHINES[0]) for _ in range(3)]
    assert taken == [MS, 2 * MS, 3 * MS]


def test_machines_that_are_busy_share_the_processors_alike():
    shared = paths(2)
    taken = [shared.handled_ns(0, 1_000, machine) for machine in MACHINES[:4]]
    assert taken == [MS, MS, 3 * MS // 2, 2 * MS]
    assert shared.handled_ns(9 * MS, 1_000, MACHINES[4]) == MS


def test_what_costs_nothing_waits_for_nothing():
    shared = paths(1)
    shared.handled_ns(0, 5_000, MACHINES[0])
    assert shared.handled_ns(0, 0, MACHINES[0]) == 0
