"""Mean average precision during validation, over videos that may have several labels."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from videoctx.evaluation.metrics import mean_average_precision
from videoctx.evaluation.view_scores import average_views


class MeanAveragePrecision(NamedTuple):
    """The mean average precision in [0, 1], and how many videos it is of.

    A video that could not be read comes last in the order of every class.
    """

    video_map: float
    num_videos: int
    num_failed: int


class VideoMeanAveragePrecision(Metric):
    """Mean average precision of videos. All views of a video must come in one update.

    It is computed by `videoctx.evaluation.metrics.mean_average_precision`, as in a test.
    """

    full_state_update = False
    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("scores", "labels"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, video: Tensor, labels: Tensor, views_expected: Tensor) -> None:  # noqa: ARG002
        """Add the views of some videos.

        Args:
            scores: (S, K) probabilities of each view.
            video: (S,) position of each view's video, 0 … V-1.
            labels: (V, K) bool, which classes each video shows.
            views_expected: (V,), not used; `VideoAccuracy` has the same arguments.
        """
        averages, num_views = average_views(scores, video, len(labels))
        self.scores.append(averages.where(num_views[:, None] > 0, torch.nan))
        self.labels.append(labels.reshape(len(labels), scores.shape[1]))  # without videos it is (0,)

    def compute(self) -> MeanAveragePrecision:
        """Return the mean average precision over all updates and ranks."""
        scores, labels = (dim_zero_cat(parts).cpu().numpy() for parts in (self.scores, self.labels))
        (value,) = mean_average_precision(scores, labels.astype(bool), np.ones((1, len(labels))))
        return MeanAveragePrecision(float(value), len(labels), int(np.isnan(scores).any(axis=1).sum()))
