"""A simulation is run, told, kept and played again from the command line."""

import json

import pytest

from nunet_node.cli.main import run

SCENARIO = """
question = "Does it run?"
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


@pytest.fixture(name="scenario")
def _scenario(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path


def test_a_run_is_one_document_and_the_same_again(scenario, capsys):
    documents = []
    for _ in range(2):
        assert run(["--json", "simulate", str(scenario), "--seed", "3"]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    one, other = documents
    assert one["digest"] == other["digest"]
    assert one["seed"] == 3
    assert one["events"] > 0
    assert one["virtual_s"] >= 20
    assert one["wall_s"] > 0
    assert one["measures"]["jobs"] == 5


def test_json_may_stand_after_the_command_too(scenario, capsys):
    assert run(["simulate", str(scenario), "--json", "--nodes", "6"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["machines"] == 6


def test_a_person_sees_a_table(scenario, capsys):
    assert run(["simulate", str(scenario)]) == 0
    out = capsys.readouterr()
    assert "messages/job" in out.out
    assert "kept" in out.out
    assert "digest" in out.err


def test_a_sweep_plays_every_seed_at_every_size_and_writes_a_page(
    scenario, tmp_path, capsys
):
    out = tmp_path / "out"
    words = ["simulate", str(scenario), "--sweep", "--workers", "1", "--out", str(out)]
    assert run(["--json", *words]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    played = [(line["machines"], line["seed"]) for line in lines]
    assert played == [(4, 1), (4, 2), (6, 1), (6, 2)]
    page = (out / "report.html").read_text()
    assert "Does it run?" in page
    assert "<svg" in page
    assert "src=" not in page
    assert {p.name for p in out.glob("*.svg")} == {
        "waits.svg",
        "reach.svg",
        "messages.svg",
    }
    assert len(json.loads((out / "runs.json").read_text())) == 4


def test_a_sweep_keeps_the_smallest_plan_of_its_first_failure(
    scenario, tmp_path, capsys
):
    text = SCENARIO.replace("run_s = 20", "run_s = 4\nsettle_s = 1")
    text = text.replace("run_ms = 500", "run_ms = 60000\nrun_s_max = 600")
    scenario.write_text(text.replace("every_ms = 1000", "every_ms = 1"))
    out = tmp_path / "out"
    words = ["simulate", str(scenario), "--sweep", "--workers", "2", "--out", str(out)]
    assert run(words) == 1
    assert "I10" in capsys.readouterr().err
    assert json.loads((out / "plan.json").read_text())["happenings"]
    assert "wants" in (out / "transcript.txt").read_text()


def test_the_page_says_who_got_the_work_and_who_waited(scenario, tmp_path):
    text = SCENARIO.replace(
        "submitters = 1", "submitters = 2\nprices_micro_ntx = [1, 2]"
    )
    scenario.write_text(text)
    out = tmp_path / "out"
    assert run(["simulate", str(scenario), "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "Work by price" in page
    assert "submitter-1, user 0" in page


def test_a_broken_promise_names_its_replay_and_keeps_the_smallest_plan(
    scenario, tmp_path, capsys
):
    text = SCENARIO.replace("run_s = 20", "run_s = 4\nsettle_s = 1")
    text = text.replace("run_ms = 500", "run_ms = 60000\nrun_s_max = 600")
    scenario.write_text(text.replace("every_ms = 1000", "every_ms = 1"))
    out = tmp_path / "out"

    assert run(["simulate", str(scenario), "--out", str(out)]) == 1
    told = capsys.readouterr().err
    assert f"nunet-node simulate {scenario} --seed 1 --nodes 4" in told
    kept = json.loads((out / "plan.json").read_text())
    assert 1 <= len(kept["happenings"]) < 5
    assert "wants" in (out / "transcript.txt").read_text()

    assert run(["simulate", str(out / "plan.json")]) == 1
    assert "I10" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("run_s = 'long'", "run_s"),
        ("[fleet]\nprovders = 3", "provders"),
        ("[links]\ngossip = 'pigeons'", "overlay"),
        ("run_s = ", "small.toml"),
        ("nobody = 1", "small.toml"),
        ("sizes = [0]", "sizes"),
        ("seeds = 1000000000", "seeds"),
        ("[fleet]\nproviders = 1000000000", "providers"),
        ("[fleet]\ncpus = [0]", "cpus"),
        ("[work]\njobs = 1000000000", "jobs"),
        ("[work]\nreplicas = 1", "real_signatures"),
        ("[faults]\nspam_per_s = 0", "spam_per_s"),
        ("[faults]\ncrashes_per_hour = 1000000000", "crashes_per_hour"),
    ],
)
def test_a_scenario_that_is_written_wrong_is_named(scenario, capsys, text, named):
    scenario.write_text(text)
    assert run(["simulate", str(scenario)]) == 2
    assert named in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    assert run(["simulate", str(tmp_path / "absent.toml")]) == 2
    assert "absent.toml" in capsys.readouterr().err


def test_the_page_says_what_harm_cost_the_others(scenario, tmp_path):
    text = SCENARIO.replace("seeds = 2", "seeds = 2\ncompare = true")
    harm = "[faults]\nsybils = 1\ncopied_permille = 1000\ncopied_at_s = 5\n"
    scenario.write_text(text + harm)
    out = tmp_path / "out"
    assert run(["simulate", str(scenario), "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "alone: p50 s" in page
    assert "jobs that ran at both" in page


def test_where_nothing_can_be_written_is_said_before_the_run(
    scenario, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    words = ["simulate", str(scenario), "--out", str(tmp_path / "file/out")]
    assert run(words) == 1
    told = capsys.readouterr()
    assert "file/out" in told.err
    assert "digest" not in told.err


def test_a_plan_that_is_none_is_named(tmp_path, capsys):
    plan = tmp_path / "plan.json"
    plan.write_text("{}")
    assert run(["simulate", str(plan)]) == 2
    assert "plan.json: not a plan" in capsys.readouterr().err
