"""Job files are written, checked and described without a network."""

import json

import pytest

from nunet_node.cli.main import run


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_first_file_is_written_and_is_valid_once_its_script_exists(tmp_path, capsys):
    assert run(["spec", "init"]) == 0
    assert run(["spec", "validate", "job.yaml"]) == 2
    assert "main.py does not exist" in capsys.readouterr().err
    (tmp_path / "main.py").write_text("")
    assert run(["spec", "validate", "job.yaml"]) == 0
    assert "nunet-node submit job.yaml" in capsys.readouterr().out


def test_an_existing_file_is_kept(tmp_path, capsys):
    (tmp_path / "job.yaml").write_text("mine")

    assert run(["spec", "init"]) == 2
    assert (tmp_path / "job.yaml").read_text() == "mine"
    assert "exists already" in capsys.readouterr().err


def test_the_schema_is_json(capsys):
    assert run(["spec", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].endswith("2020-12/schema")


def test_a_mistake_names_the_file_the_line_and_the_remedy(tmp_path, capsys):
    (tmp_path / "j.yaml").write_text("version: 1\nscript: a.py\nmemry: 1\n")

    assert run(["--json", "spec", "validate", "j.yaml"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "spec.file"
    assert err.startswith("nunet-node: j.yaml: line 3: memry: no such option")


def test_paths_are_taken_from_the_file_s_own_directory(tmp_path, capsys):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.py").write_text("")
    (tmp_path / "sub/j.yaml").write_text("version: 1\nscript: a.py\n")

    assert run(["--json", "spec", "validate", "sub/j.yaml"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "valid": True,
        "name": "a",
        "engine": "python",
        "command": ["a.py"],
    }


@pytest.mark.parametrize("data", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path, data, capsys):
    if data is not None:
        (tmp_path / "j.yaml").write_bytes(data)

    assert run(["spec", "validate", "j.yaml"]) == 2
    assert "j.yaml" in capsys.readouterr().err


def test_no_more_of_a_file_is_read_than_a_job_file_may_have(tmp_path, capsys):
    with (tmp_path / "j.yaml").open("wb") as file:
        file.truncate(1 << 40)

    assert run(["spec", "validate", "j.yaml"]) == 2
    assert "j.yaml: larger than" in capsys.readouterr().err


def test_a_foreign_job_that_is_not_there_is_named_once(tmp_path, capsys):
    assert run(["spec", "import", "bacalhau", "nope.yaml"]) == 2
    assert capsys.readouterr().err.count("nope.yaml") == 1
