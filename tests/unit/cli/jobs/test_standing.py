"""Commands about jobs say what is known here, and what is not."""

import json

from nunet_node.cli.main import run


def test_a_new_home_has_no_jobs(tmp_path, capsys):
    assert run(["--json", "--home", str(tmp_path / "h"), "list"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_listing_jobs_makes_no_identity(tmp_path, capsys):
    run(["--home", str(tmp_path / "h"), "list"])

    assert "made identity" not in capsys.readouterr().err
