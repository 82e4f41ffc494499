"""Take every remedy for py-libp2p out, one by one, and see its test fail.

Run it with ``make mutants``, or for some traps: ``make mutants TRAPS='P1 C3'``. Each
removal is made in a copy of the tree, where the test that ``test_remedies.HELD_BY``
names is run. The same tests are first run on the copy as it is, for one that fails
anyway proves nothing. It ends with 1 if a remedy can be taken out unnoticed. It takes
minutes, so it is no part of ``make test``.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from tests.mutation.removals import REMOVALS, ROOM, Removal
from tests.unit.network.libp2p.test_remedies import HELD_BY

TREE: Final = Path(__file__).parents[2]

TEST_S: Final = 100
"""Longest that the tests of one removal may take: one that hangs has noticed it, too."""

_FAILURE: Final = re.compile(
    r"^[\s|]*(?:E\s+)?([\w.]*(?:assert|Error|Failed|Broken|Refused|Reset|Connected)\b.*)$",
    re.MULTILINE,
)


def main(traps: list[str]) -> int:
    """Try these traps' remedies, or all; return how the process should end."""
    with tempfile.TemporaryDirectory(prefix="nunet-mutants-") as place:
        copy = Path(place)
        _copy_tree(copy)
        chosen = [r for r in REMOVALS if r.trap in (traps or HELD_BY)]
        failed = _run(copy, [HELD_BY[removal.trap] for removal in chosen])
        if failed:
            raise SystemExit(f"a test fails on the tree as it is: {failed}")
        noticed = sum(_is_noticed(copy, removal) for removal in chosen)
    click.echo(f"{noticed} of {len(chosen)} removals are noticed")
    return 0 if noticed == len(chosen) else 1


def _copy_tree(copy: Path) -> None:
    leave = shutil.ignore_patterns("__pycache__")
    for name in ("nunet_node", "tests"):
        shutil.copytree(TREE / name, copy / name, ignore=leave)
    shutil.copy(TREE / "pyproject.toml", copy)


def _is_noticed(copy: Path, removal: Removal) -> bool:
    files = {edit.file for edit in removal.edits}
    before = {file: (copy / ROOM / file).read_text() for file in files}
    for edit in removal.edits:
        path = copy / ROOM / edit.file
        path.write_text(path.read_text().replace(edit.old, edit.new))
    try:
        failed = _run(copy, [HELD_BY[removal.trap]])
    finally:
        for file, text in before.items():
            (copy / ROOM / file).write_text(text)
    outcome = f"is noticed: {failed}" if failed else "IS NOT NOTICED"
    click.echo(f"{removal.trap:3} {HELD_BY[removal.trap]}\n    {outcome}")
    return bool(failed)


def _run(copy: Path, tests: list[str]) -> str:
    """Run these tests there; return what the first failure says, or nothing."""
    command = [sys.executable, "-m", "pytest", "-qxp", "no:cacheprovider"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            [*command, *_places(copy, tests)],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TEST_S,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {TEST_S} s"
    if done.returncode == 0:
        return ""
    if done.returncode != 1:
        raise SystemExit(done.stdout + done.stderr)
    said = _FAILURE.findall(done.stdout)
    return said[-1] if said else f"pytest ended with {done.returncode}"


def _places(copy: Path, tests: list[str]) -> list[str]:
    files = [*(copy / "tests").rglob("test_*.py")]
    texts = {file: file.read_text() for file in files}
    return [
        f"{file.relative_to(copy)}::{test}"
        for test in dict.fromkeys(tests)
        for file, text in texts.items()
        if f"def {test}(" in text
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
