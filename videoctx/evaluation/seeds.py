"""Results of networks that were trained from several seeds, with intervals over seeds and videos.

Other seeds and other videos would both give other numbers. The intervals cover both: videos and, independently of them,
runs are sampled with replacement (Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1). With few
seeds, such as three, the part of the interval that comes from them is too narrow.
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
    """Runs that differ only in their seed.

    Args:
        name: of the network.
        num_parameters: of the network.
        values: seed → the metric, in [0, 1].
        folders: of the tested runs.
    """

    name: str
    num_parameters: int
    values: dict[int, float]
    folders: tuple[Path, ...]

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return mean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds, with n - 1. None for a single run."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


class SeedIntervals(NamedTuple):
    """The mean of a group, and its difference from the baseline."""

    mean: Estimate
    gain: Estimate


def seed_intervals(groups: Sequence[SeedGroup], baseline: SeedGroup, metric: str) -> dict[str, SeedIntervals]:
    """Return for each group, by its name, the mean over seeds and its difference from the baseline's mean.

    Args:
        groups: of tested runs over the same videos.
        baseline: one of the groups.
        metric: a metric of `EvaluationResult.metrics`.

    Raises:
        ScoreError: a run has no scores that can be read.
        ValueError: the runs have different videos, or the metric is not computed from scores.
    """
    first = read_run(baseline.folders[0])
    rng = np.random.default_rng(SEED)

    def resamples(group: SeedGroup) -> np.ndarray:
        """Return (R,) means over sampled runs on the sampled videos."""
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
    """Return (R,) values of a run's metric on resampled videos, which are the same for every run."""
    view_scores = read_run(folder)
    check_same_videos(first, view_scores)
    order = order_of_videos(first, view_scores)
    result = EvaluationResult(view_scores)
    parts = [result.metrics(weights[:, order]) for weights in resampled(len(order))]
    if metric not in parts[0]:
        raise ValueError(f"{metric} is not computed from scores; expected one of {', '.join(parts[0])}")
    return np.concatenate([part[metric] for part in parts])


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
    with atomic_write(path) as part:
        figure.savefig(part, dpi=100, format="png")
