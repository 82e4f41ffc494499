"""One HTML file about a run or a sweep: the question, the figures, the plots.

It needs nothing but itself, so that it can be mailed, archived and diffed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from nunet_node.simulator.report.svg import distribution, lines
from nunet_node.simulator.run import Outcome
from nunet_node.simulator.scenario import Scenario
from nunet_node.simulator.sweep import Point

SAMPLES_MAX: Final = 20_000
"""Times taken into one plot."""

US_PER_S: Final = 1_000_000

_STYLE: Final = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right;"
    "border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}"
    "svg{max-width:100%;margin:.5em 0}.bad{color:#b00}code{background:#f3f3f3}"
)

_LEGEND: Final = (
    "Start is the time from an order to the start of its job, at the median and the "
    "99th percentile. Messages and KiB are what all machines sent each other over "
    "sessions, for one job. Gossip is how long an advert took to a machine, beside the "
    "shortest path over mean delays. Fairness is Jain's index over the owners' mean "
    "waits: 1 if all waited alike. Promises are all that are checked "
    "after every turn."
)

Played = Sequence[tuple[Point, Outcome]]

HEAD: Final = (
    "machines",
    "seed",
    "jobs",
    "completed",
    "start p50 s",
    "start p99 s",
    "messages/job",
    "KiB/job",
    "gossip p99 ms",
    "shortest path p99 ms",
    "fairness",
    "promises",
)


def rows(played: Played) -> list[list[str]]:
    """Return the table's rows, one for each run, as text."""
    return [_row(point, outcome) for point, outcome in played]


def document(outcome: Outcome) -> dict[str, Any]:
    """Return a run's outcome as plain values."""
    broken = outcome.broken
    return {
        "digest": outcome.digest,
        "events": outcome.events,
        "inputs": outcome.inputs,
        "virtual_s": outcome.virtual_s,
        "broken": str(broken) if broken is not None else None,
        "measures": outcome.measures,
    }


def plots(played: Played) -> Mapping[str, str]:
    """Return each plot by its file's name."""
    waits = {_label(p): o.waits_us[:SAMPLES_MAX] for p, o in played}
    reach = {_label(p): o.reach_us[:SAMPLES_MAX] for p, o in played if o.reach_us}
    found = {
        "waits": distribution("From the order to the start", "seconds", waits, US_PER_S)
    }
    if reach:
        found["reach"] = distribution(
            "From an advert's sending to its arrival", "milliseconds", reach, 1000
        )
    if len({point.scenario.machines for point, _ in played}) > 1:
        found["messages"] = lines(
            "Messages for one job",
            ("machines", "messages"),
            {"messages": _by_size(played, "frames_per_job_permille", 1000)},
            logarithmic=True,
        )
    return found


def page(scenario: Scenario, played: Played) -> str:
    """Return the whole page."""
    broken = "".join(
        f'<p class="bad">Seed {point.seed}, {point.scenario.machines} machines: '
        f"{escape(str(outcome.broken))}</p>"
        for point, outcome in played
        if outcome.broken is not None
    )
    states = "".join(
        f"<p>{_label(point)}: digest <code>{outcome.digest}</code>, "
        f"{outcome.events:,} events, {outcome.virtual_s:,} s of virtual time; "
        f"jobs {_states(outcome)}; results "
        f"{outcome.measures['results_fetched']} fetched, "
        f"{outcome.measures['results_wrong']} wrong, "
        f"{outcome.measures['results_withheld']} withheld.</p>"
        for point, outcome in played
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{escape(scenario.name)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(scenario.name)}</h1><p>{escape(scenario.question)}</p>"
        f"{broken}{_table(HEAD, rows(played))}<p>{_LEGEND}</p>"
        f"{''.join(plots(played).values())}"
        f"{_by_price(played)}{_by_owner(played)}{_others(played)}{_copies(played)}"
        f"<h2>Runs</h2>{states}</html>\n"
    )


