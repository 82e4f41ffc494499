"""The simulated scenario runs on real processes too, and both are laid side by side."""

import json

from nunet_node.cli.main import run

SCENARIO = """
run_s = 5

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
    assert both["real"]["ended_us"]["p50"] > both["real"]["accepted_us"]["p50"] > 0
    assert (tmp_path / "out/real-2.json").exists()
