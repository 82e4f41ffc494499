"""The same scenario and seed give the same run, wherever and however often."""

import os
import subprocess
import sys
from pathlib import Path

from nunet_node.simulator.plan import make_plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import load_scenario

SCENARIO = Path(__file__).parents[2] / "simulations/everything.toml"
PROGRAM = (
    "import sys; from pathlib import Path;"
    "from nunet_node.simulator.scenario import load_scenario;"
    "from nunet_node.simulator.plan import make_plan;"
    "from nunet_node.simulator.run import Run;"
    "scenario = load_scenario(Path(sys.argv[1]));"
    "print(Run(make_plan(scenario, 7)).play().digest)"
)


def test_a_seed_gives_one_trace_under_any_hash_seed():
    found = set()
    for hash_seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(SCENARIO)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        )
        found.add(done.stdout.strip())
    found.add(Run(make_plan(load_scenario(SCENARIO), 7)).play().digest)
    assert len(found) == 1


def test_another_seed_gives_another_trace():
    scenario = load_scenario(SCENARIO)
    one, other = (Run(make_plan(scenario, seed)).play() for seed in (1, 2))
    assert one.digest != other.digest
