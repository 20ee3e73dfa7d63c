"""What a run is worth: every number of a test, made of the scores that it has written."""

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from videoctx.atomic_write import atomic_write
from videoctx.evaluation.bootstrap import Estimate, estimates
from videoctx.evaluation.metrics import (
    Weights,
    average_precisions,
    calibration_error,
    confusion,
    label_ranks,
    mean_average_precision,
    mean_class_accuracy,
    share,
)
from videoctx.evaluation.view_scores import Average, ViewScores

Level = Literal["clip", "video"]
VIEWS_AT_ONCE = 10_000  # in single precision, in which comparing is faster than in half


@dataclass(frozen=True)
class EvaluationResult:
    """The scores of a run's views, and what follows from them.

    `clip_top1` and `clip_top5` evaluate every view for itself; a video that could not be read is wrong with all the views
    it should have given.
    """

    stored: ViewScores
    average: Average = "probabilities"

    @cached_property
    def video_scores(self) -> np.ndarray:
        """(V, K) probabilities; NaN where there are none."""
        return self.stored.averages(self.average)

    @cached_property
    def ranks(self) -> np.ndarray:
        """(V,) how many classes are ahead of the right one."""
        return label_ranks(self.video_scores, self.stored.labels)

    def metrics(self, weights: Weights) -> dict[str, np.ndarray]:
        """(R,) values of each metric, for R times how often every video counts."""
        stored, scores = self.stored, self.video_scores
        if stored.multi_label:
            return {"video_map": mean_average_precision(scores, stored.labels, weights)}
        ones = np.ones(len(stored.paths))
        correct = self.ranks == 0
        clips = {f"clip_top{most}": share(self._right_views(most), stored.views_expected, weights) for most in (1, 5)}
        return clips | {
            "video_top1": share(correct, ones, weights),
            "video_top5": share(self.ranks < 5, ones, weights),
            "video_mean_class": mean_class_accuracy(correct, stored.labels, weights),
            "video_ece": calibration_error(scores.max(axis=1), correct, weights),
        }

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Every metric with its 95 % interval over videos."""
        return estimates(self.metrics, len(self.stored.paths), bounds=(0, 1))

    def summary(self) -> dict[str, object]:
        """For `results.json`: counts, metrics, and their intervals."""
        found = self.estimates
        stored = self.stored
        num_clips, num_crops = stored.shape
        return {
            **{name: estimate.value for name, estimate in found.items()},
            "intervals_95": {name: list(estimate.interval) for name, estimate in found.items()},
            "num_videos": len(stored.paths),
            "num_views": int(stored.views_expected.sum()),
            "num_failed": int(stored.failed.sum()),
            "num_undecided": self.num_undecided,
            "views": [num_clips, num_crops],
            "average": self.average,
        }

    def described(self) -> str:
        """In a line, for people."""
        stored = self.stored
        counts = f"{len(stored.paths)} videos, {stored.views_expected.sum()} views, {stored.failed.sum()} failed"
        if self.num_undecided:
            counts += f", {self.num_undecided} without numbers from the network"
        said = {"clip_top1": "clip top-1", "video_top1": "video top-1", "video_top5": "top-5"}
        said = {"video_map": "mAP"} if stored.multi_label else said
        return f"{counts}: " + ", ".join(f"{word} {percent(self.estimates[name])}" for name, word in said.items())

    @property
    def num_undecided(self) -> int:
        """Videos for which the network gave no numbers; they are wrong."""
        return int((np.isnan(self.video_scores.max(axis=1)) & ~self.stored.failed).sum())

    def write_classes(self, path: Path) -> None:
        """A CSV row a class: its videos, how many are right, and the share of them; or its average precision."""
        stored = self.stored
        if stored.multi_label:
            header, counts = ("class", "videos", "average_precision"), stored.labels.sum(axis=0)
            precisions = average_precisions(self.video_scores, stored.labels, np.ones((1, len(stored.paths))))[0]
            rows = [(int(n), f"{value:.6f}" if n else "") for n, value in zip(counts, precisions, strict=True)]
        else:
            header, counts = ("class", "videos", "right", "accuracy"), confusion(self.video_scores, stored.labels)
            rows = [
                (int(row.sum()), int(row[index]), f"{row[index] / row.sum():.6f}" if row.sum() else "")
                for index, row in enumerate(counts)
            ]
        _write_rows(path, header, [(name, *row) for name, row in zip(stored.class_names, rows, strict=True)])

    def write_confusion(self, path: Path) -> None:
        """A CSV row for each pair of classes that occurs: what it is, what it was taken for, and how often."""
        counts = confusion(self.video_scores, self.stored.labels)
        names = [*self.stored.class_names, ""]  # no answer
        rows = [(names[i], names[j], int(counts[i, j])) for i, j in np.argwhere(counts)]
        _write_rows(path, ("label", "answer", "videos"), sorted(rows, key=lambda row: (-row[2], row[0], row[1])))

    def _right_views(self, most: int) -> np.ndarray:
        """(V,) how many of each video's views have the right class among their `most` best."""
        right = self._view_ranks < most
        return np.bincount(self.stored.video[right], minlength=len(self.stored.paths))

    @cached_property
    def _view_ranks(self) -> np.ndarray:
        """(S,) like `ranks`, of single views."""
        stored = self.stored
        labels = np.where(stored.finite, stored.labels[stored.video], -1)
        parts = [slice(start, start + VIEWS_AT_ONCE) for start in range(0, len(labels), VIEWS_AT_ONCE)]
        ranks = [label_ranks(stored.scores[part].astype(np.float32), labels[part]) for part in parts]
        return np.concatenate([np.zeros(0, dtype=np.int64), *ranks])


def percent(estimate: Estimate) -> str:
    """`74.21% (73.60 – 74.80)`."""
    return f"{estimate.value:.2%} ({100 * estimate.interval.low:.2f} – {100 * estimate.interval.high:.2f})"


def _write_rows(path: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
