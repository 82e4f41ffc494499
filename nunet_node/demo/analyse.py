"""How fast is carbon dioxide rising, and how does the year breathe?

A job for a stranger's machine: plain Python, standard library only. It reads the
monthly means of Mauna Loa (see SOURCE.md), and writes a summary and a chart::

    python analyse.py co2.csv [OUTPUT_DIRECTORY]

Method: least squares of a cubic trend and four harmonics of the year whose
amplitude may grow. What the fit leaves over is resampled in blocks of two years,
because neighbouring months err together (Kuensch, "The Jackknife and the Bootstrap
for General Stationary Observations", Annals of Statistics 17(3), 1989).
"""

import csv
import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul, sub
from pathlib import Path
from statistics import fmean
from typing import Any

HARMONICS = 4
TREND = 4  # terms of a cubic
RESAMPLES = 1000
BLOCK_MONTHS = 24
SEED = 1958
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # noqa: SIM905

INK, GRID, MUTED = "#1b2733", "#e4e9ed", 'fill="#5c6b79"'
MIDDLE, END = 'text-anchor="middle"', 'text-anchor="end"'
HEADING = 'font-size="15" font-weight="600"'
SEA, RUST, PALE, PALE_INK = "#2a7f9e", "#b8441f", "#9ccbdc", "#5b9fb8"
BAR = f'stroke="{RUST}" stroke-width="30" stroke-opacity=".82"'
WHISKER = f'stroke="{INK}" stroke-width="1.4"'


@dataclass(frozen=True)
class Reading:
    """The mean of one month."""

    year: int
    month: int
    ppm: float

    @property
    def at(self) -> float:
        """The middle of the month, in years."""
        return self.year + (self.month - 0.5) / 12


Readings = Sequence[Reading]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Fit:
    """What the least squares found, and what they left over."""

    weights: list[float]
    residuals: list[float]

    def trend(self, at: float) -> float:
        """Return the level at this time, without the season."""
        return _dot(self.weights[:TREND], _trend_terms(at))

    def season(self, at: float) -> float:
        """Return what the season adds at this time."""
        return _dot(self.weights[TREND:], _season_terms(at))

    def cycle(self, year: int) -> list[float]:
        """Return what the season adds in the twelve months of a year."""
        return [self.season(Reading(year, month, 0).at) for month in range(1, 13)]


@dataclass(frozen=True)
class Pace:
    """The rise in one decade, in ppm a year, with its 95 % interval."""

    decade: int
    rate: float
    low: float
    high: float


