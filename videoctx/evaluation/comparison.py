"""Two runs on the same videos: is one better, or was it luck?"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from videoctx.evaluation.bootstrap import Estimate, estimates
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.metrics import Weights, average_precisions
from videoctx.evaluation.view_scores import ViewScores


class Discordance(NamedTuple):
    """Videos that only one of two runs gets right (McNemar 1947)."""

    only_first: int
    only_second: int

    @property
    def p_value(self) -> float:
        """Of a split at least as uneven, were both equally likely: exact, whatever the number."""
        total = self.only_first + self.only_second
        return float(binomtest(self.only_first, total).pvalue) if total else 1.0


class ClassMove(NamedTuple):
    """Accuracy, or average precision, of a class in both runs."""

    name: str
    videos: int
    first: float
    second: float

    @property
    def gain(self) -> float:
        return self.second - self.first


@dataclass(frozen=True)
class Comparison:
    """The second run against the first; they may differ in their views and in the order of their videos.

    Raises:
        ValueError: they are not of the same videos, labels and classes; it says how they differ.
    """

    first: EvaluationResult
    second: EvaluationResult

    def __post_init__(self) -> None:
        check_same_videos(self.first.stored, self.second.stored)

    @cached_property
    def order(self) -> np.ndarray:
        return order_of_videos(self.first.stored, self.second.stored)

    @cached_property
    def gains(self) -> dict[str, Estimate]:
        """Second minus first for every metric; the bootstrap draws the same videos for both."""

        def metrics(weights: Weights) -> dict[str, np.ndarray]:
            first, second = self.first.metrics(weights), self.second.metrics(weights[:, self.order])
            return {name: second[name] - first[name] for name in first}

        return estimates(metrics, len(self.order))

    @cached_property
    def discordance(self) -> Discordance:
        first, second = self.first.ranks[self.order] == 0, self.second.ranks == 0
        return Discordance(int((first & ~second).sum()), int((second & ~first).sum()))

    def moved_classes(self, most: int = 10) -> list[ClassMove]:
        """The classes whose accuracy or average precision differs most, the greatest difference first."""
        names = self.first.stored.class_names
        videos, first = _class_values(self.first)
        _, second = _class_values(self.second)
        moves = [ClassMove(*values) for values in zip(names, videos.tolist(), first, second, strict=True)]
        moves = [move for move in moves if move.videos and move.gain]
        return sorted(moves, key=lambda move: (-abs(move.gain), move.name))[:most]


def _class_values(evaluation_result: EvaluationResult) -> tuple[np.ndarray, np.ndarray]:
    """How many videos each class has, and its accuracy or average precision; (K,) both."""
    labels, num_classes = evaluation_result.stored.labels, len(evaluation_result.stored.class_names)
    if evaluation_result.stored.multi_label:
        values = average_precisions(evaluation_result.video_scores, labels, np.ones((1, len(labels))))[0]
        return labels.sum(axis=0), np.nan_to_num(values)
    videos = np.bincount(labels, minlength=num_classes)
    right = np.bincount(labels[evaluation_result.ranks == 0], minlength=num_classes)
    return videos, right / np.maximum(videos, 1)


def order_of_videos(first: ViewScores, second: ViewScores) -> np.ndarray:
    """(V,) where the second run's videos are in the first."""
    positions = {key: index for index, key in enumerate(_keys(first))}
    return np.array([positions[key] for key in _keys(second)], dtype=np.int64)


def check_same_videos(first: ViewScores, second: ViewScores) -> None:
    """Raises ValueError, saying how two runs' videos, labels or classes differ."""
    differences = []
    if first.class_names != second.class_names:
        only = _only(first.class_names, second.class_names)
        differences.append(f"other classes: {only or 'the same in another order'}")
    if first.multi_label != second.multi_label:
        several = "first" if first.multi_label else "second"
        differences.append(f"only in the {several} may a video have several labels")
    keys = _keys(first), _keys(second)
    if only := _only(*([path if not count else f"{path} (again)" for path, count in side] for side in keys)):
        differences.append(f"other videos: {only}")
    if not differences:
        labels = dict(zip(keys[1], second.labels, strict=True))
        other = [key[0] for key, label in zip(keys[0], first.labels, strict=True) if np.any(labels[key] != label)]
        if other:
            differences.append(f"other labels: of {len(other)} videos ({_some(other)})")
    if differences:
        raise ValueError(f"the runs are over different manifests: {'; '.join(differences)}")


def _keys(stored: ViewScores) -> list[tuple[str, int]]:
    """A name for every video: its path, and how many rows before it have the same (stretches of one file)."""
    seen: Counter[str] = Counter()
    keys = []
    for path in stored.paths:
        keys.append((path, seen[path]))
        seen[path] += 1
    return keys


def _only(first: list[str], second: list[str]) -> str:
    parts = []
    for name, ours, theirs in (("first", first, set(second)), ("second", second, set(first))):
        if missing := [item for item in ours if item not in theirs]:
            parts.append(f"{len(missing)} only in the {name} ({_some(missing)})")
    return ", ".join(parts)


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
