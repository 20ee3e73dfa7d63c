"""Predictions for videos: class names and probabilities, best first."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from videoctx.evaluation.ranking import best_classes


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """The prediction for one video. Iterating over it gives (class name, probability), best first.

    Attributes:
        path: a file or a URL.
        class_names: K names.
        probabilities: (K,) float64, the mean over the video's views. None: the video failed.
        failure: why the video failed. None: it did not.
        top: number of classes to show.

    >>> prediction = Prediction("clip.mp4", ["jogging", "yoga"], np.array([0.1, 0.9]))
    >>> list(prediction)
    [('yoga', 0.9), ('jogging', 0.1)]
    >>> prediction
    clip.mp4
       90.0%  yoga
       10.0%  jogging
    """

    path: str
    class_names: list[str]
    probabilities: np.ndarray | None
    failure: str | None = None
    top: int = 5

    def best(self) -> list[tuple[str, float]]:
        """Return the `top` most probable classes with their probabilities; none of a video that failed."""
        if self.probabilities is None:
            return []
        indices = best_classes(self.probabilities, self.top)
        return [(self.class_names[index], float(self.probabilities[index])) for index in indices]

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return iter(self.best())

    def __len__(self) -> int:
        return len(self.best())

    def __getitem__(self, index: int) -> tuple[str, float]:
        return self.best()[index]

    def __bool__(self) -> bool:
        return self.failure is None

    def __repr__(self) -> str:
        if self.failure is not None:
            return f"{self.path}\n  failed: {self.failure}"
        return "\n".join([self.path, *(f"  {probability:6.1%}  {name}" for name, probability in self)])


class Predictions(list[Prediction]):
    """The predictions for several videos, one after another."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "no videos"