def read(path: Path) -> Readings:
    """Read the table; a row that is no measurement ends the job."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Reading(int(row["Date"][:4]), int(row["Date"][5:7]), float(row["CO2"]))
            for row in csv.DictReader(file)
        ]


def fit(readings: Readings) -> Fit:
    """Split the readings into trend, season and the rest."""
    rows = [_trend_terms(r.at) + _season_terms(r.at) for r in readings]
    values = [r.ppm for r in readings]
    weights = _least_squares(rows, values)
    return Fit(weights, list(map(sub, values, (_dot(weights, row) for row in rows))))


def _trend_terms(at: float) -> list[float]:
    u = (at - 1990) / 30  # near one, so that the equations stay well conditioned
    return [1.0, u, u * u, u * u * u]


def _season_terms(at: float) -> list[float]:
    u = (at - 1990) / 30
    angles = [2 * math.pi * k * at for k in range(1, HARMONICS + 1)]
    waves = [wave(angle) for angle in angles for wave in (math.cos, math.sin)]
    return waves + [u * wave for wave in waves]


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return float(sum(map(mul, left, right)))


def _least_squares(rows: list[list[float]], values: list[float]) -> list[float]:
    columns = list(zip(*rows, strict=True))
    system = [[_dot(a, b) for b in (*columns, values)] for a in columns]
    for i in range(len(system)):
        pivot = max(range(i, len(system)), key=lambda row: abs(system[row][i]))
        system[i], system[pivot] = system[pivot], system[i]
        system[i] = [cell / system[i][i] for cell in system[i]]
        for j, row in enumerate(system):
            if j != i:
                system[j] = list(map(sub, row, (row[i] * up for up in system[i])))
    return [row[-1] for row in system]


def paces(readings: Readings, found: Fit) -> list[Pace]:
    """Return the rise in each decade since 1960, and how sure that figure is."""
    chance = random.Random(SEED)  # noqa: S311 - statistics, not secrets
    decades = range(1960, readings[-1].year // 10 * 10, 10)
    years = [r.year // 10 * 10 for r in readings]
    spans = [[i for i, year in enumerate(years) if year == d] for d in decades]
    adjusted = [r.ppm - found.season(r.at) for r in readings]
    rates = [_slope(readings, adjusted, span) for span in spans]
    errors = []
    for n in range(1, RESAMPLES + 1):
        noise = _resample(found.residuals, chance)
        errors.append([_slope(readings, noise, span) for span in spans])
        if n % (RESAMPLES // 4) == 0:
            say(f"[3/4] resampled {n} of {RESAMPLES} times")
    edge = RESAMPLES // 40
    ranked = [sorted(of_decade) for of_decade in zip(*errors, strict=True)]
    return [
        Pace(decade, rate, rate - error[-1 - edge], rate - error[edge])
        for decade, rate, error in zip(decades, rates, ranked, strict=True)
    ]


def _resample(residuals: Sequence[float], chance: random.Random) -> list[float]:
    noise: list[float] = []
    while len(noise) < len(residuals):
        start = chance.randrange(len(residuals) - BLOCK_MONTHS + 1)
        noise += residuals[start : start + BLOCK_MONTHS]
    return noise[: len(residuals)]


def _slope(readings: Readings, series: Sequence[float], span: Sequence[int]) -> float:
    """Return the least-squares slope of part of a series, a year."""
    times = [readings[i].at for i in span]
    middle = sum(times) / len(times)
    offsets = [t - middle for t in times]
    return _dot(offsets, [series[i] for i in span]) / _dot(offsets, offsets)


def summarise(readings: Readings, found: Fit, rates: list[Pace]) -> Facts:
    """Gather every figure that the summary and the chart tell."""
    first, last = readings[0].year + 1, readings[-1].year - 1
    before = fmean(r.ppm for r in readings if r.year == first)
    after = fmean(r.ppm for r in readings if r.year == last)
    months = round(12 * (readings[-1].at - readings[0].at)) + 1
    cycle, cycle_first = found.cycle(last), found.cycle(first)
    return {
        "readings": len(readings),
        "missing_months": months - len(readings),
        "first_year": first,
        "last_year": last,
        "mean_first_year_ppm": round(before, 2),
        "mean_last_year_ppm": round(after, 2),
        "rise_percent": round(100 * (after / before - 1), 1),
        "decades": [
            {
                "decade": f"{pace.decade}s",
                "ppm_per_year": round(pace.rate, 2),
                "interval_95": [round(pace.low, 2), round(pace.high, 2)],
            }
            for pace in rates
        ],
        "season_peak": MONTHS[cycle.index(max(cycle))],
        "season_trough": MONTHS[cycle.index(min(cycle))],
        "season_swing_first_year_ppm": round(max(cycle_first) - min(cycle_first), 2),
        "season_swing_last_year_ppm": round(max(cycle) - min(cycle), 2),
        "residual_ppm": round(_spread(found.residuals), 2),
        "resamples": RESAMPLES,
    }


def _spread(values: Sequence[float]) -> float:
    return math.sqrt(_dot(values, values) / len(values))


def as_markdown(facts: Facts) -> str:
    """Write the summary that a person reads first."""
    decades = facts["decades"]
    row = "| {decade} | {ppm_per_year:.2f} | {0:.2f} to {1:.2f} |"
    table = "\n".join(row.format(*d["interval_95"], **d) for d in decades)
    return SUMMARY.format(**facts, table=table, slow=decades[0], fast=decades[-1])


SUMMARY = """\
# Carbon dioxide over Mauna Loa, {first_year} to {last_year}

