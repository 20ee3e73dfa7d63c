"""Bootstrap over videos (Efron 1979): the interval in which a metric would lie on other videos of the same kind.

The interval is from the 2.5th to the 97.5th percentile of the metric over resamples. Average precision and calibration
error are biased upwards on resamples, because videos repeat there: with 1863 videos and 157 classes, as in Charades,
the metric can be outside the percentiles. For these two metrics the percentiles are shifted by the difference of the
resamples' mean from the metric.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from videoctx.evaluation.metrics import Weights

NUM_RESAMPLES = 1000
SEED = 0
COUNTS_AT_ONCE = 2_000_000  # limits the memory
BIASED_UPWARDS = {"video_map", "video_ece"}


class Interval(NamedTuple):
    """The lower and the upper end of an interval."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A metric with its 95 % interval."""

    value: float
    interval: Interval


def estimates(
    metrics: Callable[[Weights], dict[str, np.ndarray]],
    num_videos: int,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    seed: int = SEED,
) -> dict[str, Estimate]:
    """Return the value and the 95 % interval of each metric.

    Args:
        metrics: weights (R, V), how often each video counts → (R,) values of each metric. It is called several times.
        bounds: the least and the greatest possible value.
        seed: equal seeds sample the same videos, so that differences between runs are paired.

    Example:
        >>> correct = np.array([1.0, 0.0, 1.0, 1.0])
        >>> estimates(lambda weights: {"top1": weights @ correct / weights.sum(axis=1)}, 4, bounds=(0, 1))
        {'top1': Estimate(value=0.75, interval=Interval(low=0.25, high=1.0))}
    """
    values = metrics(np.ones((1, num_videos)))
    resamples = [metrics(weights) for weights in resampled(num_videos, seed=seed)]
    return {
        name: estimate(name, float(value[0]), np.concatenate([part[name] for part in resamples]), bounds=bounds)
        for name, value in values.items()
    }


def estimate(
    name: str, value: float, resamples: np.ndarray, *, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Estimate:
    """Return one metric with its 95 % interval.

    Args:
        name: the name of the metric, as in `results.json`.
        value: the metric.
        resamples: (R,) values of the metric on resamples; NaN where it is not defined, which does not count.
        bounds: the least and the greatest possible value.
    """
    resamples = resamples[~np.isnan(resamples)]
    excess = resamples.mean() - value if name in BIASED_UPWARDS else 0.0
    low, high = (np.percentile(resamples, (2.5, 97.5)) - excess).clip(*bounds)
    return Estimate(value, Interval(float(low), float(high)))


def resampled(num_videos: int, *, seed: int = SEED) -> Iterator[Weights]:
    """Sample V of V videos with replacement, `NUM_RESAMPLES` times.

    Yields:
        (r, V) float64, how often each video was sampled, for r of the resamples.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, COUNTS_AT_ONCE // max(num_videos, 1))
    for start in range(0, NUM_RESAMPLES, at_once):
        count = min(at_once, NUM_RESAMPLES - start)
        videos = rng.integers(0, max(num_videos, 1), (count, num_videos)) + num_videos * np.arange(count)[:, None]
        yield np.bincount(videos.ravel(), minlength=count * num_videos).reshape(count, num_videos).astype(np.float64)
