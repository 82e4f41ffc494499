"""The doctor prints what was tried, and numbers the remedies."""

import json
from dataclasses import replace

import trio

from nunet_node.cli.machine import doctor
from nunet_node.cli.main import run
from nunet_node.executors.port import Capability, Finding
from nunet_node.quantities import ResourceVector
from nunet_node.runtime.work.checkup import Checkup, gaps

HELD = Finding(barrier="network", held=True)
BROKEN = Finding(barrier="memory", held=False, detail="it got 256 MiB")


def found(*, ready):
    barriers = "bwrap+uid+seccomp" if ready else "none"
    capability = Capability(
        engine="process",
        isolation=barriers,
        ready=ready,
        detail="did not hold: memory (it got 256 MiB)",
        remedy="let this user write control groups",
        findings=(HELD,) if ready else (HELD, BROKEN),
    )
    return Checkup(
        capabilities=(capability,),
        gaps=tuple(gaps([capability])),
        room=ResourceVector(cpu_millis=2000, memory_bytes=1 << 30, disk_bytes=1 << 30),
    )


def ran(monkeypatch, tmp_path, words, *, ready):
    async def check_up(_scratch, _cache, _domains):
        await trio.lowlevel.checkpoint()
        return found(ready=ready)

    monkeypatch.setattr(doctor, "check_up", check_up)
    return run(["--home", str(tmp_path), *words])


def test_a_broken_limit_is_shown_with_a_numbered_remedy(monkeypatch, tmp_path, capsys):
    assert ran(monkeypatch, tmp_path, ["doctor"], ready=False) == 1
    out = capsys.readouterr().out
    assert "NOT memory" in out
    assert "1. process: did not hold: memory (it got 256 MiB)" in out
    assert "remedy: let this user write control groups" in out


def test_an_offered_engine_may_still_lack_something(monkeypatch, tmp_path, capsys):
    assert ran(monkeypatch, tmp_path, ["doctor"], ready=True) == 0
    out = capsys.readouterr().out
    assert "1. process: no control group" in out
    assert "2 CPU, 1GiB memory" in out


def test_what_jobs_reach_is_told_with_how_to_change_it():
    capability = replace(found(ready=True).capabilities[0], http=True)
    able = replace(found(ready=True), capabilities=(capability,))
    lending = replace(able, domains=("pypi.example",))
    assert 'http = ["' in doctor._report(able)
    assert "processes that ask: pypi.example" in doctor._report(lending)
    assert "network of jobs: none; what" in doctor._report(found(ready=True))
    assert doctor._document(able)["network"] == ["none"]
    assert doctor._document(lending)["network"] == ["none", "http"]


def test_a_machine_that_cannot_lend_its_address_has_a_gap():
    capability = replace(found(ready=True).capabilities[0], http_gap="no bash")
    whats = {gap.what: gap.remedy for gap in gaps([capability])}
    (what,) = (each for each in whats if "no bash" in each)
    assert "bash" in whats[what]


def test_programs_get_one_document(monkeypatch, tmp_path, capsys):
    assert ran(monkeypatch, tmp_path, ["--json", "doctor"], ready=False) == 1
    document = json.loads(capsys.readouterr().out)
    (engine,) = document["engines"]
    assert not engine["ready"]
    assert engine["barriers"][1] == {
        "barrier": "memory",
        "held": False,
        "detail": "it got 256 MiB",
    }
    assert document["gaps"][0]["remedy"]