The mean of {first_year} was {mean_first_year_ppm:.2f} ppm, that of {last_year} \
{mean_last_year_ppm:.2f} ppm: **a rise of {rise_percent} %**. The rise itself has
quickened, from {slow[ppm_per_year]:.2f} ppm a year in the {slow[decade]} to \
{fast[ppm_per_year]:.2f} ppm a year in the {fast[decade]}.

| Decade | ppm a year | 95 % interval |
| --- | ---: | :---: |
{table}

Every year the northern forests breathe: the air holds most in {season_peak} and
least in {season_trough}. That swing has grown from {season_swing_first_year_ppm:.1f} \
to {season_swing_last_year_ppm:.1f} ppm.

From {readings} monthly means; {missing_months} months have none. The fit (a cubic
trend and four harmonics of the year) misses a month by {residual_ppm:.2f} ppm
(root mean square). Intervals come from {resamples} resamples in blocks of two years.

![The record, its yearly cycle and its pace](chart.svg)

Data: Scripps CO2 Program (Keeling et al.), CC BY 4.0.
"""


@dataclass(frozen=True)
class Panel:
    """A plot in the chart: a rectangle on the paper and the values it spans."""

    left: float
    top: float
    width: float
    height: float
    x_span: tuple[float, float]
    y_span: tuple[float, float]

    def x(self, value: float) -> float:
        """Return where on the paper a value lies, from the left."""
        low, high = self.x_span
        return self.left + self.width * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """Return where on the paper a value lies, from the top."""
        low, high = self.y_span
        return self.top + self.height * (high - value) / (high - low)

    def curve(self, points: Sequence[tuple[float, float]], style: str) -> str:
        """Draw one line through values."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        return f'<polyline fill="none" {style} points="{path}"/>'

    def heading(self, title: str, unit: str) -> str:
        """Write what is plotted, and in which unit, above the plot."""
        above = text(self.left, self.top - 32, title, HEADING)
        return above + text(self.left, self.top - 14, unit, MUTED)

    def scale(self, values: Sequence[float], write: str = "{:g}") -> str:
        """Rule the plot at these values, and say them at the left."""
        return "".join(
            f'<line x1="{self.left:.1f}" x2="{self.left + self.width:.1f}" '
            f'y1="{self.y(v):.1f}" y2="{self.y(v):.1f}" stroke="{GRID}"/>'
            + text(
                self.left - 8,
                self.y(v) + 4,
                write.format(v) if v else "0",
                f"{END} {MUTED}",
            )
            for v in values
        )

    def names(self, places: dict[int, str]) -> str:
        """Write names below the plot."""
        foot, style = self.top + self.height + 20, f"{MIDDLE} {MUTED}"
        return "".join(text(self.x(x), foot, n, style) for x, n in places.items())


def text(x: float, y: float, words: str, style: str = "") -> str:
    """Write one line of words."""
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{words}</text>'


def draw_record(readings: Readings, found: Fit) -> str:
    """Plot every monthly mean, and the trend through them."""
    panel = Panel(64, 142, 520, 400, (1957, 2021), (310, 420))
    means = [(r.at, r.ppm) for r in readings]
    trend = [(at, found.trend(at)) for at, _ in means[::6]]
    note = panel.y(found.trend(1990))
    return (
        panel.heading("The record", "CO₂ in dry air, parts per million (ppm)")
        + panel.scale(range(320, 421, 20))
        + panel.names({year: str(year) for year in range(1960, 2021, 10)})
        + panel.curve(means, f'stroke="{SEA}" stroke-width="1.1"')
        + panel.curve(trend, f'stroke="{RUST}" stroke-width="2.6"')
        + text(panel.x(1986), note - 14, "monthly mean", f'{END} fill="{SEA}"')
        + text(panel.x(1992), note + 22, "trend, season taken out", f'fill="{RUST}"')
    )


