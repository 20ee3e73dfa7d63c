"""The scores of the views of a run as arrays, and their averages per video."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from videoctx.batch import slices
from videoctx.evaluation.choices import Average

NOT_FINITE = "the network gives no finite numbers for it"  # why a video that could be read has no prediction
VIDEOS_AT_ONCE = 100  # in double precision: 30 views of 400 classes are 0.1 MB per video


@dataclass(frozen=True)
class ViewScores:
    """The scores of S views of V videos, ordered by video, clip and crop. A failed video has no views.

    Args:
        class_names: K names.
        clip_placement: where in a video the clips start (`videoctx.evaluation.view_subset`). None: not known.
        paths: V paths.
        failures: for each video why it could not be read. None: it was read.
        views_expected: (V,) int64, how many views each video should have.
        labels: (V,) int64 class index, -1 where it is not known; or (V, K) bool, where a video may have several labels.
        video: (S,) int64, the position of each view's video, 0 … V-1.
        clip: (S,) int64, the number of each view's clip in its video.
        crop: (S,) int64, the number of each view's crop.
        scores: (S, K) float16, logarithms of the probabilities; or logits for a sigmoid, where a video may have several
            labels.
    """

    class_names: list[str]
    clip_placement: str | None
    paths: list[str]
    failures: list[str | None]
    views_expected: np.ndarray
    labels: np.ndarray
    video: np.ndarray
    clip: np.ndarray
    crop: np.ndarray
    scores: np.ndarray

    @property
    def multi_label(self) -> bool:
        """Whether a video may have several labels."""
        return self.labels.ndim == 2

    @cached_property
    def shape(self) -> tuple[int, int]:
        """The number of clips and of crops of every video; (0, 0) where all videos have failed."""
        return len(np.unique(self.clip)), len(np.unique(self.crop))

    @property
    def failed(self) -> np.ndarray:
        """(V,) bool: whether the video could not be read."""
        return np.array([failure is not None for failure in self.failures], dtype=bool)

    @cached_property
    def finite(self) -> np.ndarray:
        """(S,) bool: whether the network returned numbers. Minus infinity is the logarithm of 0, and counts as one."""
        return np.isfinite(self.scores.max(axis=1))

    def keep(self, views: np.ndarray, *, views_expected: int) -> "ViewScores":
        """Return the same videos with some of their views.

        Args:
            views: (S,) bool, which views to keep.
            views_expected: how many views each video should then have.
        """
        return replace(
            self,
            views_expected=np.full(len(self.paths), views_expected),
            video=self.video[views],
            clip=self.clip[views],
            crop=self.crop[views],
            scores=self.scores[views],
        )

    def averages(self, average: Average = "probabilities") -> np.ndarray:
        """Return the probabilities of each video.

        Args:
            average: the mean of the views' probabilities, or the probabilities of the mean of their logits.

        Returns:
            (V, K) float64. NaN for a video without views, or with a view for which the network returned NaN.
        """
        to_probabilities = sigmoid if self.multi_label else softmax
        means = np.full((len(self.paths), self.scores.shape[1]), np.nan)
        # where each video's views begin, and where the last one's end
        firsts = np.flatnonzero(np.diff(self.video, prepend=-1, append=-1))
        for block in slices(len(firsts) - 1, VIDEOS_AT_ONCE):
            bounds = firsts[block.start : block.stop + 1]
            views = slice(bounds[0], bounds[-1])
            scores = self.scores[views].astype(np.float64)
            scores[~self.finite[views]] = np.nan
            if average == "probabilities":
                scores = to_probabilities(scores)
            sums = np.add.reduceat(scores, bounds[:-1] - bounds[0])
            means[self.video[bounds[:-1]]] = sums / np.diff(bounds)[:, None]
        return means if average == "probabilities" else to_probabilities(means)


def stored_scores(logits: Tensor, *, multi_label: bool) -> Tensor:
    """Return the scores of views as they are stored, (S, K) float16, from their logits (S, K).

    They are the logarithms of the probabilities; or logits for a sigmoid, if a video may have several labels. Logits
    beyond the range of float16 become its greatest numbers, whose sigmoid is 0 or 1 as well. Infinity becomes NaN,
    which is what a softmax makes of it.

    Example:
        >>> stored_scores(torch.tensor([[1e6, -1e6, 0.0, torch.inf]]), multi_label=True)
        tensor([[ 65504., -65504.,      0.,     nan]], dtype=torch.float16)
    """
    logits = logits.float()
    if not multi_label:
        return logits.log_softmax(dim=1).half()
    greatest = torch.finfo(torch.float16).max
    return logits.clamp(-greatest, greatest).where(logits.isfinite(), torch.nan).half()


def average_views(scores: Tensor, video: Tensor, num_videos: int) -> tuple[Tensor, Tensor]:
    """Return the mean of each video's views (Non-local, section 5.1), and how many views each video has.

    This is what validation uses: it runs on the device of the scores and waits for nothing. `ViewScores.averages`
    gives the same except for rounding: it adds in another order.

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
    """Return the softmax over the classes of (N, K) scores."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """Return the sigmoid of scores, without overflow."""
    return np.exp(-np.logaddexp(0, -scores))
