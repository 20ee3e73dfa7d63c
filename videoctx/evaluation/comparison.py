"""Compares two runs on the same videos: is one better, or is the difference within chance?"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from videoctx.evaluation.bootstrap import Estimate, estimates
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.metrics import Weights
from videoctx.evaluation.view_scores import ViewScores
from videoctx.first_few import first_few


class McNemar(NamedTuple):
    """McNemar's test (1947): the numbers of videos that only one of two runs predicts correctly.

    Example:
        >>> round(McNemar(only_first=2, only_second=10).p_value, 4)
        0.0386
    """

    only_first: int
    only_second: int

    @property
    def p_value(self) -> float:
        """The exact probability of numbers at least as unequal, if both runs were equally good."""
        total = self.only_first + self.only_second
        return float(binomtest(self.only_first, total).pvalue) if total else 1.0


class ClassDifference(NamedTuple):
    """The accuracy, or the average precision, of one class in both runs."""

    name: str
    num_videos: int
    first: float
    second: float

    @property
    def gain(self) -> float:
        """Second minus first."""
        return self.second - self.first


@dataclass(frozen=True)
class Comparison:
    """The second run compared with the first. The runs may differ in their views and in the order of their videos.

    Raises:
        ValueError: the runs have different videos, labels or classes; the message names the differences.
    """

    first: EvaluationResult
    second: EvaluationResult

    def __post_init__(self) -> None:
        check_same_videos(self.first.view_scores, self.second.view_scores)

    @cached_property
    def order(self) -> np.ndarray:
        """(V,) int64: the position in the first run of each video of the second run."""
        return order_of_videos(self.first.view_scores, self.second.view_scores)

    @cached_property
    def gains(self) -> dict[str, Estimate]:
        """Second minus first for every metric. The bootstrap samples the same videos for both runs."""

        def metrics(weights: Weights) -> dict[str, np.ndarray]:
            first, second = self.first.metrics(weights), self.second.metrics(weights[:, self.order])
            return {name: second[name] - first[name] for name in first}

        return estimates(metrics, len(self.order))

    @cached_property
    def mcnemar(self) -> McNemar:
        """McNemar's test of video top-1; only where a video has one label."""
        first, second = self.first.ranks[self.order] == 0, self.second.ranks == 0
        return McNemar(int((first & ~second).sum()), int((second & ~first).sum()))

    def class_differences(self, most: int = 10) -> list[ClassDifference]:
        """Return the classes whose accuracy or average precision differs, the greatest difference first."""
        pairs = zip(self.first.per_class, self.second.per_class, strict=True)
        differences = [
            ClassDifference(first.name, first.num_videos, first.value, second.value)
            for first, second in pairs
            if first.value is not None and second.value is not None and first.value != second.value
        ]
        return sorted(differences, key=lambda one: (-abs(one.gain), one.name))[:most]


def order_of_videos(first: ViewScores, second: ViewScores) -> np.ndarray:
    """Return the position in the first run of each video of the second run, (V,) int64."""
    positions = {key: index for index, key in enumerate(_keys(first))}
    return np.array([positions[key] for key in _keys(second)], dtype=np.int64)


def check_same_videos(first: ViewScores, second: ViewScores) -> None:
    """Check that two runs have the same videos, labels and classes.

    Raises:
        ValueError: they do not; the message names the differences.
    """
    differences = []
    if first.class_names != second.class_names:
        only = _only_in_one(first.class_names, second.class_names)
        differences.append(f"other classes: {only or 'the same in another order'}")
    if first.multi_label != second.multi_label:
        several = "first" if first.multi_label else "second"
        differences.append(f"only in the {several} may a video have several labels")
    first_keys, second_keys = _keys(first), _keys(second)
    if only := _only_in_one(_names(first_keys), _names(second_keys)):
        differences.append(f"other videos: {only}")
    if not differences:
        labels = dict(zip(second_keys, second.labels, strict=True))
        other = [key[0] for key, label in zip(first_keys, first.labels, strict=True) if np.any(labels[key] != label)]
        if other:
            differences.append(f"other labels: of {len(other)} videos ({first_few(other)})")
    if differences:
        raise ValueError(f"the runs are over different manifests: {'; '.join(differences)}")


def _keys(view_scores: ViewScores) -> list[tuple[str, int]]:
    """Return a key per video: its path, and how many rows before it have the same path (segments of one file)."""
    counts: Counter[str] = Counter()
    keys = []
    for path in view_scores.paths:
        keys.append((path, counts[path]))
        counts[path] += 1
    return keys


def _names(keys: list[tuple[str, int]]) -> list[str]:
    return [path if not count else f"{path} (again)" for path, count in keys]


def _only_in_one(first: list[str], second: list[str]) -> str:
    parts = []
    for name, ours, theirs in (("first", first, set(second)), ("second", second, set(first))):
        if missing := [item for item in ours if item not in theirs]:
            parts.append(f"{len(missing)} only in the {name} ({first_few(missing)})")
    return ", ".join(parts)
