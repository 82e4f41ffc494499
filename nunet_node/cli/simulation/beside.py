"""Laying a scenario's run on real processes beside its simulation.

Both sides are given the same plan, the moments at which the real processes were
ready included, and both are measured by what nodes tell (`watch.course`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from nunet_node.cli.simulation.real import RealRun, Say
from nunet_node.simulator import plan as p
from nunet_node.simulator.run import Outcome, Run
from nunet_node.simulator.scenario import Faults, Scenario
from nunet_node.simulator.watch.course import (
    Course,
    Seen,
    course_measures,
    known_measures,
)
from nunet_node.simulator.watch.measures import NS_PER_US, percentiles

BESIDE_HEAD: Final = ("", "real", "simulated")

KEPT_FAULTS: Final = (
    "loss_permille",
    "delay_permille",
    "delay_ms_max",
    "crashes_per_hour",
    "down_s_max",
    "vanish_permille",
    "vanish_at_s",
    "partitions_per_hour",
    "partition_s_max",
    "stops_per_hour",
    "stop_s_max",
)
"""What can be done to real processes from outside."""


def comparable(scenario: Scenario, nodes: int, seed: int) -> p.Plan:
    """Return the plan that real processes can follow."""
    sized = scenario.sized(nodes)
    faults = {name: getattr(scenario.faults, name) for name in KEPT_FAULTS}
    fair = msgspec.structs.replace(
        sized,
        sizes=(),
        real_signatures=True,
        fleet=msgspec.structs.replace(sized.fleet, users_per_submitter=1),
        links=msgspec.structs.replace(sized.links, gossip="overlay"),
        faults=Faults(**faults),
    )
    plan = p.make_plan(fair, seed)
    kept = [
        happening
        for happening in plan.happenings
        if not isinstance(happening, p.Crashed | p.Stopped)
        or happening.machine < fair.fleet.providers
    ]
    return msgspec.structs.replace(plan, happenings=tuple(kept))


def left_out(scenario: Scenario) -> list[str]:
    """Return the faults of a scenario that real processes are spared."""
    default = Faults()
    return [
        name
        for name in Faults.__struct_fields__
        if name not in KEPT_FAULTS
        and getattr(scenario.faults, name) != getattr(default, name)
    ]


async def both_sides(
    plan: p.Plan, homes: Path, say: Say, spared: Sequence[str] = ()
) -> Mapping[str, Any]:
    """Play a plan on real processes, and then simulated; return both measures.

    Args:
        plan: what both can follow.
        homes: where the processes live.
        say: is told how it goes.
        spared: the faults that were left out, for the document.
    """
    real = RealRun(plan, homes, say)
    own = await real.play()
    run_us = {str(h.number): h.run_ms * 1000 for h in _placed(plan)}
    measured = _measures(real.seen, real.seen.course, run_us, real.ready_ns)
    boots = tuple(real.boots_ns.get(each.index, 0) for each in real.machines)
    return {
        "scenario": plan.scenario.name,
        "nodes": plan.scenario.machines,
        "seed": plan.seed,
        "left_out": list(spared),
        "boots_ns": boots,
        "begun_ns": real.begun_ns,
        "real": {**measured, **own},
        "simulated": simulated_measures(moved(plan, boots, real.begun_ns)),
    }


def beside_rows(both: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a table's lines: what was measured, on either side."""
    real, simulated = both["real"], both["simulated"]
    lines = list[tuple[str, ...]]()
    for name, value in real.items():
        other = simulated.get(name)
        if isinstance(value, Mapping) and name.endswith("_us"):
            label = name.removesuffix("_us").replace("_", " ")
            for rank in ("p50", "p90", "max"):
                there = f"{other[rank] / 1e6:.3f}" if other else "-"
                lines.append((f"{label}, s, {rank}", f"{value[rank] / 1e6:.3f}", there))
        else:
            lines.append((name.replace("_", " "), str(value), str(other or "-")))
    return lines


def moved(plan: p.Plan, boots_ns: tuple[int, ...], begun_ns: int) -> p.Plan:
    """Return the plan with the moments at which real processes were ready."""
    later = [
        msgspec.structs.replace(each, at_ns=each.at_ns + begun_ns)
        for each in plan.happenings
    ]
    return msgspec.structs.replace(plan, happenings=tuple(later), boots_ns=boots_ns)


def simulated_measures(plan: p.Plan) -> Mapping[str, Any]:
    """Simulate a plan and return what can be told of real processes, too."""
    seen = Seen(since_ns=min((h.at_ns for h in plan.happenings), default=0))
    run = Run(plan, extra=(seen,))
    outcome = run.play()
    placed = {h.number: h.run_ms * 1000 for h in _placed(plan)}
    jobs = {job: placed[number] for number, (_, job) in run.people.placed.items()}
    providers = [m for m in run.world.machines if m.provides]
    ready = {m.peer_id: plan.boots_ns[m.index] for m in providers}
    return {
        **_measures(seen, seen.course, jobs, ready),
        "frames": seen.frames,
        "frame_bytes": seen.frame_bytes,
        "fetched": outcome.measures["results_fetched"],
        "stops": run.trouble.stops,
        "gone_noticed_us": percentiles(_noticed(plan, run, seen)),
        "broken": _broken(outcome),
    }


def _measures(
    seen: Seen, course: Course, run_us: Mapping[Any, int], ready: Mapping[str, int]
) -> dict[str, Any]:
    providers = ready.keys()
    heard = {
        pair: at_ns
        for pair, at_ns in seen.heard.items()
        if pair[0] in providers and pair[1] in providers
    }
    return {
        "jobs": len(course),
        "states": dict(sorted(seen.states.items())),
        **course_measures(course, run_us),
        **known_measures(heard, ready),
    }


def _noticed(plan: p.Plan, run: Run, seen: Seen) -> list[int]:
    gone = {
        run.world.machines[h.machine].peer_id: h.at_ns
        for h in plan.happenings
        if isinstance(h, p.Vanished)
    }
    return [
        (at_ns - gone[about]) // NS_PER_US
        for by, about, at_ns in seen.gone
        if about in gone and by not in gone
    ]


def _placed(plan: p.Plan) -> list[p.Placed]:
    return [each for each in plan.happenings if isinstance(each, p.Placed)]


def _broken(outcome: Outcome) -> str | None:
    return None if outcome.broken is None else str(outcome.broken)