def draw_season(facts: Facts, found: Fit) -> str:
    """Plot the cycle of the first and of the last whole year."""
    panel = Panel(672, 142, 264, 150, (0.5, 12.5), (-4, 4))
    first, last = facts["first_year"], facts["last_year"]
    old, new = (list(enumerate(found.cycle(year), 1)) for year in (first, last))
    return (
        panel.heading("The year breathes", "ppm above or below the trend")
        + panel.scale((-4, -2, 0, 2, 4), "{:+g}")
        + panel.names({at: name[0] for at, name in enumerate(MONTHS, 1)})
        + panel.curve(old, f'stroke="{PALE}" stroke-width="2.4"')
        + panel.curve(new, f'stroke="{SEA}" stroke-width="2.4"')
        + text(panel.x(6.2), panel.y(3.1), str(last), f'fill="{SEA}"')
        + text(panel.x(8.4), panel.y(-0.6), str(first), f'fill="{PALE_INK}"')
    )


def draw_paces(rates: Sequence[Pace]) -> str:
    """Plot the rise of each decade, with the interval it is sure within."""
    panel = Panel(672, 392, 264, 150, (-0.6, len(rates) - 0.4), (0, 3))
    bars = [
        panel.curve([(at, 0), (at, pace.rate)], BAR)
        + panel.curve([(at, pace.low), (at, pace.high)], WHISKER)
        + text(panel.x(at), panel.y(pace.high) - 6, f"{pace.rate:.1f}", MIDDLE)
        for at, pace in enumerate(rates)
    ]
    return (
        panel.heading("The pace quickens", "ppm a year, by decade; line: 95 % interval")
        + panel.scale((0, 1, 2, 3))
        + panel.names({at: f"{pace.decade}s" for at, pace in enumerate(rates)})
        + "".join(bars)
    )


def chart(readings: Readings, found: Fit, rates: list[Pace], facts: Facts) -> str:
    """Draw the record, its season and its pace on one sheet."""
    title = (
        f"Carbon dioxide over Mauna Loa: up {facts['rise_percent']:.0f} % in "
        f"{facts['last_year'] - facts['first_year']} years, "
        f"and rising {rates[-1].rate / rates[0].rate:.0f} times as fast"
    )
    source = (
        f"{len(readings)} monthly means, {readings[0].year} to {readings[-1].year}. "
        "Data: Scripps CO₂ Program (Keeling et al.), CC BY 4.0."
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 620" role="img" '
        f'font-size="13" fill="{INK}" '
        "font-family=\"'Source Sans 3','Helvetica Neue',Arial,sans-serif\">"
        f'<title>{title}</title><rect width="980" height="620" fill="#fff"/>'
        + text(32, 52, title, 'font-size="23" font-weight="700"')
        + draw_record(readings, found)
        + draw_season(facts, found)
        + draw_paces(rates)
        + text(32, 598, source, MUTED)
        + "</svg>\n"
    )


def say(line: str) -> None:
    """Tell how far the job is, at once: somebody is watching."""
    print(line, flush=True)


def main(table: str, directory: str = "out") -> None:
    """Do the whole job."""
    readings = read(Path(table))
    span = f"{readings[0].year} to {readings[-1].year}"
    say(f"[1/4] read {len(readings)} monthly means, {span}")
    found = fit(readings)
    say(f"[2/4] fitted trend and season to {_spread(found.residuals):.2f} ppm")
    rates = paces(readings, found)
    facts = summarise(readings, found, rates)
    out = Path(directory)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("summary.md", as_markdown(facts)),
        ("summary.json", json.dumps(facts, indent=2) + "\n"),
        ("chart.svg", chart(readings, found, rates, facts)),
    ):
        (out / name).write_text(content, encoding="utf-8")
    say(f"[4/4] wrote {directory}/: up {facts['rise_percent']} % and quickening")


if __name__ == "__main__":
    main(*sys.argv[1:])
