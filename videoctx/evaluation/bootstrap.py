"""Bootstrap over videos (Efron 1979): what a metric might have been on as many other videos of the same kind.

The interval is that of the percentiles. Average precision and calibration error are greater on resamples, in which
videos repeat, without being so on other videos: with 1863 videos and 157 classes, as in Charades, the percentiles can
leave the metric out. Theirs are moved by what the resamples' mean is above the metric.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from videoctx.evaluation.metrics import Weights

NUM_RESAMPLES = 1000
SEED = 0
COUNTS_AT_ONCE = 2_000_000  # bounds the memory
GREATER_ON_RESAMPLES = {"video_map", "video_ece"}


class Interval(NamedTuple):
    """Lower and upper end."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A metric, and its 95 % interval."""

    value: float
    interval: Interval


def estimates(
    metrics: Callable[[Weights], dict[str, np.ndarray]],
    num_videos: int,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    seed: int = SEED,
) -> dict[str, Estimate]:
    """Value and interval of each metric.

    Args:
        metrics: weights (R, V) → (R,) values of each; asked several times.
        bounds: of what the metrics can be.
        seed: the same one draws the same videos, so differences between runs can be paired.
    """
    values = metrics(np.ones((1, num_videos)))
    drawn = [metrics(weights) for weights in resampled(num_videos, seed=seed)]
    return {
        name: estimate(name, float(value[0]), np.concatenate([part[name] for part in drawn]), bounds=bounds)
        for name, value in values.items()
    }


def estimate(
    name: str, value: float, resamples: np.ndarray, *, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Estimate:
    """A metric by its name, with the interval of its values on resamples (R,)."""
    excess = resamples.mean() - value if name in GREATER_ON_RESAMPLES else 0.0
    low, high = (np.percentile(resamples, (2.5, 97.5)) - excess).clip(*bounds)
    return Estimate(value, Interval(float(low), float(high)))


def resampled(num_videos: int, *, seed: int = SEED) -> Iterator[Weights]:
    """How often each of V videos comes in V draws with replacement, `NUM_RESAMPLES` times, in parts (r, V)."""
    rng = np.random.default_rng(seed)
    at_once = max(1, COUNTS_AT_ONCE // max(num_videos, 1))
    for start in range(0, NUM_RESAMPLES, at_once):
        count = min(at_once, NUM_RESAMPLES - start)
        draws = rng.integers(0, max(num_videos, 1), (count, num_videos)) + num_videos * np.arange(count)[:, None]
        yield np.bincount(draws.ravel(), minlength=count * num_videos).reshape(count, num_videos).astype(np.float64)
