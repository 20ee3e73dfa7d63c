"""One network trained from several seeds: how good it is, how far luck moves it, and whether another is better.

Other seeds and other videos would both have given other numbers. The intervals hold both: as many videos and, apart
from them, as many runs are drawn with replacement (Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics
1). Three seeds say little of others: the interval is then too narrow in what comes of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from videoctx.atomic_write import atomic_write
from videoctx.evaluation.bootstrap import SEED, Estimate, estimate, resampled
from videoctx.evaluation.comparison import check_same_videos, order_of_videos
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.scores import read_run
from videoctx.evaluation.view_scores import ViewScores

ROW_INCHES = 0.32


@dataclass(frozen=True, slots=True)
class SeedGroup:
    """Runs that differ only in their seed."""

    name: str
    num_parameters: int
    values: dict[int, float]  # the metric, in [0, 1], by seed
    folders: tuple[Path, ...]  # of the tested runs

    @property
    def mean(self) -> float:
        return mean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds, with n - 1; none for a single run, of which nothing is known."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


class SeedIntervals(NamedTuple):
    """Of a group, and of what it is better by than the baseline."""

    mean: Estimate
    gain: Estimate


def seed_intervals(groups: Sequence[SeedGroup], baseline: SeedGroup, metric: str) -> dict[str, SeedIntervals]:
    """Mean over seeds, and its difference from the baseline's, both with 95 % intervals, by the groups' names.

    Raises:
        ScoreError: a run has no scores that can be read.
        ValueError: the runs are not of the same videos, or the metric does not follow from scores.
    """
    first = read_run(baseline.folders[0])
    rng = np.random.default_rng(SEED)

    def resamples(group: SeedGroup) -> np.ndarray:
        """(R,) means over runs that are drawn, on the videos that are drawn."""
        runs = np.stack([_on_resamples(folder, metric, first) for folder in group.folders])
        return np.take_along_axis(runs, rng.integers(len(runs), size=runs.shape), axis=0).mean(axis=0)

    of_baseline = resamples(baseline)
    found = {}
    for group in groups:
        of_group = of_baseline if group is baseline else resamples(group)
        found[group.name] = SeedIntervals(
            estimate(metric, group.mean, of_group, bounds=(0, 1)),
            estimate(metric, group.mean - baseline.mean, of_group - of_baseline),
        )
    return found


def _on_resamples(folder: Path, metric: str, first: ViewScores) -> np.ndarray:
    """(R,) a run's metric; the videos that are drawn are the same for every run."""
    stored = read_run(folder)
    check_same_videos(first, stored)
    order = order_of_videos(first, stored)
    evaluation_result = EvaluationResult(stored)
    parts = [evaluation_result.metrics(weights[:, order]) for weights in resampled(len(order))]
    if metric not in parts[0]:
        raise ValueError(f"{metric} does not follow from scores; expected one of {', '.join(parts[0])}")
    return np.concatenate([part[metric] for part in parts])


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
        axes.axvline(mark, color="gray", linestyle="--", linewidth=0.8, zorder=0)
    axes.set(xlim=(0, 1), ylim=(len(groups) - 0.5, -0.5), xlabel=f"{metric}: a dot a seed, a bar at their mean")
    axes.set_yticks(range(len(groups)), [group.name for group in groups])
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.grid(axis="x", alpha=0.3)
    with atomic_write(path) as part:
        figure.savefig(part, dpi=100, format="png")
