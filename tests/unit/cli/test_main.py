"""Every command ends with one line and the right exit code."""

import json
import subprocess
import sys

import pytest

from nunet_node.cli import main
from nunet_node.cli.main import run
from nunet_node.client.errors import ResultMissingError, UnknownJobError
from nunet_node.errors import MisuseError, PeerError


def documents(capsys):
    """Return the JSON documents on standard output, and what people read."""
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def test_help_names_every_command(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in [
        "up",
        "submit",
        "list",
        "status",
        "wait",
        "logs",
        "get",
        "cancel",
        "nodes",
        "did",
        "spec",
        "demo",
    ]:
        assert f"\n  {name} " in shown


def test_every_command_has_help_of_its_own(capsys):
    for name in [
        "up",
        "submit",
        "list",
        "status",
        "wait",
        "logs",
        "get",
        "cancel",
        "nodes",
        "did",
        "spec",
        "demo",
    ]:
        assert run([name, "--help"]) == 0
        assert name in capsys.readouterr().out


def test_help_does_not_wait_for_the_network_stack():
    script = (
        "import sys\n"
        "from nunet_node.cli.main import run\n"
        "assert run(['--help']) == 0\n"
        "print([m for m in ('libp2p', 'trio', 'wasmtime') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_list_without_jobs_under_way_does_not_load_the_network(tmp_path):
    script = (
        "import sys\n"
        "from nunet_node.cli.main import run\n"
        f"assert run(['--home', {str(tmp_path)!r}, '--json', 'list']) == 0\n"
        "print([m for m in ('libp2p', 'wasmtime') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_that_joins_the_network_is_one():
    assert main._COMMANDS.keys() >= main._JOINING


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "nunet_node", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "nunet-node" in done.stdout


def test_an_unknown_command_is_a_mistake_in_writing(capsys):
    assert run(["frobnicate"]) == 2
    assert capsys.readouterr().err.startswith("nunet-node: No such command")


def test_a_group_without_a_command_shows_what_it_has(capsys):
    assert run(["store"]) == 2
    err = capsys.readouterr().err
    assert "\n  verify " in err
    assert "\\x0a" not in err

    assert run(["--json", "store"]) == 2
    shown, _ = documents(capsys)
    assert "needs a command" in shown[0]["error"]["message"]


def test_a_mistake_in_writing_is_a_document_under_json(capsys):
    assert run(["--json", "status"]) == 2
    shown, err = documents(capsys)
    assert shown[0]["error"]["code"] == "usage"
    assert err.count("\n") == 1


def test_a_global_option_after_the_command_is_told_where_it_stands(capsys):
    assert run(["list", "--json"]) == 2
    assert "--json stands before the command" in capsys.readouterr().err


def test_an_option_value_is_not_taken_for_the_command(capsys):
    assert run(["--home", "status", "--json", "frob"]) == 2
    shown, _ = documents(capsys)
    assert "frob" in shown[0]["error"]["message"]


@pytest.mark.parametrize(
    ("error", "command", "code"),
    [
        (UnknownJobError("x"), "get", 3),
        (UnknownJobError("x"), "wait", 3),
        (ResultMissingError("x"), "get", 1),
        (PeerError("x"), "list", 1),
        (PeerError("x"), "submit", 125),
        (PeerError("x"), "wait", 125),
        (MisuseError("x"), "up", 1),
        (ZeroDivisionError("x"), "nodes", 1),
        (OSError(28, "No space left on device", "/full"), "list", 1),
        (KeyboardInterrupt(), "wait", 130),
        (ExceptionGroup("g", [ExceptionGroup("h", [UnknownJobError("x")])]), "get", 3),
    ],
)
def test_an_error_ends_with_the_code_for_its_kind(
    error, command, code, monkeypatch, capsys
):
    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(main.cli, "main", fail)

    assert run(["--json", command, "x"]) == code
    shown, err = documents(capsys)
    if code != 130:
        assert len(shown) == 1
        assert shown[0]["error"]["message"]
        assert err.startswith("nunet-node: ")
        assert "Traceback" not in err


def test_a_traceback_is_shown_only_when_everything_is_asked_for(monkeypatch, capsys):
    def fail(*_args, **_kwargs):
        raise ZeroDivisionError("x")

    monkeypatch.setattr(main.cli, "main", fail)

    run(["-vv", "list"])
    assert "Traceback" in capsys.readouterr().err
    run(["-v", "list"])
    assert "Traceback" not in capsys.readouterr().err


def test_a_job_s_own_exit_code_is_passed_on(monkeypatch):
    monkeypatch.setattr(main.cli, "main", lambda *_args, **_kwargs: 3)

    assert run(["submit", "x.py"]) == 3


def test_an_empty_home_is_no_directory(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["--home", "", "did"]) == main.USAGE
    assert "--home" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_home_that_cannot_be_used_is_named(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")

    assert run(["--home", str(blocked), "list"]) == 1
    err = capsys.readouterr().err
    assert str(blocked) in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "where", "code"),
    [
        ("--version", ">&-", 0),
        ("--version", "<&- >&- 2>&-", 0),
        ("frobnicate", "2>&-", 2),
        ("--json frobnicate", ">&-", 2),
        ("--json frobnicate", ">/dev/full 2>&1", 2),
    ],
)
def test_a_stream_that_is_closed_or_full_costs_no_traceback(words, where, code):
    script = f'exec "$0" -m nunet_node {words} {where}'
    done = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
