"""What the machine gives is the smallest bound that its kernel names."""

import os

import pytest

from nunet_node.executors.port import Capability
from nunet_node.market.offers import EngineOffer
from nunet_node.runtime.work import detect


def detected(tmp_path, told="0::/\n8:memory:/\n3:cpu,cpuacct:/\n"):
    place = tmp_path / "told"
    place.write_text(told)
    return detect.detect(tmp_path, cgroup=tmp_path, told=place)


def cpu_millis(tmp_path):
    return detected(tmp_path).cpu_millis


def memory_bytes(tmp_path):
    return detected(tmp_path).memory_bytes


NEWER = "0::/user.slice/node.scope\n"
OLDER = "8:memory:/system/node\n3:cpu,cpuacct:/system/node\n0::/\n"


@pytest.mark.parametrize("at", ["user.slice", "user.slice/node.scope"])
def test_a_limit_on_the_node_s_own_group_or_one_above_counts(tmp_path, at):
    (tmp_path / "user.slice/node.scope").mkdir(parents=True)
    (tmp_path / "user.slice/cpu.max").write_text("max 100000\n")
    (tmp_path / at / "cpu.max").write_text("70000 100000\n")
    (tmp_path / at / "memory.max").write_text(f"{1 << 28}\n")
    offered = detected(tmp_path, NEWER)
    assert offered.cpu_millis == 700
    assert offered.memory_bytes == (1 << 28) * 75 // 100


def test_a_limit_on_the_node_s_own_older_groups_counts(tmp_path):
    for controller in ("cpu", "memory"):
        (tmp_path / controller / "system/node").mkdir(parents=True)
    (tmp_path / "cpu/system/node/cpu.cfs_quota_us").write_text("25000\n")
    (tmp_path / "cpu/system/node/cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "memory/system/memory.limit_in_bytes").write_text(f"{1 << 28}\n")
    offered = detected(tmp_path, OLDER)
    assert offered.cpu_millis == 250
    assert offered.memory_bytes == (1 << 28) * 75 // 100


def test_the_group_of_another_is_no_limit(tmp_path):
    (tmp_path / "user.slice/other.scope").mkdir(parents=True)
    (tmp_path / "user.slice/other.scope/cpu.max").write_text("100 100000\n")
    offered = detected(tmp_path, NEWER)
    assert offered.cpu_millis == 1000 * len(os.sched_getaffinity(0))


def test_a_limit_that_changes_is_seen_at_the_next_look(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cpu_millis(tmp_path) == 500
    (tmp_path / "cpu.max").write_text("20000 100000\n")
    assert cpu_millis(tmp_path) == 200


def test_without_control_groups_the_machine_counts(tmp_path):
    offered = detected(tmp_path)
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert offered.cpu_millis == 1000 * len(os.sched_getaffinity(0))
    assert offered.memory_bytes == total * 75 // 100
    assert offered.disk_bytes > 0


def test_a_quota_of_the_newer_control_groups_counts(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{1 << 28}\n")
    assert cpu_millis(tmp_path) == 500
    assert memory_bytes(tmp_path) == (1 << 28) * 75 // 100


def test_a_quota_of_the_older_control_groups_counts(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("25000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text(f"{1 << 28}\n")
    assert cpu_millis(tmp_path) == 250
    assert memory_bytes(tmp_path) == (1 << 28) * 75 // 100


@pytest.mark.parametrize("text", ["max 100000", "max", "", "nonsense here now"])
def test_no_quota_is_no_limit(tmp_path, text):
    (tmp_path / "cpu.max").write_text(text)
    (tmp_path / "memory.max").write_text("max")
    assert cpu_millis(tmp_path) == 1000 * len(os.sched_getaffinity(0))


def test_an_unlimited_older_group_is_no_limit(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert cpu_millis(tmp_path) == 1000 * len(os.sched_getaffinity(0))


class Engines:
    """Executors of which only the probe is asked."""

    def __init__(self, *capabilities):
        self._capabilities = capabilities

    async def probe(self):
        return self._capabilities


def capability(engine, *, ready):
    return Capability(engine=engine, isolation="strong", ready=ready, detail="why")


async def test_only_engines_that_worked_are_offered():
    found = await detect.engines(
        Engines(capability("wasm", ready=True), capability("process", ready=False))
    )
    assert found == (EngineOffer(engine="wasm", isolation="strong"),)
    assert not detect.some_wait(found)


async def test_python_that_only_needs_compiling_is_announced(monkeypatch, tmp_path):
    monkeypatch.setattr(detect, "find_python", lambda: tmp_path)
    found = await detect.engines(Engines(capability("python", ready=False)))
    assert found == (EngineOffer(engine="python", isolation="", ready=False),)
    assert detect.some_wait(found)


async def test_python_that_is_not_installed_is_not_offered(monkeypatch):
    monkeypatch.setattr(detect, "find_python", lambda: None)
    assert await detect.engines(Engines(capability("python", ready=False))) == ()
