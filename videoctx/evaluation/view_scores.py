"""The scores of a run's views, in arrays, and the scores of its videos: averages over views."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

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
        for block in range(0, len(firsts) - 1, VIDEOS_AT_ONCE):
            bounds = firsts[block : block + VIDEOS_AT_ONCE + 1]
            views = self.scores[bounds[0] : bounds[-1]].astype(np.float64)
            views[~self.finite[bounds[0] : bounds[-1]]] = np.nan
            if average == "probabilities":
                views = probable(views)
            counts = np.diff(bounds)
            means[self.video[bounds[:-1]]] = np.add.reduceat(views, bounds[:-1] - bounds[0]) / counts[:, None]
        return means if average == "probabilities" else probable(means)


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -scores))
