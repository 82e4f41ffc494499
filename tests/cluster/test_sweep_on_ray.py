"""A sweep of simulations that a real Ray cluster plays."""

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from nunet_node.simulator.scenario import load_scenario
from nunet_node.simulator.sweep import play_point, points
from tests.cluster.rays import program, ray

ROOT = Path(__file__).parents[2]
SCENARIO = """
question = "Is it the same there?"
run_s = 20
sizes = [4, 6]
seeds = 2

[fleet]
providers = 3
submitters = 1

[work]
jobs = 5
every_ms = 1000
run_ms = 500
"""
# Ray's environment has none of our packages; ours come after its own.
PATHS = f"""
import sys
sys.path += [{str(ROOT)!r}, {sysconfig.get_path("purelib")!r}]
"""

pytestmark = pytest.mark.skipif(
    program() is None and "NUNET_TEST_CLUSTER" not in os.environ,
    reason="Ray is not installed; `make test-ray` does it",
)


def test_a_sweep_on_a_cluster_has_the_digests_of_one_at_home(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(PATHS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    scenario = tmp_path / "small.toml"
    scenario.write_text(SCENARIO)
    at_home = [play_point(point) for point in points(load_scenario(scenario))]

    with ray() as cluster:
        words = ["--json", "simulate", str(scenario), "--sweep"]
        done = subprocess.run(
            [
                *(Path(program()).with_name("python"), "-m", "nunet_node"),
                *(*words, "--ray", cluster.address_of_tasks),
            ],
            cwd=tmp_path,
            env=cluster.environment(),
            check=True,
            capture_output=True,
            text=True,
        )
    played = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["machines"], each["seed"]) for each in played] == [
        *((4, 1), (4, 2)),
        *((6, 1), (6, 2)),
    ]
    assert [each["digest"] for each in played] == [each.digest for each in at_home]
