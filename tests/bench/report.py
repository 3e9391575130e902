"""The table that a measurement prints: what was compared, the figure, its goal, and whether it holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `least`: it should be at least the goal; else at most. Without a goal it is shown only."""

    what: str
    figure: float
    shown: str
    goal: float | None = None
    least: bool = True

    @property
    def holds(self) -> str:
        """Yes or no, where there is a goal."""
        if self.goal is None:
            return ""
        return "yes" if (self.figure >= self.goal) == self.least or self.figure == self.goal else "NO"

    @property
    def wish(self) -> str:
        """The goal as text."""
        return "" if self.goal is None else f"{'≥' if self.least else '≤'} {self.goal:,g}"


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the rounds' ratios: what ran side by side is compared with each other."""
    return median(a / b for a, b in zip(over, under, strict=True))


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the table."""
    wide = max(len(row.what) for row in rows)
    print(f"\n{title}\n")
    print(f"{'':{wide}}  {'measured':>12}  {'goal':>10}  holds")
    for row in rows:
        print(f"{row.what:{wide}}  {row.shown:>12}  {row.wish:>10}  {row.holds}")
    print(flush=True)
