"""Percentiles are times that occurred, and fairness is Jain's."""

import pytest

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