def _by_price(played: Played) -> str:
    """Return who got the work, if there is more than one price."""
    found = Counter[int]()
    for _, outcome in played:
        for price, starts in outcome.measures["starts_by_price"].items():
            found[int(price)] += starts
    if len(found) < 2:  # noqa: PLR2004 - one price leaves nothing to compare
        return ""
    cells = [
        (f"{price / US_PER_S:.2f}", f"{starts}", f"{starts / found.total():.0%}")
        for price, starts in sorted(found.items())
    ]
    head = ("NTX for a CPU-hour", "attempts begun", "share")
    return f"<h2>Work by price, all runs</h2>{_table(head, cells)}"


def _by_owner(played: Played) -> str:
    """Return who waited how long in the first run, if several did."""
    waits = played[0][1].measures["waits_by_owner_us"] if played else {}
    if len(waits) < 2:  # noqa: PLR2004 - one owner leaves nothing to compare
        return ""
    cells = [
        (
            owner,
            f"{each['jobs']}",
            *(f"{each[rank] / US_PER_S:.2f}" for rank in ("p50", "p99", "max")),
        )
        for owner, each in waits.items()
    ]
    head = ("owner", "jobs begun", "wait p50 s", "p99 s", "longest s")
    return f"<h2>Waits of the busiest owners, first run</h2>{_table(head, cells)}"


def _others(played: Played) -> str:
    """Return how long whoever does no harm waits, and would wait without those."""
    cells = [
        [_label(point)]
        + [
            f"{outcome.measures[name][rank] / US_PER_S:.2f}"
            if name in outcome.measures
            else "-"
            for name in ("waits_of_others_us", "waits_of_others_alone_us")
            for rank in ("p50", "p99", "max")
        ]
        for point, outcome in played
        if "waits_of_others_us" in outcome.measures
    ]
    head = ("", "p50 s", "p99 s", "longest s", "alone: p50 s", "p99 s", "longest s")
    title = "<h2>Waits of all but those who do harm, and without those</h2>"
    return title + _table(head, cells) if cells else ""


def _copies(played: Played) -> str:
    """Return how many homes ran twice, and how many jobs at both nodes."""
    cells = [
        (_label(point), f"{found['copied']}", f"{found['ran_at_both']}")
        for point, found in ((point, outcome.measures) for point, outcome in played)
        if "copied" in found
    ]
    head = ("", "homes that ran twice", "jobs that ran at both")
    return f"<h2>Two nodes with one key</h2>{_table(head, cells)}" if cells else ""


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>"
        for line in lines
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _row(point: Point, outcome: Outcome) -> list[str]:
    measures = outcome.measures
    started, jobs = measures["started_us"], measures["jobs"]
    done = measures["states"].get("completed", 0)
    return [
        f"{point.scenario.machines}",
        f"{point.seed}",
        f"{jobs}",
        f"{done}",
        f"{started['p50'] / US_PER_S:.2f}",
        f"{started['p99'] / US_PER_S:.2f}",
        f"{measures['frames_per_job_permille'] / 1000:.1f}",
        f"{measures['bytes_per_job'] / 1024:.1f}",
        _ms(measures["gossip_reach_us"]["p99"]),
        _ms(measures["gossip_bound_us"]["p99"]),
        f"{measures['fairness_permille'] / 1000:.3f}",
        "kept" if outcome.broken is None else f"{outcome.broken.invariant} broken",
    ]


def _states(outcome: Outcome) -> str:
    states = outcome.measures["states"].items()
    return ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in states)


def _ms(time_us: int) -> str:
    return f"{time_us / 1000:.0f}" if time_us else "-"


def _label(point: Point) -> str:
    return f"{point.scenario.machines} machines, seed {point.seed}"


def _by_size(played: Played, name: str, scale: int) -> list[tuple[float, float]]:
    found = dict[int, list[int]]()
    for point, outcome in played:
        found.setdefault(point.scenario.machines, []).append(outcome.measures[name])
    return [
        (float(size), sum(values) / len(values) / scale)
        for size, values in sorted(found.items())
    ]
