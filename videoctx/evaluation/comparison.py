"""Two runs on the same videos: is one better, or was it luck?"""

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
        check_same_videos(self.first.view_scores, self.second.view_scores)

    @cached_property
    def order(self) -> np.ndarray:
        return order_of_videos(self.first.view_scores, self.second.view_scores)

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
        pairs = zip(self.first.per_class, self.second.per_class, strict=True)
        moves = [
            ClassMove(first.name, first.num_videos, first.value, second.value)
            for first, second in pairs
            if first.value is not None and second.value is not None and first.value != second.value
        ]
        return sorted(moves, key=lambda move: (-abs(move.gain), move.name))[:most]


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
            differences.append(f"other labels: of {len(other)} videos ({first_few(other)})")
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
            parts.append(f"{len(missing)} only in the {name} ({first_few(missing)})")
    return ", ".join(parts)
