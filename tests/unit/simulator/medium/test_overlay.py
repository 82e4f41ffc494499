"""The simulated overlay reaches everybody, nearly as fast as can be."""

from random import Random

import pytest

from nunet_node.simulator.medium.links import Paths
from nunet_node.simulator.medium.oracle import SLACK_PERCENT, shortest_ns
from nunet_node.simulator.medium.overlay import DEGREE_MAX, Overlay
from nunet_node.simulator.scenario import Faults, Fleet, Links, Scenario
from nunet_node.simulator.watch.measures import percentiles
from nunet_node.simulator.world.agenda import Agenda
from nunet_node.simulator.world.population import populate


class Gossip:
    """An overlay without nodes: who hears what, and when."""

    def __init__(self, machines, *, jitter_us=4000, degree=16, **faults):
        scenario = Scenario(
            fleet=Fleet(providers=machines - 1, submitters=1, degree=degree),
            links=Links(regions=5, jitter_us=jitter_us),
            faults=Faults(**faults),
        )
        self.agenda = Agenda()
        self.machines = populate(scenario, 1)
        for machine in self.machines:
            machine.up = True
        self.paths = Paths(scenario.links, scenario.faults, Random(1))
        self.overlay = Overlay(self.machines, self.agenda, self.paths, Random(2))
        self.overlay.deliver = self.hear
        self.overlay.connect(degree)
        self.heard = []

    def hear(self, machine, message):
        self.heard.append((machine.index, message.data, self.agenda.now_ns))

    def say(self, origin, data):
        self.overlay.publish(self.machines[origin], "topic", data)
        self.agenda.run(self.agenda.now_ns + 20 * 10**9)

    def edges(self, mean_jitter_us):
        least = self.paths.least_ns
        return [
            [
                (o, least(m, self.machines[o]) + mean_jitter_us * 1000)
                for o in self.overlay.connected[m.index]
            ]
            for m in self.machines
        ]


def test_who_died_silently_stays_in_a_mesh_until_that_neighbour_gives_it_up():
    gossip = Gossip(30)
    overlay = gossip.overlay
    for machine in range(30):
        overlay.returned(machine)
    first, *others = overlay.mesh[0]
    gossip.machines[0].up = False
    overlay.left(0, silently=True)
    assert all(0 in overlay.mesh[other] for other in (first, *others))
    overlay.forsaken(0, first)
    gossip.agenda.run(2 * 10**9)
    assert 0 not in overlay.mesh[first]
    assert all(0 in overlay.mesh[other] for other in others)


def test_who_is_back_before_it_was_given_up_is_in_each_mesh_once():
    gossip = Gossip(30)
    overlay = gossip.overlay
    for machine in range(30):
        overlay.returned(machine)
    overlay.left(0, silently=True)
    overlay.returned(0)
    assert overlay.mesh[0]
    for other in overlay.mesh[0]:
        assert overlay.mesh[other].count(0) == 1


def test_everybody_hears_a_message_once():
    gossip = Gossip(200)
    gossip.say(3, b"news")
    heard = [machine for machine, _, _ in gossip.heard]
    assert sorted(heard) == [m for m in range(200) if m != 3]


def test_everybody_hears_it_although_three_in_ten_transmissions_are_lost():
    gossip = Gossip(120, loss_permille=300)
    for number in range(5):
        gossip.say(number, str(number).encode())
    assert len({(m, data) for m, data, _ in gossip.heard}) == 5 * 119


def test_a_duplicate_reaches_the_node():
    gossip = Gossip(20, duplicate_permille=1000)
    gossip.say(0, b"news")
    assert len(gossip.heard) > 19


def test_meshes_stay_within_their_bounds_as_machines_come_and_go():
    gossip = Gossip(100)
    for gone in range(0, 100, 3):
        gossip.machines[gone].up = False
        gossip.overlay.left(gone, silently=False)
    gossip.say(1, b"news")
    for machine in gossip.machines:
        mesh = gossip.overlay.mesh[machine.index]
        assert len(mesh) <= DEGREE_MAX
        assert all(gossip.machines[o].up for o in mesh) or not machine.up
    assert {m for m, _, _ in gossip.heard} == {
        m.index for m in gossip.machines if m.up and m.index != 1
    }


@pytest.mark.parametrize("machines", [50, 300])
def test_the_last_to_hear_waits_half_as_long_again_as_the_shortest_path_at_most(
    machines,
):
    gossip = Gossip(machines, jitter_us=0)
    took, least = [], []
    for origin in range(0, machines, machines // 10):
        begun_ns = gossip.agenda.now_ns
        gossip.heard.clear()
        gossip.say(origin, f"news of {origin}".encode())
        bound = shortest_ns(gossip.edges(0), origin)
        for machine, _, at_ns in gossip.heard:
            took.append(at_ns - begun_ns)
            least.append(bound[machine])
            assert at_ns - begun_ns >= bound[machine]
    assert percentiles(took)["p99"] <= 1.5 * percentiles(least)["p99"]


def test_the_oracle_is_close_to_what_the_overlay_does():
    gossip = Gossip(300, jitter_us=4000)
    ratios = []
    for origin in range(0, 300, 30):
        begun_ns = gossip.agenda.now_ns
        gossip.heard.clear()
        gossip.say(origin, f"news of {origin}".encode())
        bound = shortest_ns(gossip.edges(0), origin)
        ratios += [
            (at_ns - begun_ns) * 100 // bound[machine]
            for machine, _, at_ns in gossip.heard
        ]
    median = percentiles(ratios)["p50"] - 100
    assert abs(median - SLACK_PERCENT) <= 15, median
