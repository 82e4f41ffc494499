"""Put faults into a node, one by one, and see that a checker of the simulator bites.

Run it with ``make mutants``, or for some promises: ``python -m tests.mutation.promises
I4 I7``. Each fault is put into a copy of the
tree, where `simulations/everything.toml`, or the scenario that it names, is played
under one seed after the other until a promise breaks. It ends with 1 if a fault breaks none, or only one that is not its own.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from tests.mutation.breaches import BREACHES, PROTOCOL, Breach

TREE: Final = Path(__file__).parents[2]

SEEDS_MAX: Final = 12
"""Seeds that a fault may stay hidden for: what needs a crash at the right moment."""

PLAY_S: Final = 120
"""Longest that all seeds of one fault may take."""

PROGRAM: Final = """
import json, sys
from pathlib import Path
from nunet_node.simulator.plan import make_plan
from nunet_node.simulator.run import Run
from nunet_node.simulator.scenario import load_scenario
scenario = load_scenario(Path(sys.argv[1]))
for seed in range(1, int(sys.argv[2]) + 1):
    broken = Run(make_plan(scenario, seed)).play().broken
    if broken is not None:
        print(json.dumps([seed, broken.invariant, str(broken)]))
        break
"""


def main() -> int:
    """Try every fault; return how the process should end."""
    words = sys.argv[1:]
    chosen = [b for b in BREACHES if not words or b.promises[0] in words]
    with tempfile.TemporaryDirectory(prefix="nunet-breaches-") as place:
        copy = Path(place)
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(TREE / "nunet_node", copy / "nunet_node", ignore=leave)
        noticed = sum(_is_noticed(copy, breach) for breach in chosen)
    click.echo(f"{noticed} of {len(chosen)} faults are noticed")
    return 0 if noticed == len(chosen) else 1


def _is_noticed(copy: Path, breach: Breach) -> bool:
    before = dict[Path, str]()
    for file, old, new in ((breach.file, breach.old, breach.new), *breach.also):
        path = copy / PROTOCOL / file
        before[path] = path.read_text()
        if before[path].count(old) != 1:
            raise SystemExit(f"{file} does not have it once: {breach.what}")
        path.write_text(before[path].replace(old, new))
    try:
        found = _play(copy, breach.scenario)
    finally:
        for path, text in before.items():
            path.write_text(text)
    outcome = "BREAKS NO PROMISE"
    if found is not None:
        seed, _, said = found
        outcome = f"seed {seed}: {said}"
    click.echo(f"{'/'.join(breach.promises)}: {breach.what}\n    {outcome}")
    return found is not None and found[1] in breach.promises


def _play(copy: Path, name: str) -> tuple[int, str, str] | None:
    """Return the seed, the promise and the words of the first that is broken."""
    scenario = TREE / f"simulations/{name}.toml"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(scenario), str(SEEDS_MAX)],
        cwd=copy,
        env={
            **os.environ,
            "PYTHONPATH": str(copy),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=PLAY_S,
    )
    return tuple(json.loads(done.stdout)) if done.stdout else None


if __name__ == "__main__":
    sys.exit(main())
