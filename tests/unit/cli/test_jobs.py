"""Commands about jobs say what is known here, and what is not."""

import json

from nunet_node.cli.jobs import _next_after, _status_text
from nunet_node.cli.main import run
from nunet_node.jobs.lifecycle import State
from nunet_node.jobs.specification import Engine, JobId, JobSpec
from nunet_node.jobs.statements import Move, Queue
from nunet_node.protocol.order import Order

JOB = JobId("a" * 32)
SPEC = JobSpec(name="co2", engine=Engine.PYTHON, command=("a.py",))


def test_a_new_home_has_no_jobs(tmp_path, capsys):
    assert run(["--json", "--home", str(tmp_path / "h"), "list"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_listing_jobs_makes_no_identity(tmp_path, capsys):
    run(["--home", str(tmp_path / "h"), "list"])

    assert "made identity" not in capsys.readouterr().err


def test_a_target_that_is_taken_is_refused_before_the_network_is_asked(
    tmp_path, capsys
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").write_text("")
    words = ["--home", str(tmp_path / "h"), "get", "--out", str(tmp_path / "out"), JOB]

    assert run(words) == 1
    assert "is not empty" in capsys.readouterr().err


def test_the_status_tells_place_reason_and_history():
    order = Order(
        job=JOB,
        spec=SPEC,
        state=State.QUEUED,
        queue=Queue(position=2, reason="busy", estimate_s=5),
        history=(Move(state=State.QUEUED, at_s=0, reason="no room\x07"),),
    )

    text = _status_text(order, None)

    assert "queued: place 2, starts in about 5 s: busy" in text
    assert "no room\\x07" in text
    assert "1 CPU, 256MiB memory, 128MiB disk" in text


def test_the_next_command_follows_from_the_state():
    assert "wait" in _next_after(Order(job=JOB), None)
    assert "list" in _next_after(Order(job=JOB, state=State.CANCELLED), None)
