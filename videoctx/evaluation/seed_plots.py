"""Plots of networks that were trained from several seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from videoctx.atomic_write import atomic_write
from videoctx.evaluation.learning_curves import LearningCurves
from videoctx.evaluation.seeds import SeedGroup, SeedIntervals

ROW_INCHES = 0.32


@rc_context({"text.parse_math": False})  # a name may have dollar signs
def draw_seeds(groups: Sequence[SeedGroup], path: Path, *, metric: str, marks: Sequence[float] = ()) -> None:
    """Draw a PNG with one row per group, one dot per run and a bar at their mean.

    Args:
        groups: from top to bottom.
        path: the file to write.
        metric: the title of the axis.
        marks: values to mark with a dashed line through all rows, such as chance.
    """
    figure = Figure(figsize=(6, 0.9 + ROW_INCHES * len(groups)), layout="constrained")
    axes = figure.subplots()
    for row, group in enumerate(groups):
        values = sorted(group.values.values())
        # Spread the dots of a row a little, so that equal runs do not hide each other.
        heights = [row + 0.4 * ((place + 0.5) / len(values) - 0.5) for place in range(len(values))]
        axes.plot(values, heights, "o", color="C0", markersize=4, alpha=0.7, clip_on=False)
        axes.plot([group.mean] * 2, [row - 0.35, row + 0.35], color="C1", linewidth=2, clip_on=False)
    for mark in marks:
        axes.axvline(mark, color="gray", linestyle="--", linewidth=0.8, zorder=0)
    axes.set(xlim=(0, 1), ylim=(len(groups) - 0.5, -0.5), xlabel=f"{metric}: one dot per seed, a bar at their mean")
    axes.set_yticks(range(len(groups)), [group.name for group in groups])
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


@rc_context({"text.parse_math": False})  # a name may have dollar signs
def draw_gains(found: Mapping[str, SeedIntervals], path: Path, *, baseline: str, metric: str) -> None:
    """Draw a PNG with one row per network: its difference from the baseline in points, and the 95 % interval.

    Args:
        found: by the name of the network, from top to bottom. The baseline has no row.
        path: the file to write.
        baseline: the name of the network that the others are compared with.
        metric: the title of the axis.
    """
    gains = {name: intervals.gain for name, intervals in found.items() if name != baseline}
    figure = Figure(figsize=(6, 0.9 + ROW_INCHES * len(gains)), layout="constrained")
    axes = figure.subplots()
    for row, gain in enumerate(gains.values()):
        axes.plot([100 * end for end in gain.interval], [row, row], color="C0", linewidth=2)
        axes.plot(100 * gain.value, row, "o", color="C0", markersize=5)
    axes.axvline(0, color="gray", linewidth=0.8, zorder=0)
    label = f"{metric}: points over {baseline}, 95 % intervals"
    axes.set(ylim=(len(gains) - 0.5, -0.5), xlabel=label)
    axes.set_yticks(range(len(gains)), list(gains))
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


@rc_context({"text.parse_math": False})  # a name may have dollar signs
def draw_learning_curves(curves: Mapping[str, LearningCurves], path: Path, *, metric: str) -> None:
    """Draw a PNG with a line per network, its mean over seeds by epoch, in a band of one standard deviation.

    Args:
        curves: by the name of the network.
        path: the file to write.
        metric: the title of the axis.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, found in curves.items():
        epochs, mean = np.array(found.epochs) + 1, found.mean
        label = f" {name} ({len(found.values)})"  # matplotlib hides one that begins with _
        (line,) = axes.plot(epochs, mean, marker="o", markersize=3, linewidth=1.5, label=label)
        if len(found.values) > 1:
            deviation = found.deviation
            axes.fill_between(epochs, mean - deviation, mean + deviation, color=line.get_color(), alpha=0.12, lw=0)
    axes.set(xlabel="epoch", ylabel=f"{metric}, mean ± deviation over seeds")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.grid(alpha=0.3)
    axes.legend(title="network (runs)", loc="best", fontsize=8)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as part:
        figure.savefig(part, dpi=100, format="png")
