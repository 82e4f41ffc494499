"""The demonstration's job does real work, and the same work everywhere."""

import ast
import hashlib
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from nunet_node import demo

TABLE = demo.directory() / demo.TABLE
SCRIPT = demo.directory() / demo.SCRIPT
OUTPUTS = ("chart.svg", "summary.json", "summary.md")


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the job as a provider does: alone in a folder with its input."""
    shutil.copy(SCRIPT, folder)
    if not (folder / demo.TABLE).exists():
        shutil.copy(TABLE, folder)
    command = [sys.executable, "-I", demo.SCRIPT, demo.TABLE]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    ran = run(folder)
    assert ran.returncode == 0, ran.stderr
    return ran, folder / "out"


def test_the_table_is_the_one_whose_source_is_told():
    digest = hashlib.sha256(TABLE.read_bytes()).hexdigest()
    assert digest in (demo.directory() / "SOURCE.md").read_text()


def test_the_job_needs_nothing_but_the_standard_library():
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


def test_the_job_finds_what_is_known_of_the_record(done):
    facts = json.loads((done[1] / "summary.json").read_text())
    assert facts["readings"] == 741
    assert facts["missing_months"] == 5
    assert 30 <= facts["rise_percent"] <= 31
    assert facts["season_peak"] == "May"
    assert facts["season_trough"] in {"Sep", "Oct"}
    rates = {d["decade"]: d for d in facts["decades"]}
    assert list(rates) == ["1960s", "1970s", "1980s", "1990s", "2000s", "2010s"]
    assert 0.7 <= rates["1960s"]["ppm_per_year"] <= 1.0
    assert 2.2 <= rates["2010s"]["ppm_per_year"] <= 2.6


def test_every_rate_lies_within_its_own_interval(done):
    facts = json.loads((done[1] / "summary.json").read_text())
    for decade in facts["decades"]:
        low, high = decade["interval_95"]
        assert low < decade["ppm_per_year"] < high


def test_the_chart_is_a_picture_with_a_title_axes_and_its_source(done):
    root = ET.parse(done[1] / "chart.svg").getroot()
    words = " ".join(root.itertext())
    assert root.tag.endswith("svg")
    for told in ("Mauna Loa", "ppm", "1960", "2020", "Scripps", "CC BY 4.0"):
        assert told in words


def test_the_summary_is_told_in_words_and_shows_the_chart(done):
    summary = (done[1] / "summary.md").read_text()
    assert summary.startswith("# Carbon dioxide over Mauna Loa")
    assert "(chart.svg)" in summary
    assert "{" not in summary


def test_the_job_tells_how_far_it_is(done):
    lines = done[0].stdout.splitlines()
    assert lines[0].startswith("[1/4]")
    assert lines[-1].startswith("[4/4]")
    assert sum(line.startswith("[3/4]") for line in lines) == 4


def test_the_job_done_twice_gives_the_same_bytes(done, tmp_path):
    assert run(tmp_path).returncode == 0
    for name in OUTPUTS:
        assert (tmp_path / "out" / name).read_bytes() == (done[1] / name).read_bytes()


def test_a_row_that_is_no_measurement_ends_the_job_with_nothing_written(tmp_path):
    (tmp_path / demo.TABLE).write_text("Date,CO2\n1958-03-01,none\n")
    assert run(tmp_path).returncode != 0
    assert not (tmp_path / "out").exists()
