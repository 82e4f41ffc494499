"""The forms of ``submit`` are told apart, and mistakes are found before anything runs."""

import os

import click
import pytest

from nunet_node.cli.jobs.watching import free_target
from nunet_node.cli.main import run
from nunet_node.cli.submit import _plan, submit_command
from nunet_node.errors import PeerError
from nunet_node.jobs.job_file import FileInput, job_spec
from nunet_node.jobs.specification import Engine
from nunet_node.protocol.order import Order


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text("")
    (tmp_path / "tool.wasm").write_bytes(b"")
    (tmp_path / "data.csv").write_text("")
    (tmp_path / "job.yaml").write_text(
        "version: 1\nscript: job.py\nargs: [a]\nresources: {memory: 1GiB}\n"
    )


def plan(*words):
    context = submit_command.make_context("submit", list(words))
    with context:
        given = dict(context.params)
        return _plan(given.pop("words"), given)


def spec(*words):
    return job_spec(plan(*words).work, inputs=None, inputs_bytes=0)


@pytest.mark.parametrize(
    ("words", "engine", "command"),
    [
        (["job.py", "1", "--cpus", "9"], Engine.PYTHON, ("job.py", "1", "--cpus", "9")),
        (["tool.wasm", "--", "x"], Engine.WASM, ("tool.wasm", "--", "x")),
        (["--", "echo", "--detach"], Engine.PROCESS, ("echo", "--detach")),
        (["--cpus", "2", "--", "job.py"], Engine.PROCESS, ("job.py",)),
        (["--engine", "process", "job.py"], Engine.PROCESS, ("python3", "job.py")),
        (["job.yaml", "b"], Engine.PYTHON, ("job.py", "a", "b")),
        (["--engine", "python", "--", "x.py"], Engine.PYTHON, ("x.py",)),
    ],
)
def test_the_first_word_says_what_kind_of_job_it_is(words, engine, command):
    made = spec(*words)

    assert (made.engine, made.command) == (engine, command)


def test_every_option_reaches_the_specification():
    given = "--cpus 0.5 --memory 1GiB --disk 2GiB --timeout 10m --queue-timeout 7d"
    given += " --max-price 0.25 --name n --env A=b=c --env B= --output out/** job.py"
    made = spec(*given.split())

    assert made.resources.cpu_millis == 500
    assert made.resources.memory_bytes == 1 << 30
    assert made.resources.disk_bytes == 2 << 30
    assert (made.timeouts.run_s, made.timeouts.queue_s) == (600, 7 * 86400)
    assert made.price_micro_ntx_max == 250_000
    assert (made.name, made.env, made.outputs) == (
        "n",
        {"A": "b=c", "B": ""},
        ("out/**",),
    )


def test_options_override_the_file():
    assert spec("--memory", "2GiB", "job.yaml").resources.memory_bytes == 2 << 30
    assert spec("job.yaml").resources.memory_bytes == 1 << 30


def test_the_script_and_the_inputs_are_brought_along():
    work = plan("--input", "data.csv:in/d.csv", "job.py").work

    assert work.all_inputs() == (
        FileInput(path="job.py", dest="job.py"),
        FileInput(path="data.csv", dest="in/d.csv"),
    )


def test_an_identity_in_the_file_is_used_unless_an_option_names_another(tmp_path):
    with (tmp_path / "job.yaml").open("a") as file:
        file.write("identity: work\n")

    assert plan("job.yaml").identity == "work"
    assert plan("--identity", "me", "job.yaml").identity == "me"
    assert plan("job.py").identity == "default"


def test_a_missing_input_is_found_before_anything_is_sent():
    with pytest.raises(PeerError, match=r"nowhere\.csv does not exist"):
        plan("--input", "nowhere.csv", "job.py")


def test_a_word_that_is_no_job_is_told_the_form_for_commands():
    with pytest.raises(click.UsageError, match="nunet-node submit -- echo hi"):
        plan("echo", "hi")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--cpus", "0", "job.py"],
        ["--cpus", "many", "job.py"],
        ["--memory", "512QiB", "job.py"],
        ["--timeout", "31d", "job.py"],
        ["--env", "novalue", "job.py"],
        ["--engine", "pyhton", "job.py"],
        ["--input", "data.csv:/etc/passwd", "job.py"],
        ["--output", "../*", "job.py"],
        ["--name", "a/b", "job.py"],
        ["--max-price", "-1", "job.py"],
        ["--bootstrap", "localhost:4040", "job.py"],
        ["--no-such-option", "job.py"],
    ],
)
def test_a_wrong_option_ends_the_command_with_code_2(words, capsys):
    assert run(["submit", *words]) == 2
    assert capsys.readouterr().err.startswith("nunet-node: ")


def test_a_taken_target_is_refused_before_the_job_is_submitted(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious").write_text("")

    code = run(["--home", str(tmp_path / "home"), "submit", "--out", "out", "job.py"])

    assert code == 125
    assert "out is not empty" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_a_directory_that_takes_no_result_is_refused_before_the_job_is_submitted(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda place, _: place != tmp_path)
    home = ["--home", str(tmp_path / "home")]
    assert run([*home, "submit", "--", "true"]) == 125
    assert f"cannot write to {tmp_path};" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_a_wrong_job_file_is_not_submitted(tmp_path, capsys):
    (tmp_path / "job.yaml").write_text("version: 1\nscritp: job.py\n")

    assert run(["submit", "job.yaml"]) == 2
    assert "did you mean 'script'" in capsys.readouterr().err


class _Handle:
    def __init__(self, order):
        self.order = order
        self.job = order.job


def test_a_result_is_named_after_its_job_unless_the_name_is_taken(tmp_path):
    handle = _Handle(Order(job="j" * 32, spec=spec("--name", "n", "job.py")))

    assert str(free_target(None, handle)) == "n"
    (tmp_path / "n").mkdir()
    assert str(free_target(None, handle)) == "n"
    (tmp_path / "n/x").write_text("")
    assert str(free_target(None, handle)) == "j" * 32
    assert str(free_target(tmp_path / "mine", handle)) == str(tmp_path / "mine")


@pytest.mark.parametrize(
    "words",
    [("--secret", "TOKEN=@nowhere"), ("--secret", "TOKEN=@."), ("--secret", "NOT_SET")],
)
def test_a_secret_that_is_not_there_is_found_before_anything_is_sent(words):
    with pytest.raises(PeerError, match=r"^secret "):
        plan(*words, "job.py")
