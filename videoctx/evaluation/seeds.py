"""One network trained from several seeds: how good it is, and how far luck moves it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from videoctx.evaluation.whole_file import whole_file

ROW_INCHES = 0.32


@dataclass(frozen=True, slots=True)
class SeedGroup:
    """Runs that differ only in their seed."""

    name: str
    num_parameters: int
    values: dict[int, float]  # the metric, in [0, 1], by seed

    @property
    def mean(self) -> float:
        return mean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds, with n - 1; none for a single run, of which nothing is known."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


def draw_seeds(groups: Sequence[SeedGroup], path: Path, *, metric: str, marks: Sequence[float] = ()) -> None:
    """A PNG: a row a group, a dot a run, a bar at their mean.

    Args:
        metric: what the values are, on the axis.
        marks: values with a dashed line through all rows, such as chance.
    """
    figure = Figure(figsize=(6, 0.9 + ROW_INCHES * len(groups)), layout="constrained")
    axes = figure.subplots()
    for row, group in enumerate(groups):
        values = sorted(group.values.values())
        # Equal runs would hide one another, so the dots of a row lie a little apart.
        heights = [row + 0.4 * ((place + 0.5) / len(values) - 0.5) for place in range(len(values))]
        axes.plot(values, heights, "o", color="C0", markersize=4, alpha=0.7, clip_on=False)
        axes.plot([group.mean] * 2, [row - 0.35, row + 0.35], color="C1", linewidth=2, clip_on=False)
    for mark in marks:
        axes.axvline(mark, color="grey", linestyle="--", linewidth=0.8, zorder=0)
    axes.set(xlim=(0, 1), ylim=(len(groups) - 0.5, -0.5), xlabel=f"{metric}: a dot a seed, a bar at their mean")
    axes.set_yticks(range(len(groups)), [group.name for group in groups])
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.grid(axis="x", alpha=0.3)
    with whole_file(path) as part:
        figure.savefig(part, dpi=100, format="png")
