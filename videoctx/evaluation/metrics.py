"""The numbers that a test is evaluated by, each a function of how often every video counts.

A metric takes `weights` (R, V), R times how often each video counts, and gives (R,) values. All ones give the metric;
the counts of resampled videos give its bootstrap distribution, so an interval is of the very number it stands beside.

A video that could not be read, or for which the network gave no numbers, has NaN scores and is wrong.
"""

import numpy as np

Weights = np.ndarray  # (R, V) float64


def share(part: np.ndarray, whole: np.ndarray, weights: Weights) -> np.ndarray:
    """Σ part / Σ whole over videos (V,), such as right clips of clips; 0 of nothing is 0."""
    whole_sum = weights @ whole.astype(np.float64)
    return weights @ part.astype(np.float64) / np.where(whole_sum, whole_sum, 1)


def mean_class_accuracy(correct: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
    """Mean of the classes' accuracies, over classes that have a video.

    Args:
        correct: (V,) bool.
        labels: (V,) class index; videos of -1 do not count.
    """
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    if not len(order):
        return np.zeros(len(weights))
    firsts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    of_class = np.add.reduceat(weights[:, order], firsts, axis=1)  # (R, classes that have a video)
    right = np.add.reduceat(weights[:, order] * correct[order], firsts, axis=1)
    present = of_class > 0
    accuracies = np.divide(right, of_class, out=np.zeros_like(right), where=present)
    return accuracies.sum(axis=1) / np.maximum(present.sum(axis=1), 1)


def calibration_error(
    confidence: np.ndarray, correct: np.ndarray, weights: Weights, *, num_bins: int = 15
) -> np.ndarray:
    """Expected calibration error (Guo et al. 2017, arXiv 1706.04599): |accuracy - confidence|, in bins of equal width.

    Bin m holds confidences in ((m - 1) / M, m / M]. Videos without a confidence, NaN, do not count.

    Args:
        confidence: (V,) probability of the class that the network names.
        correct: (V,) bool, whether that is the right one.
    """
    evaluated = ~np.isnan(confidence)
    weights, confidence, correct = weights[:, evaluated], confidence[evaluated], correct[evaluated]
    bins = np.ceil(confidence * num_bins).astype(np.int64).clip(1, num_bins) - 1
    gaps = np.zeros(len(weights))
    for index in np.unique(bins):
        inside = bins == index
        gaps += np.abs(weights[:, inside] @ (correct[inside] - confidence[inside]))
    return gaps / np.maximum(weights.sum(axis=1), 1)


def average_precisions(scores: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
    """Average precision of every class: the mean, over the videos that show it, of the precision down to each.

    As Charades counts it (`Charades_v1_classify.m`; `mAP` in
    https://github.com/gsig/charades-algorithms/blob/master/pytorch/utils/map.py), but that videos of equal score are
    taken together, so their order does not matter. Videos with NaN scores come last.

    Args:
        scores: (V, K).
        labels: (V, K) bool.

    Returns:
        (R, K); NaN where no video shows the class.
    """
    scores = np.where(np.isnan(scores.max(axis=1, keepdims=True)), -np.inf, scores)
    result = np.full((len(weights), scores.shape[1]), np.nan)
    for index in range(scores.shape[1]):
        order = np.argsort(-scores[:, index], kind="stable")
        last_of_equal = np.flatnonzero(np.diff(scores[order, index], append=np.nan))
        seen = np.cumsum(weights[:, order], axis=1)[:, last_of_equal]  # (R, distinct scores)
        right = np.cumsum(weights[:, order] * labels[order, index], axis=1)[:, last_of_equal]
        precision = np.divide(right, seen, out=np.zeros_like(right), where=seen > 0)
        total = right[:, -1]
        gained = np.diff(right, axis=1, prepend=0)
        shown = total > 0
        result[shown, index] = (gained * precision).sum(axis=1)[shown] / total[shown]
    return result


def mean_average_precision(scores: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
    """Mean of the classes' average precisions, over classes that a video shows; 0 where there is none."""
    precisions = average_precisions(scores, labels, weights)
    shown = ~np.isnan(precisions)
    return np.where(shown, precisions, 0).sum(axis=1) / np.maximum(shown.sum(axis=1), 1)


def confusion(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often a video of class i was taken for class j, (K, K + 1) int64; column K: no answer."""
    num_classes = scores.shape[1]
    undecided = np.isnan(scores.max(axis=1))
    answers = np.where(undecided, num_classes, np.where(undecided[:, None], 0, scores).argmax(axis=1))
    counts = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    given = labels >= 0
    np.add.at(counts, (labels[given], answers[given]), 1)
    return counts
