"""``simulate``: run production nodes under virtual time, and say what came of it.

A scenario and a seed give the same run everywhere. A broken promise ends with the
one command that plays it again; with ``--out`` the smallest plan that still breaks it
is kept beside its transcript.
"""

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import trio

from nunet_node.cli.options import Whole
from nunet_node.cli.output import Settings, table
from nunet_node.cli.simulation.beside import (
    BESIDE_HEAD,
    beside_rows,
    both_sides,
    comparable,
    left_out,
)
from nunet_node.errors import PeerError
from nunet_node.simulator.plan import Plan, make_plan, read_plan
from nunet_node.simulator.report.page import HEAD, document, page, plots, rows
from nunet_node.simulator.run import Outcome, Run
from nunet_node.simulator.scenario import (
    MACHINES_MAX,
    Scenario,
    ScenarioError,
    load_scenario,
)
from nunet_node.simulator.shrink import shrink
from nunet_node.simulator.sweep import Point, play_all, points
from nunet_node.simulator.watch.transcript import Transcript

BAR_CHARS: Final = 30


class PromiseBrokenError(PeerError):
    """A simulated network broke a promise."""

    code = "simulator.promise"


@click.command("simulate", epilog="Scenarios: simulations/*.toml")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--seed", type=Whole(0), help="[the scenario's]")
@click.option("--nodes", type=Whole(2, MACHINES_MAX), help="Machines in all.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the figures, the plots and a page here.",
)
@click.option("--sweep", is_flag=True, help="Play every seed at every size.")
@click.option("--workers", type=Whole(1), help="Processes. [all processors]")
@click.option("--ray", default="", metavar="ADDRESS", help="Play on a Ray cluster.")
@click.option(
    "--real",
    type=Whole(2, 64),
    metavar="COUNT",
    help="Also on so many real processes here.",
)
@click.option("--json", "as_json", is_flag=True, help="As before the command.")
@click.option("--no-shrink", is_flag=True, help="Leave a failure as long as it is.")
@click.pass_obj
def simulate_command(settings: Settings, /, file: Path, **options: Any) -> None:
    """Simulate a network as FILE describes it, or play a kept plan again."""
    settings = replace(settings, json=settings.json or options["as_json"])
    out = options["out"]
    if out is not None:
        # Before an hour of work, not after it.
        out.mkdir(parents=True, exist_ok=True)
    if options["real"]:
        _beside(settings, _scenario(file, options["seed"], None), options["real"], out)
        return
    if options["sweep"]:
        scenario = _scenario(file, options["seed"], options["nodes"])
        workers = options["workers"] or os.cpu_count() or 1
        played = _sweep(settings, scenario, workers, options["ray"])
        _write(out, scenario, played)
        failed = [each for each in played if each[1].broken is not None]
        if out is not None and failed and not options["no_shrink"]:
            point, outcome = failed[0]
            _keep_failure(out, make_plan(point.scenario, point.seed), outcome)
        _finish(settings, file, played)
        return
    plan = _plan(file, options["seed"], options["nodes"])
    begun = time.perf_counter()
    outcome = Run(plan).play(None if settings.json else _show_progress)
    wall_s = time.perf_counter() - begun
    played = [(Point(scenario=plan.scenario, seed=plan.seed), outcome)]
    measured = {**document(outcome), "wall_s": round(wall_s, 3)}
    settings.document({**measured, "seed": plan.seed, "name": plan.scenario.name})
    _write(out, plan.scenario, played)
    if out is not None:
        (out / "outcome.json").write_bytes(_json(measured))
        if outcome.broken is not None and not options["no_shrink"]:
            _keep_failure(out, plan, outcome)
    if not settings.json:
        _say(settings, plan, outcome, wall_s)
    _finish(settings, file, played)


def _beside(
    settings: Settings, scenario: Scenario, nodes: int, out: Path | None
) -> None:
    """Play a scenario on real processes and on simulated ones, and compare."""
    plan = comparable(scenario, nodes, scenario.seed)
    with tempfile.TemporaryDirectory(prefix="nunet-simulate-") as homes:
        spared = left_out(scenario)
        both = trio.run(both_sides, plan, Path(homes), settings.note, spared)
    settings.document(both)
    if out is not None:
        (out / f"real-{plan.scenario.machines}.json").write_bytes(_json(both))
    if not settings.json:
        settings.say(table(BESIDE_HEAD, beside_rows(both)))
    for name in both["left_out"]:
        settings.note(f"left out, because no process can be made to: {name}")


def _plan(file: Path, seed: int | None, nodes: int | None) -> Plan:
    if file.suffix == ".json":
        try:
            return read_plan(file.read_bytes())
        except OSError as error:
            raise ScenarioError(f"{file}: {error.strerror}") from None
        except ScenarioError as error:
            raise ScenarioError(f"{file}: {error}") from None
    scenario = _scenario(file, seed, nodes)
    return make_plan(scenario, scenario.seed)


def _scenario(file: Path, seed: int | None, nodes: int | None) -> Scenario:
    scenario = load_scenario(file)
    if nodes is not None:
        scenario = msgspec.structs.replace(scenario.sized(nodes), sizes=())
    if seed is not None:
        scenario = msgspec.structs.replace(scenario, seed=seed)
    return scenario


def _sweep(
    settings: Settings, scenario: Scenario, workers: int, ray: str
) -> list[tuple[Point, Outcome]]:
    found, played = points(scenario), list[tuple[Point, Outcome]]()
    for point, outcome in play_all(found, workers=workers, ray_address=ray):
        played.append((point, outcome))
        settings.document(
            {
                "seed": point.seed,
                "machines": point.scenario.machines,
                **document(outcome),
            }
        )
        if not settings.json:
            _show_progress(len(played), len(found), "runs")
    return played


def _write(
    out: Path | None, scenario: Scenario, played: list[tuple[Point, Outcome]]
) -> None:
    if out is None:
        return
    documents = [
        {"seed": point.seed, "machines": point.scenario.machines, **document(outcome)}
        for point, outcome in played
    ]
    (out / "runs.json").write_bytes(_json(documents))
    (out / "report.html").write_text(page(scenario, played), encoding="utf-8")
    for name, drawn in plots(played).items():
        (out / f"{name}.svg").write_text(drawn, encoding="utf-8")


def _keep_failure(out: Path, plan: Plan, outcome: Outcome) -> None:
    if outcome.broken is None:
        return
    small = shrink(plan, outcome.broken.invariant)
    transcript = Transcript()
    Run(small, extra=(transcript,)).play()
    (out / "plan.json").write_bytes(_json(small))
    (out / "transcript.txt").write_text(transcript.text(), encoding="utf-8")


def _say(settings: Settings, plan: Plan, outcome: Outcome, wall_s: float) -> None:
    per_s = int(outcome.events / max(wall_s, 1e-9))
    settings.note(
        f"{plan.scenario.name}, seed {plan.seed}: {outcome.events:,} events in "
        f"{wall_s:.1f} s ({per_s:,} a second), {outcome.virtual_s:,} s of virtual time"
        f"\ndigest {outcome.digest}"
    )


def _finish(
    settings: Settings, file: Path, played: list[tuple[Point, Outcome]]
) -> None:
    if not settings.json:
        settings.say(table(HEAD, rows(played)))
    for point, outcome in played:
        if outcome.broken is not None:
            again = f"nunet-node simulate {file}"
            if file.suffix != ".json":
                again += f" --seed {point.seed} --nodes {point.scenario.machines}"
            raise PromiseBrokenError(f"{outcome.broken}; again: {again}")


def _show_progress(done: int, whole: int, unit: str = "s") -> None:
    if sys.stderr.isatty():
        full = BAR_CHARS * done // max(1, whole)
        end = "\n" if done >= whole else ""
        sys.stderr.write(f"\r[{'#' * full:<{BAR_CHARS}}] {done}/{whole} {unit} {end}")
        sys.stderr.flush()


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
