"""Clip and video accuracy from the scores of views.

A video's scores are the mean of its views' probabilities (Non-local, section 5.1). Counts are integers summed
over ranks, so any number of ranks gives the same accuracy to the last digit.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from videoctx.evaluation.ranking import UNRANKED, label_ranks
from videoctx.evaluation.view_scores import average_views


class Accuracy(NamedTuple):
    """Shares in [0, 1], and what they are shares of. A video that could not be read is wrong, and so are its clips."""

    clip_top1: float
    video_top1: float
    video_top5: float
    num_videos: int
    num_views: int
    num_failed: int


class VideoAccuracy(Metric):
    """Accumulates views; a video's views come in one update."""

    full_state_update = False
    clip_correct: Tensor
    video_correct1: Tensor
    video_correct5: Tensor
    num_videos: Tensor
    num_views: Tensor
    num_failed: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in (
            "clip_correct",
            "video_correct1",
            "video_correct5",
            "num_videos",
            "num_views",
            "num_failed",
        ):
            self.add_state(name, torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Tensor, video: Tensor, labels: Tensor, views_expected: Tensor) -> None:
        """
        Args:
            scores: (S, K) probabilities of each view.
            video: (S,) position of each view's video, 0 … V-1.
            labels: (V,) class index of each video.
            views_expected: (V,) how many views each video should have; one without any has failed.
        """
        averages, num_views = average_views(scores, video, len(labels))
        ranks = label_ranks(averages, labels).where(num_views > 0, UNRANKED)
        self.clip_correct += (label_ranks(scores, labels[video]) == 0).sum()
        self.video_correct1 += (ranks == 0).sum()
        self.video_correct5 += (ranks < 5).sum()
        self.num_videos += len(labels)
        self.num_views += views_expected.sum()
        self.num_failed += (num_views == 0).sum()

    def compute(self) -> Accuracy:
        videos, views = max(int(self.num_videos), 1), max(int(self.num_views), 1)
        return Accuracy(
            clip_top1=int(self.clip_correct) / views,
            video_top1=int(self.video_correct1) / videos,
            video_top5=int(self.video_correct5) / videos,
            num_videos=int(self.num_videos),
            num_views=int(self.num_views),
            num_failed=int(self.num_failed),
        )
