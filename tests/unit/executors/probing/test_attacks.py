"""What came of an attack is read strictly: only a seen failure is a barrier held."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nunet_node.executors.port import ENGINES, Engine, RunEnd
from nunet_node.executors.probing.attacks import (
    FORKS_TRIED,
    Seen,
    Surroundings,
    _reaches_machines,
    attacks,
)

AROUND = Surroundings(outside=Path("/etc/passwd"), port=1)


BOXED = RunEnd(exit_code=0, isolation="bwrap+uid")
FILTERED = RunEnd(exit_code=0, isolation="bwrap+uid+seccomp")


def judged(engine: Engine, place: int, stdout: str = "", **end) -> dict[str, bool]:
    attack = attacks(engine, AROUND, thorough=True)[place]
    ended = RunEnd(**({"exit_code": 0} | end))
    found = attack.judge(Seen(end=ended, stdout=stdout))
    assert all(each.held or each.detail for each in found)
    return {each.barrier: each.held for each in found}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_guest_that_says_nothing_has_shown_nothing(engine: Engine):
    for place, _ in enumerate(attacks(engine, AROUND, thorough=True)):
        assert not any(judged(engine, place).values())


def test_a_shell_without_a_sandbox_gets_through_every_wall():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        around = Surroundings(outside=Path(__file__), port=port)
        attack = attacks("process", around, thorough=False)[0]
        ran = subprocess.run(
            attack.argv, capture_output=True, text=True, check=False, timeout=30
        )
    found = attack.judge(Seen(end=RunEnd(exit_code=0), stdout=ran.stdout))
    broken = {each.barrier for each in found if not each.held}
    assert broken >= {"network", "host files", "host processes"}


def test_a_script_without_a_sandbox_gets_through_every_wall(tmp_path: Path):
    (tmp_path / "job").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        around = Surroundings(outside=Path(__file__), port=port)
        attack = attacks("python", around, thorough=False)[0]
        assert attack.file is not None
        (tmp_path / "job" / attack.file[0]).write_bytes(attack.file[1])
        ran = subprocess.run(
            [sys.executable, "-I", *attack.argv],
            cwd=tmp_path / "job",
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    found = attack.judge(Seen(end=RunEnd(exit_code=0), stdout=ran.stdout))
    broken = {each.barrier for each in found if not each.held}
    assert {"network", "host files", "host processes", "memory", "disk"} == broken
    assert os.path.getsize(tmp_path / "job" / "big") > 0


def test_a_network_that_no_filter_closes_is_open_to_the_machine_below():
    attack = attacks("process", AROUND, thorough=False)[0]
    for end, held in ((FILTERED, True), (BOXED, not _reaches_machines())):
        found = attack.judge(Seen(end=end, stdout="held network\n"))
        assert [each.held for each in found if each.barrier == "network"] == [held]


def test_a_wall_that_was_broken_says_how():
    attack = attacks("process", AROUND, thorough=False)[0]
    said = "held network\nbroken host files: it can read /root\nheld privileges\n"
    found = {
        each.barrier: each for each in attack.judge(Seen(end=FILTERED, stdout=said))
    }
    assert found["network"].held
    assert found["host files"].detail == "it can read /root"
    assert not found["host processes"].held


@pytest.mark.parametrize(("place", "limit"), [(1, "memory"), (2, "disk"), (3, "log")])
def test_a_limit_held_only_if_it_ended_the_guest(place: int, limit: str):
    assert judged("process", place, limit=limit, exit_code=None) == {limit: True}
    assert judged("process", place, limit="wall", exit_code=None) == {limit: False}
    assert judged("process", place, exit_code=1) == {limit: False}


def test_a_fork_bomb_is_held_if_it_began_and_was_stopped():
    counted = "".join(f"{number}\n" for number in range(FORKS_TRIED))
    assert judged("process", 4, counted, exit_code=2) == {"processes": True}
    assert judged("process", 4, f"{counted}all\n") == {"processes": False}
    assert judged("process", 4, "", exit_code=2) == {"processes": False}


def test_each_bit_of_the_module_s_digit_is_one_barrier():
    assert all(judged("wasm", 0, "0").values())
    assert not judged("wasm", 0, "1")["host files"]
    assert not judged("wasm", 0, "2")["network"]
    assert not judged("wasm", 0, "4")["memory"]
    assert not judged("wasm", 0, "0", exit_code=8)["disk"]
    assert judged("wasm", 0, "0", limit="disk", exit_code=None)["disk"]


def test_only_a_thorough_look_waits_for_deadlines():
    for engine in ENGINES:
        quick = attacks(engine, AROUND, thorough=False)
        slow = attacks(engine, AROUND, thorough=True)
        assert len(slow) == len(quick) + 1
        assert slow[-1].wall_s < quick[0].wall_s
