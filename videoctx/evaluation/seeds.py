"""Results of networks that were trained from several seeds, with intervals over seeds and videos.

Other seeds and other videos would both give other numbers. The intervals cover both: videos and, independently of them,
runs are sampled with replacement (Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1). With few
seeds, such as three, the part of the interval that comes from them is too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np

from videoctx.evaluation.bootstrap import SEED, Estimate, estimate, resampled
from videoctx.evaluation.comparison import check_same_videos, order_of_videos
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.scores import read_run
from videoctx.evaluation.view_scores import ViewScores


@dataclass(frozen=True, slots=True)
class SeedGroup:
    """Runs that differ only in their seed.

    Args:
        name: of the network.
        num_parameters: of the network.
        values: seed → the metric, in [0, 1].
        folders: of the tested runs.
        trainings: the folders of the trainings that were tested, by their seed.
        num_failed: videos that could not be evaluated and count as incorrect, over all runs.
    """

    name: str
    num_parameters: int
    values: dict[int, float]
    folders: tuple[Path, ...]
    trainings: dict[int, Path] = field(default_factory=dict)
    num_failed: int = 0

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return mean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds, with n - 1. None for a single run."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


class ClassGain(NamedTuple):
    """The mean accuracy of one class over the runs of a baseline and of a group.

    Args:
        name: of the class.
        num_videos: of the class.
        baseline: the mean over the baseline's runs.
        mean: the mean over the group's runs.
        gain: the second minus the first, with its interval over seeds and videos.
    """

    name: str
    num_videos: int
    baseline: float
    mean: float
    gain: Estimate


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

    def resamples(group: SeedGroup, stream: int) -> np.ndarray:
        """Return (R,) means over sampled runs on the sampled videos, which do not depend on the other groups."""
        runs = np.stack([_on_resamples(folder, metric, first) for folder in group.folders])
        sampled = np.random.default_rng([SEED, stream]).integers(len(runs), size=runs.shape)
        return np.take_along_axis(runs, sampled, axis=0).mean(axis=0)

    of_baseline = resamples(baseline, 0)
    found = {}
    for group in groups:
        of_group = of_baseline if group is baseline else resamples(group, 1)
        found[group.name] = SeedIntervals(
            estimate(metric, group.mean, of_group, bounds=(0, 1)),
            estimate(metric, group.mean - baseline.mean, of_group - of_baseline),
        )
    return found


def class_gains(group: SeedGroup, baseline: SeedGroup) -> list[ClassGain]:
    """Return the difference in each class's accuracy, the greatest first. Classes without test videos are left out.

    Args:
        group: of tested runs over the same videos as the baseline's.

    Raises:
        ScoreError: a run has no scores that can be read.
        ValueError: the runs have different videos, or a video may have several labels.
    """
    first = read_run(baseline.folders[0])
    if first.multi_label:
        raise ValueError("videos have several labels, so classes have no accuracy; expected one label per video")
    labels = np.eye(len(first.class_names))[first.labels]  # (V, K)
    rng = np.random.default_rng(SEED)
    parts = [_correct_videos(one, first) for one in (baseline, group)]  # (S, V) each
    means = [correct.mean(axis=0) @ labels / np.maximum(labels.sum(axis=0), 1) for correct in parts]
    resamples = []  # of the gain, (r, K) each
    for weights in resampled(len(labels)):
        with np.errstate(invalid="ignore"):  # a class of which no video was sampled has no accuracy
            by_run = [np.einsum("rv,sv,vk->rsk", weights, correct, labels, optimize=True) for correct in parts]
            sampled = [np.stack([_mean_of_sampled(one, rng) for one in runs]) for runs in by_run]
            resamples.append((sampled[1] - sampled[0]) / (weights @ labels))
    gains = np.concatenate(resamples)  # (R, K)
    found = [
        ClassGain(name, int(count), before, after, estimate("recall", after - before, gains[:, index]))
        for index, (name, count, before, after) in enumerate(
            zip(first.class_names, labels.sum(axis=0), *(mean.tolist() for mean in means), strict=True)
        )
        if count
    ]
    return sorted(found, key=lambda one: (-abs(one.gain.value), one.name))


def classes_without_videos(group: SeedGroup) -> list[str]:
    """Return the classes of which no video was tested.

    Raises:
        ScoreError: the group's first run has no scores that can be read.
    """
    first = read_run(group.folders[0])
    tested = set(first.labels.tolist())
    return [name for index, name in enumerate(first.class_names) if index not in tested]


def _mean_of_sampled(runs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the mean (K,) of runs (S, K) that are sampled with replacement."""
    return runs[rng.integers(len(runs), size=len(runs))].mean(axis=0)


def _correct_videos(group: SeedGroup, first: ViewScores) -> np.ndarray:
    """Return (S, V) float64: whether each run predicts each video of the first run correctly."""
    found = []
    for folder in group.folders:
        view_scores = read_run(folder)
        check_same_videos(first, view_scores)
        correct = np.empty(len(first.paths))
        correct[order_of_videos(first, view_scores)] = EvaluationResult(view_scores).ranks == 0
        found.append(correct)
    return np.stack(found)


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
