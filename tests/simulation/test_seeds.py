"""Fifty seeds with everything going wrong: no promise breaks, and everything ends."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
import pytest

from nunet_node.simulator.scenario import load_scenario
from nunet_node.simulator.sweep import play_point, points

SIMULATIONS = Path(__file__).parents[2] / "simulations"
WORKERS = 2


def test_no_promise_breaks_under_any_of_fifty_seeds():
    scenario = load_scenario(SIMULATIONS / "everything.toml")
    assert scenario.seeds >= 50
    with ProcessPoolExecutor(WORKERS) as pool:
        outcomes = list(pool.map(play_point, points(scenario)))
    broken = {
        number: str(outcome.broken)
        for number, outcome in enumerate(outcomes, scenario.seed)
        if outcome.broken is not None
    }
    assert broken == {}, "nunet-node simulate simulations/everything.toml --seed N"
    assert len({outcome.digest for outcome in outcomes}) == len(outcomes)


@pytest.mark.parametrize(
    "name",
    [
        "churn",
        "partition",
        "liars",
        "spam",
        "starvation",
        "prices",
    ],
)
def test_a_scenario_keeps_every_promise(name):
    scenario = load_scenario(SIMULATIONS / f"{name}.toml")
    smaller = scenario.sized(min(12, scenario.machines))
    work = msgspec.structs.replace(smaller.work, jobs=30)
    smaller = msgspec.structs.replace(smaller, work=work, sizes=(), seeds=1)
    outcome = play_point(points(smaller)[0])
    assert outcome.broken is None
    assert outcome.measures["jobs"] > 0


def test_every_scenario_asks_a_question():
    for path in SIMULATIONS.glob("*.toml"):
        assert load_scenario(path).question.endswith("?"), path.name
