"""Percentiles are times that occurred, and fairness is Jain's."""

import pytest

from nunet_node.simulator.plan import make_plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import Fleet, Scenario, Work
from nunet_node.simulator.watch.measures import jain_permille, percentiles


def test_percentiles_are_of_the_nearest_rank():
    assert percentiles(range(1, 101)) == {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert percentiles([7]) == {"p50": 7, "p90": 7, "p99": 7, "max": 7}
    assert percentiles([]) == {"p50": 0, "p90": 0, "p99": 0, "max": 0}


@pytest.mark.parametrize(
    ("shares", "index"),
    [([5, 5, 5, 5], 1000), ([1, 0, 0, 0], 250), ([0, 0], 1000), ([], 1000)],
)
def test_the_index_is_one_for_equals_and_one_in_n_for_a_monopoly(shares, index):
    assert jain_permille(shares) == index


def test_it_is_told_who_waited_and_what_was_paid():
    scenario = Scenario(
        run_s=20,
        fleet=Fleet(providers=3, submitters=2, cpus=(1,), prices_micro_ntx=(5, 7, 9)),
        work=Work(jobs=6, every_ms=500, cancelled_permille=0, inputs_permille=0),
    )
    measures = Run(make_plan(scenario, 1)).play().measures
    assert set(measures["starts_by_price"]) == {"5", "7", "9"}
    assert sum(measures["starts_by_price"].values()) == measures["starts"] == 6
    assert measures["starts_by_price"]["5"] >= measures["starts_by_price"]["9"]
    waits = measures["waits_by_owner_us"]
    assert sum(each["jobs"] for each in waits.values()) == 6
    assert all(name.startswith("submitter-") for name in waits)
    assert all(0 < each["p50"] <= each["max"] for each in waits.values())
