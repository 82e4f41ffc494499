"""Samples taken in turns, and the table they become.

Rule: absolute times say more about the machine and the minute than about the
program, so everything is measured in rounds, one sample of each thing after the
other, and what is compared is compared within a round.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

_MS: Final = 1000


@dataclass(slots=True)
class Figures:
    """The samples of one run: seconds by name, each name sampled every round."""

    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, seconds: Iterable[float]) -> None:
        """Take what one round gave; several samples count as their median."""
        self.samples.setdefault(name, []).append(median(seconds))

    def median(self, name: str) -> float | None:
        """Return the median over all rounds; None for what was not measured."""
        taken = self.samples.get(name)
        return median(taken) if taken else None

    def ratio(self, name: str, yardstick: str) -> float | None:
        """Return the median over all rounds of how many times as long it took."""
        pairs = zip(
            self.samples.get(name, ()), self.samples.get(yardstick, ()), strict=False
        )
        ratios = [mine / theirs for mine, theirs in pairs]
        return median(ratios) if ratios else None

    def row(self, name: str, yardsticks: Iterable[str], per_s: int = _MS) -> list[str]:
        """Return a row: the name, median, least and most in ms, and the ratios.

        Args:
            name: what was measured.
            yardsticks: what it is compared with.
            per_s: how many of the unit make a second, if it is another.
        """
        taken = self.samples[name]
        times = [f"{value * per_s:.2f}" for value in (median(taken), *_ends(taken))]
        return [name, *times, *(_times(self.ratio(name, each)) for each in yardsticks)]


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table that can be read as plain text too."""
    lines = [head, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    ruler = ["-" * width for width in widths]
    return "\n".join(
        f"| {' | '.join(map(_padded, line, widths))} |" for line in [head, ruler, *rows]
    )


def _padded(text: str, width: int) -> str:
    return text.ljust(width) if not text[:1].isdigit() else text.rjust(width)


def _ends(taken: list[float]) -> tuple[float, float]:
    return min(taken), max(taken)


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
