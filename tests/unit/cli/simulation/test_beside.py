"""Real processes and simulated ones get one plan, as far as both can follow it."""

import msgspec

from nunet_node.cli.simulation.beside import (
    beside_rows,
    comparable,
    left_out,
    moved,
    simulated_measures,
)
from nunet_node.simulator import plan as p
from nunet_node.simulator.scenario import Faults, Fleet, Scenario, Work

STORMY = Scenario(
    run_s=40,
    fleet=Fleet(providers=5, submitters=1),
    work=Work(jobs=4, every_ms=1000, run_ms=500, fails_permille=0),
    faults=Faults(
        loss_permille=10, crashes_per_hour=600, lying_permille=100, spammers=1
    ),
)


def test_what_no_process_can_be_made_to_do_is_left_out_and_named():
    plan = comparable(STORMY, 6, 1)
    assert plan.scenario.faults == Faults(loss_permille=10, crashes_per_hour=600)
    assert left_out(STORMY) == ["lying_permille", "spammers"]
    crashed = [h.machine for h in plan.happenings if isinstance(h, p.Crashed)]
    assert crashed
    assert max(crashed) < plan.scenario.fleet.providers


def test_stops_are_played_by_providers():
    faults = Faults(stops_per_hour=600, stop_s_max=9, trickling_permille=1)
    stopping = msgspec.structs.replace(STORMY, faults=faults)
    plan = comparable(stopping, 6, 1)
    stopped = [h.machine for h in plan.happenings if isinstance(h, p.Stopped)]
    assert stopped
    assert max(stopped) < plan.scenario.fleet.providers
    assert left_out(stopping) == ["trickling_permille"]


def test_a_simulation_is_measured_by_what_its_nodes_tell():
    calm = msgspec.structs.replace(STORMY, faults=Faults())
    plan = comparable(calm, 4, 1)
    boots = tuple(n * p.NS_PER_S for n in range(4))
    told = simulated_measures(moved(plan, boots, 5 * p.NS_PER_S))
    assert told["broken"] is None
    assert told["jobs"] == sum(told["states"].values()) == 4
    assert told["pairs_known"] == told["pairs"] == 6
    assert told["newcomer_known_us"]["max"] > 0
    assert told["placed_to_bid_us"]["p50"] > 0
    assert told["frames"] > 4 * 10


def test_both_sides_stand_in_one_table():
    ranks = {"p50": 1_000_000, "p90": 2_000_000, "max": 3_000_000}
    real = {"jobs": 2, "bid_to_awarded_us": ranks, "connections": 3}
    rows = beside_rows({"real": real, "simulated": {"jobs": 2}})
    assert rows[0] == ("jobs", "2", "2")
    assert rows[1] == ("bid to awarded, s, p50", "1.000", "-")
    assert rows[-1] == ("connections", "3", "-")
