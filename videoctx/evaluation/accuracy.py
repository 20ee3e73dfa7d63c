"""Clip and video accuracy during validation, accumulated over batches and ranks.

The scores of a video are the mean of its views' probabilities (Non-local, section 5.1). The states are integer counts
that are summed over ranks, so that any number of ranks gives the same accuracy to the last digit. A test computes the
same accuracies from the stored scores (`videoctx.evaluation.evaluation_result`).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from videoctx.evaluation.ranking import UNRANKED, label_ranks
from videoctx.evaluation.view_scores import average_views


class Accuracy(NamedTuple):
    """Accuracies in [0, 1], and the counts that they are shares of.

    A video that could not be read counts as incorrect, with all its clips. `video_top5` is None with five classes or
    fewer, where it would always be 1.
    """

    clip_top1: float
    video_top1: float
    video_top5: float | None
    num_videos: int
    num_views: int
    num_failed: int


class VideoAccuracy(Metric):
    """Clip and video accuracy of views. All views of a video must come in one update.

    Args:
        num_classes: K.

    Example:
        >>> accuracy = VideoAccuracy(2)
        >>> scores = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
        >>> accuracy.update(
        ...     scores, video=torch.tensor([0, 0, 1]), labels=torch.tensor([0, 0]), views_expected=torch.tensor([2, 1])
        ... )
        >>> accuracy.compute()
        Accuracy(clip_top1=0.3333333333333333, video_top1=0.5, video_top5=None, num_videos=2, num_views=3, num_failed=0)
    """

    full_state_update = False
    clip_correct: Tensor
    video_correct1: Tensor
    video_correct5: Tensor
    num_videos: Tensor
    num_views: Tensor
    num_failed: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        for name in ("clip_correct", "video_correct1", "video_correct5", "num_videos", "num_views", "num_failed"):
            self.add_state(name, torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Tensor, video: Tensor, labels: Tensor, views_expected: Tensor) -> None:
        """Add the views of some videos.

        Args:
            scores: (S, K) probabilities of each view.
            video: (S,) position of each view's video, 0 … V-1.
            labels: (V,) class index of each video.
            views_expected: (V,) how many views each video should have. A video without views has failed.
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
        """Return the accuracies over all updates and ranks."""
        videos, views = max(int(self.num_videos), 1), max(int(self.num_views), 1)
        return Accuracy(
            clip_top1=int(self.clip_correct) / views,
            video_top1=int(self.video_correct1) / videos,
            video_top5=int(self.video_correct5) / videos if self.num_classes > 5 else None,
            num_videos=int(self.num_videos),
            num_views=int(self.num_views),
            num_failed=int(self.num_failed),
        )
