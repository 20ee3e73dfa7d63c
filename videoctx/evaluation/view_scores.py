"""The scores of a run's views, in arrays, and the scores of its videos: averages over views."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from videoctx.batch import slices

Average = Literal["probabilities", "logits"]
VIDEOS_AT_ONCE = 100  # in double precision: 30 views of 400 classes are 0.1 MB a video


@dataclass(frozen=True)
class ViewScores:
    """S views of V videos, ordered by video, clip and crop. A failed video has none."""

    class_names: list[str]
    clip_placement: str | None  # where in a video the clips start; none: not known
    paths: list[str]  # V
    failures: list[str | None]  # V: why a video could not be read
    views_expected: np.ndarray  # (V,) int64
    labels: np.ndarray  # (V,) int64 class index, -1: not given; or (V, K) bool, where a video may have several
    video: np.ndarray  # (S,) int64: the position, 0 … V-1, of each view's video
    clip: np.ndarray  # (S,) int64
    crop: np.ndarray  # (S,) int64
    scores: np.ndarray  # (S, K) float16: logarithms of probabilities, or logits for a sigmoid

    @property
    def multi_label(self) -> bool:
        return self.labels.ndim == 2

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Clips and crops of every video; (0, 0) where all have failed."""
        return len(np.unique(self.clip)), len(np.unique(self.crop))

    @property
    def failed(self) -> np.ndarray:
        """(V,) bool: could not be read."""
        return np.array([failure is not None for failure in self.failures], dtype=bool)

    @cached_property
    def finite(self) -> np.ndarray:
        """(S,) bool: the network gave numbers; minus infinity is the logarithm of 0."""
        return np.isfinite(self.scores.max(axis=1))

    def keep(self, views: np.ndarray, *, views_expected: int) -> "ViewScores":
        """The same videos with some of their views, (S,) bool."""
        return replace(
            self,
            views_expected=np.full(len(self.paths), views_expected),
            video=self.video[views],
            clip=self.clip[views],
            crop=self.crop[views],
            scores=self.scores[views],
        )

    def averages(self, average: Average = "probabilities") -> np.ndarray:
        """(V, K) float64 probabilities of each video: the mean of its views', or made of the mean of their logits.

        NaN for a video without views, or one of whose views got no numbers from the network.
        """
        probable = sigmoid if self.multi_label else softmax
        means = np.full((len(self.paths), self.scores.shape[1]), np.nan)
        # where each video's views begin, and where the last one's end
        firsts = np.flatnonzero(np.diff(self.video, prepend=-1, append=-1))
        for block in slices(len(firsts) - 1, VIDEOS_AT_ONCE):
            bounds = firsts[block.start : block.stop + 1]
            views = slice(bounds[0], bounds[-1])
            scores = self.scores[views].astype(np.float64)
            scores[~self.finite[views]] = np.nan
            if average == "probabilities":
                scores = probable(scores)
            sums = np.add.reduceat(scores, bounds[:-1] - bounds[0])
            means[self.video[bounds[:-1]]] = sums / np.diff(bounds)[:, None]
        return means if average == "probabilities" else probable(means)


def average_views(scores: Tensor, video: Tensor, num_videos: int) -> tuple[Tensor, Tensor]:
    """Return the mean of each video's views (Non-local, section 5.1), and how many views each video has.

    This is what validation uses: it runs on the device of the scores and waits for nothing. `ViewScores.averages`
    gives the same but for the order of its sums, which results that are already published depend on.

    Args:
        scores: (S, K) of each view.
        video: (S,) int64, the position of each view's video, 0 … V-1.
        num_videos: V.

    Returns:
        (V, K) float64, zero for a video without views; (V,) int64.

    Example:
        >>> average_views(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1]), 2)
        (tensor([[0.0000, 0.0000],
                [0.5000, 0.5000]], dtype=torch.float64), tensor([0, 2]))
    """
    sums = scores.new_zeros(num_videos, scores.shape[1], dtype=torch.float64).index_add_(0, video, scores.double())
    num_views = torch.bincount(video, minlength=num_videos)  # (V,)
    return sums / num_views.clamp(min=1)[:, None], num_views


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -scores))
