"""The same attacks on a node that is not root, as most providers run it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.executors_kit import cache_folder, need

ROOT = Path(__file__).parents[2]
SOMEBODY = 61_990
"""A user id that no system assigns."""

KEY_CASES = (
    "cannot_read_the_host",
    "cannot_reach_the_host_over_the_network",
    "cannot_write_kernel_settings",
    "cannot_open_namespaces",
    "only_its_own_directories",
    "many_processes_together",
    "one_native_process_cannot",
    "memory_cannot_hide",
    "fork_bomb",
    "without_a_name",
    "too_deep_to_measure",
    "exceed_the_disk",
    "flood_of_output",
    "cancelled",
    "survives_a_killed_node",
    "never_runs_as_the_root",
    "arguments_and_inputs",
    "nothing_is_left_after",
    "seen_while_it_runs",
    "closed_to_the_node",
    "warm",
    "own_userland",
    "root_cannot_be_written",
    "neither_be_killed_nor_traced",
    "namespace_within",
    "held_every_attack",
    "leads_outside",
    "no_other_way_out",
    "no_way_for_another",
    "lets_go_of_what_it_reached",
    "lets_processes_reach",
    "finds_its_secrets",
    "only_the_runner_itself_sees",
)


def open_to_all(path: Path) -> bool:
    real = path.resolve()
    return all(part.stat().st_mode & 0o001 for part in (real, *real.parents))


def interpreter() -> Path:
    """A Python of this version that any user may start."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (Path(sys.executable), Path("/usr/bin") / version):
        if candidate.exists() and open_to_all(candidate):
            return candidate
    pytest.skip(f"no {version} here that an unprivileged user can start")


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of somebody's own, with the compiled modules we have already."""
    with tempfile.TemporaryDirectory(prefix="nunet-node-test-") as top:
        theirs = Path(top) / f"nunet-node-test-cache-{SOMEBODY}"
        theirs.mkdir(mode=0o700)
        for compiled in cache_folder().glob("*.cwasm"):
            shutil.copy(compiled, theirs)
        for path in (Path(top), theirs, *theirs.iterdir()):
            os.chown(path, SOMEBODY, SOMEBODY)
        yield Path(top)


@pytest.mark.skipif(os.geteuid() != 0, reason="this run is unprivileged already")
async def test_the_key_cases_hold_without_privilege(home: Path):
    await need("python")
    python = interpreter()
    packages = Path(sysconfig.get_path("purelib"))
    if not open_to_all(packages) or not open_to_all(ROOT):
        pytest.skip("an unprivileged user cannot read this environment")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONPATH": str(packages),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(home / "hypothesis"),
    }
    tests = [
        *sorted(str(path) for path in ROOT.glob("tests/adversarial/test_sandbox_*.py")),
        str(ROOT / "tests/unit/executors"),
    ]
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    ran = await trio.to_thread.run_sync(
        lambda: subprocess.run(
            [
                *command,
                f"--basetemp={home}/pytest",
                "-k",
                " or ".join(KEY_CASES),
                *tests,
            ],
            cwd=ROOT,
            env=environment,
            user=SOMEBODY,
            group=SOMEBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    assert " passed" in ran.stdout
