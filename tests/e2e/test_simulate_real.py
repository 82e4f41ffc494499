"""The simulated scenario runs on real processes too, and both are laid side by side."""

import json

from nunet_node.cli.main import run

SCENARIO = """
run_s = 5

[links]
regions = 1
near_us = 20000

[work]
jobs = 2
every_ms = 200
run_ms = 100
fails_permille = 0
"""


def test_real_processes_do_the_work_of_a_scenario(tmp_path, capsys):
    scenario = tmp_path / "pair.toml"
    scenario.write_text(SCENARIO)
    words = ["--json", "simulate", str(scenario), "--real", "2"]

    assert run([*words, "--out", str(tmp_path / "out")]) == 0
    both = json.loads(capsys.readouterr().out)
    assert both["nodes"] == 2
    assert both["real"]["states"] == both["simulated"]["states"] == {"completed": 2}
    assert both["real"]["placed_to_started_us"]["p50"] > 80_000, "near_us, both ways"
    assert both["real"]["frames"] == both["simulated"]["frames"] > 0
    assert both["real"]["wire_bytes"] > both["real"]["frame_bytes"]
    assert (tmp_path / "out/real-2.json").exists()
