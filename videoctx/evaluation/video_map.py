"""Mean average precision over videos that may show several classes, while a run goes on."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from videoctx.evaluation.metrics import mean_average_precision
from videoctx.evaluation.view_scores import average_views


class MeanAveragePrecision(NamedTuple):
    """In [0, 1], and what of. A video that could not be read comes last in every class."""

    video_map: float
    num_videos: int
    num_failed: int


class VideoMeanAveragePrecision(Metric):
    """Accumulates views; a video's views come in one update. What it is: `evaluation.metrics.average_precisions`."""

    full_state_update = False
    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("scores", "labels"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, video: Tensor, labels: Tensor, views_expected: Tensor) -> None:  # noqa: ARG002
        """
        Args:
            scores: (S, K) probabilities of each view.
            video: (S,) position of each view's video, 0 … V-1.
            labels: (V, K) bool, which classes a video shows.
            views_expected: as `VideoAccuracy` takes it; (V,).
        """
        averages, num_views = average_views(scores, video, len(labels))
        self.scores.append(averages.where(num_views[:, None] > 0, torch.nan))
        self.labels.append(labels.reshape(len(labels), scores.shape[1]))  # of no video it is (0,)

    def compute(self) -> MeanAveragePrecision:
        scores, labels = (dim_zero_cat(parts).cpu().numpy() for parts in (self.scores, self.labels))
        (value,) = mean_average_precision(scores, labels.astype(bool), np.ones((1, len(labels))))
        return MeanAveragePrecision(float(value), len(labels), int(np.isnan(scores).any(axis=1).sum()))
