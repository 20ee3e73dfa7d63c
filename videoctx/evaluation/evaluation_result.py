"""EvaluationResult: every number of a test, computed from the stored scores of its views."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from videoctx.batch import slices
from videoctx.evaluation.bootstrap import Estimate, estimates
from videoctx.evaluation.choices import Average
from videoctx.evaluation.metrics import (
    Weights,
    area_under_roc,
    average_precisions,
    calibration_error,
    confusion,
    mean_average_precision,
    mean_class_accuracy,
    share,
)
from videoctx.evaluation.ranking import label_ranks
from videoctx.evaluation.view_scores import ViewScores

VIEWS_AT_ONCE = 10_000  # in single precision, in which comparing is faster than in half


class ClassResult(NamedTuple):
    """The result of one class.

    Args:
        name: of the class.
        num_videos: how many videos show it.
        num_correct: how many of them were predicted correctly. None where a video may have several labels.
        value: the share of correct videos (recall), or the average precision where a video may have several labels.
            None where no video shows the class.
        num_predicted: how many videos were predicted as the class. None where a video may have several labels.
        precision: the share of them that show the class. None where no video was predicted as the class.
        f1: the harmonic mean of precision and recall, 2 · correct / (videos + predicted). None where both are 0.
    """

    name: str
    num_videos: int
    num_correct: int | None
    value: float | None
    num_predicted: int | None = None
    precision: float | None = None
    f1: float | None = None


@dataclass(frozen=True)
class EvaluationResult:
    """The metrics of a test, computed from the scores of its views.

    `clip_top1` and `clip_top5` evaluate every view by itself. With five classes or fewer there is no top-5, which would
    always be 100 %. With two classes there is the area under the ROC curve, `video_auc`.

    A video that could not be read, or for which the network returned NaN, counts as incorrect with all the views that
    it should have. In the area under the ROC curve it ranks last among the videos of its class.

    Args:
        view_scores: the scores of all views, as `videoctx.evaluation.scores.read_scores` returns them.
        average: what is averaged over the views of a video.

    Example:
        >>> scores = np.log([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]).astype(np.float16)
        >>> result = EvaluationResult(
        ...     ViewScores(
        ...         class_names=["run", "jump"],
        ...         clip_placement=None,
        ...         paths=["a.mp4", "b.mp4"],
        ...         failures=[None, None],
        ...         views_expected=np.array([2, 1]),
        ...         labels=np.array([0, 0]),
        ...         video=np.array([0, 0, 1]),
        ...         clip=np.array([0, 1, 0]),
        ...         crop=np.array([0, 0, 0]),
        ...         scores=scores,
        ...     )
        ... )
        >>> result.video_scores.round(2)
        array([[0.55, 0.45],
               [0.1 , 0.9 ]])
        >>> {name: round(estimate.value, 3) for name, estimate in result.estimates.items() if "top1" in name}
        {'clip_top1': 0.333, 'video_top1': 0.5}
        >>> [(one.name, one.num_videos, one.value, one.precision) for one in result.per_class]
        [('run', 2, 0.5, 1.0), ('jump', 0, None, 0.0)]
    """

    view_scores: ViewScores
    average: Average = "probabilities"

    @cached_property
    def video_scores(self) -> np.ndarray:
        """(V, K) float64 probabilities of each video. NaN where a video has no scores."""
        return self.view_scores.averages(self.average)

    @cached_property
    def ranks(self) -> np.ndarray:
        """(V,) int64: how many classes have a better score than the label of the video."""
        return label_ranks(torch.from_numpy(self.video_scores), torch.from_numpy(self.view_scores.labels)).numpy()

    @cached_property
    def confusion(self) -> np.ndarray:
        """(K, K + 1) int64: how many videos of class i were predicted as class j; column K: no prediction."""
        return confusion(self.video_scores, self.view_scores.labels)

    @cached_property
    def per_class(self) -> list[ClassResult]:
        """The K results of the classes, in the order of `class_names`."""
        names, labels = self.view_scores.class_names, self.view_scores.labels
        if self.view_scores.multi_label:
            precisions = average_precisions(self.video_scores, labels, np.ones((1, len(labels))))[0].tolist()
            counts = labels.sum(axis=0).tolist()
            return [
                ClassResult(name, count, None, precision if count else None)
                for name, count, precision in zip(names, counts, precisions, strict=True)
            ]
        counts, correct = self.confusion.sum(axis=1).tolist(), self.confusion.diagonal().tolist()
        predicted = self.confusion[:, :-1].sum(axis=0).tolist()
        return [
            ClassResult(
                name,
                count,
                hits,
                hits / count if count else None,
                guesses,
                hits / guesses if guesses else None,
                2 * hits / (count + guesses) if count + guesses else None,
            )
            for name, count, hits, guesses in zip(names, counts, correct, predicted, strict=True)
        ]

    @property
    def tops(self) -> tuple[int, ...]:
        """The k of the top-k accuracies."""
        return (1, 5) if len(self.view_scores.class_names) > 5 else (1,)

    def metrics(self, weights: Weights) -> dict[str, np.ndarray]:
        """Return the values (R,) of each metric.

        Args:
            weights: (R, V), R times how often every video counts.
        """
        view_scores, scores = self.view_scores, self.video_scores
        if view_scores.multi_label:
            return {"video_map": mean_average_precision(scores, view_scores.labels, weights)}
        ones = np.ones(len(view_scores.paths))
        correct = self.ranks == 0
        clips = {
            f"clip_top{most}": share(self._num_correct_views(most), view_scores.views_expected, weights)
            for most in self.tops
        }
        videos = {f"video_top{most}": share(self.ranks < most, ones, weights) for most in self.tops}
        found = clips | videos
        found["video_mean_class"] = mean_class_accuracy(correct, view_scores.labels, weights)
        if scores.shape[1] == 2 and {0, 1} <= set(view_scores.labels.tolist()):
            found["video_auc"] = area_under_roc(scores, view_scores.labels, weights)
        found["video_ece"] = calibration_error(scores.max(axis=1), correct, weights)
        return found

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Every metric with its 95 % interval, by a bootstrap over videos."""
        return estimates(self.metrics, len(self.view_scores.paths), bounds=(0, 1))

    @property
    def num_undecided(self) -> int:
        """The number of videos for which the network returned NaN. They count as incorrect."""
        return int((np.isnan(self.video_scores.max(axis=1)) & ~self.view_scores.failed).sum())

    def summary(self) -> dict[str, object]:
        """Return the metrics, their intervals and the counts, as `results.json` holds them."""
        found = self.estimates
        view_scores = self.view_scores
        num_clips, num_crops = view_scores.shape
        return {
            **{name: estimate.value for name, estimate in found.items()},
            "intervals_95": {name: list(estimate.interval) for name, estimate in found.items()},
            "num_videos": len(view_scores.paths),
            "num_views": int(view_scores.views_expected.sum()),
            "num_failed": int(view_scores.failed.sum()),
            "num_undecided": self.num_undecided,
            "views": [num_clips, num_crops],
            "average": self.average,
        }

    def describe(self) -> str:
        """Return the counts and the most important metrics in one line."""
        view_scores = self.view_scores
        line = (
            f"{len(view_scores.paths)} videos, {view_scores.views_expected.sum()} views,"
            f" {view_scores.failed.sum()} failed"
        )
        if self.num_undecided:
            line += f", {self.num_undecided} with NaN from the network"
        shown = {
            "clip_top1": "clip top-1",
            "video_top1": "video top-1",
            "video_top5": "top-5",
            "video_auc": "AUC",
            "video_map": "mAP",
        }
        found = [(title, self.estimates[name]) for name, title in shown.items() if name in self.estimates]
        return f"{line}: " + ", ".join(f"{title} {percent(estimate)}" for title, estimate in found)

    def _num_correct_views(self, most: int) -> np.ndarray:
        """(V,) how many views of each video have the label among their `most` best classes."""
        correct = self._view_ranks < most
        return np.bincount(self.view_scores.video[correct], minlength=len(self.view_scores.paths))

    @cached_property
    def _view_ranks(self) -> np.ndarray:
        """(S,) like `ranks`, of single views."""
        view_scores = self.view_scores
        labels = torch.from_numpy(view_scores.labels[view_scores.video])  # (S,)
        ranks = torch.zeros(len(labels), dtype=torch.int64)
        for part in slices(len(labels), VIEWS_AT_ONCE):
            ranks[part] = label_ranks(torch.from_numpy(view_scores.scores[part].astype(np.float32)), labels[part])
        return ranks.numpy()


def percent(estimate: Estimate) -> str:
    """Return the value with its interval, such as `74.21% (73.60 – 74.80)`."""
    return f"{estimate.value:.2%} ({100 * estimate.interval.low:.2f} – {100 * estimate.interval.high:.2f})"
