"""Plots as SVG text: distributions, and one figure against another.

Two shapes are enough for what is asked of a simulation, so no plotting library is
needed to read a report. Both axes begin at zero unless a plot is logarithmic in x.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 16, 34, 44
INKS: Final = ("#20639b", "#c1440e", "#3c8d53", "#8e44ad", "#b7950b", "#555555")

POINTS_MAX: Final = 400
"""Points drawn of one curve: more than a screen resolves."""

_OPENING: Final = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
    ' font-family="sans-serif" font-size="12">'
)

Curve = Sequence[tuple[float, float]]


def distribution(
    title: str, unit: str, samples: Mapping[str, Sequence[int]], scale: int = 1
) -> str:
    """Return cumulative shares of the samples, each divided by ``scale``."""
    curves = {name: _ranked(values, scale) for name, values in samples.items()}
    return lines(title, (unit, "share"), curves)


def lines(
    title: str,
    axes: tuple[str, str],
    curves: Mapping[str, Curve],
    *,
    logarithmic: bool = False,
) -> str:
    """Return curves through their points, with both axes named."""
    drawn = {name: curve for name, curve in curves.items() if curve}
    xs = [_x(x, logarithmic) for curve in drawn.values() for x, _ in curve]
    ys = [y for curve in drawn.values() for _, y in curve]
    low = min(xs, default=0.0) if logarithmic else 0.0
    high, top = max(xs, default=1.0) or 1.0, max(ys, default=1.0) or 1.0
    frame = _Frame(low, high if high > low else low + 1, top, logarithmic=logarithmic)
    parts = [
        _OPENING,
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>',
        *frame.axes(axes),
    ]
    for number, (name, curve) in enumerate(drawn.items()):
        parts += _curve(frame, number, name, curve)
    return "\n".join((*parts, "</svg>"))


class _Frame:
    """Where a value stands on the paper."""

    def __init__(
        self, low: float, high: float, top: float, *, logarithmic: bool
    ) -> None:
        self.low, self.high, self.top = low, high, top
        self.logarithmic = logarithmic

    def place(self, x: float, y: float) -> str:
        """Return a point's coordinates."""
        share = (_x(x, self.logarithmic) - self.low) / (self.high - self.low)
        left = LEFT + share * (WIDTH - LEFT - RIGHT)
        return f"{left:.1f},{self.height(y):.1f}"

    def height(self, y: float) -> float:
        """Return how far from the top a value stands."""
        return HEIGHT - BOTTOM - y / self.top * (HEIGHT - TOP - BOTTOM)

    def axes(self, names: tuple[str, str]) -> list[str]:
        """Return the frame, four marks on each axis, and their names."""
        right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
        parts = [f'<path d="M{LEFT} {TOP}V{floor}H{right}" fill="none" stroke="#333"/>']
        for mark in range(5):
            share = mark / 4
            x = self.low + share * (self.high - self.low)
            shown = 10**x if self.logarithmic else x
            at = LEFT + share * (right - LEFT)
            parts.append(
                f'<text x="{at:.1f}" y="{floor + 16}" text-anchor="middle">'
                f"{_short(shown)}</text>"
            )
            y = self.height(share * self.top)
            parts.append(
                f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
                f"{_short(share * self.top)}</text>"
                f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd"/>'
            )
        parts.append(
            f'<text x="{right}" y="{floor + 34}" text-anchor="end">'
            f"{escape(names[0])}</text>"
            f'<text x="6" y="{TOP - 4}">{escape(names[1])}</text>'
        )
        return parts


def _curve(frame: _Frame, number: int, name: str, curve: Curve) -> list[str]:
    ink = INKS[number % len(INKS)]
    step = max(1, len(curve) // POINTS_MAX)
    kept = [*curve[::step], curve[-1]]
    path = " ".join(frame.place(x, y) for x, y in kept)
    left, high = LEFT + 14, TOP + 14 + 16 * number
    return [
        f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="2"/>',
        f'<text x="{left}" y="{high}" fill="{ink}">{escape(name)}</text>',
    ]


def _ranked(values: Sequence[int], scale: int) -> list[tuple[float, float]]:
    ranked = sorted(values)
    count = len(ranked)
    return [(value / scale, at / count) for at, value in enumerate(ranked, 1)]


def _x(value: float, logarithmic: bool) -> float:  # noqa: FBT001 - two kinds of axis
    return math.log10(max(value, 1e-9)) if logarithmic else value


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004
