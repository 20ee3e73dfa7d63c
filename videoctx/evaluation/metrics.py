"""Metrics of a test, each as a function of how often every video counts.

A metric takes `weights` (R, V), R times how often each video counts, and returns (R,) values. With weights of one it is
the metric itself; with the counts of resampled videos it is the metric's bootstrap distribution.

A video that could not be read, or for which the network returned NaN, has NaN scores and counts as incorrect. The order
of the videos changes no metric.
"""

import numpy as np

Weights = np.ndarray  # (R, V) float64


def share(part: np.ndarray, whole: np.ndarray, weights: Weights) -> np.ndarray:
    """Return Σ part / Σ whole over the videos, such as correct views of all views. 0 of nothing is 0.

    Args:
        part, whole: (V,).
        weights: (R, V).

    Returns:
        (R,).

    Example:
        >>> share(np.array([1, 0, 1]), np.ones(3), np.array([[1.0, 1, 1], [2, 0, 1]]))
        array([0.66666667, 1.        ])
    """
    whole_sum = weights @ whole.astype(np.float64)
    return weights @ part.astype(np.float64) / np.where(whole_sum, whole_sum, 1)


def mean_class_accuracy(correct: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the mean of the classes' accuracies, over the classes that have a video.

    Args:
        correct: (V,) bool.
        labels: (V,) class index. Videos with -1 do not count.
        weights: (R, V).

    Returns:
        (R,).
    """
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    if not len(order):
        return np.zeros(len(weights))
    firsts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    num_videos = np.add.reduceat(weights[:, order], firsts, axis=1)  # (R, classes that have a video)
    num_correct = np.add.reduceat(weights[:, order] * correct[order], firsts, axis=1)
    present = num_videos > 0
    accuracies = np.divide(num_correct, num_videos, out=np.zeros_like(num_correct), where=present)
    return accuracies.sum(axis=1) / np.maximum(present.sum(axis=1), 1)


def calibration_error(
    confidence: np.ndarray, correct: np.ndarray, weights: Weights, *, num_bins: int = 15
) -> np.ndarray:
    """Return the expected calibration error (Guo et al. 2017, arXiv 1706.04599).

    This is the mean of |accuracy - confidence| over bins of confidence of equal width, weighted by their videos.

    Args:
        confidence: (V,) probability of the predicted class. Videos with NaN do not count.
        correct: (V,) bool, whether the prediction is correct.
        weights: (R, V).

    Returns:
        (R,).
    """
    evaluated = ~np.isnan(confidence)
    weights, confidence, correct = weights[:, evaluated], confidence[evaluated], correct[evaluated]
    order = np.lexsort((correct, confidence))  # so that the order of the videos does not change the rounding
    weights, confidence, correct = weights[:, order], confidence[order], correct[order]
    bins = confidence_bins(confidence, num_bins)
    gaps = np.zeros(len(weights))
    for index in np.unique(bins):
        inside = bins == index
        gaps += np.abs(weights[:, inside] @ (correct[inside] - confidence[inside]))
    return gaps / np.maximum(weights.sum(axis=1), 1)


def confidence_bins(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    """Return the bin of each confidence, 0 to M - 1. Bin m holds the confidences in (m / M, (m + 1) / M].

    Example:
        >>> confidence_bins(np.array([0.0, 0.5, 0.51, 1.0]), 2)
        array([0, 0, 1, 1])
    """
    return np.ceil(confidence * num_bins).astype(np.int64).clip(1, num_bins) - 1


def average_precisions(scores: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the average precision of every class.

    This is the mean, over the videos that show the class, of the precision among the videos with at least their score.
    It is computed as for Charades (`Charades_v1_classify.m`; `mAP` in
    https://github.com/gsig/charades-algorithms/blob/master/pytorch/utils/map.py), except that videos of equal score are
    taken together, as in scikit-learn's `average_precision_score`. Videos with NaN scores come last, all together.

    Args:
        scores: (V, K).
        labels: (V, K) bool.
        weights: (R, V).

    Returns:
        (R, K), NaN where no video shows the class.

    Example:
        >>> labels = np.array([[True], [False], [True]])
        >>> average_precisions(np.array([[0.9], [0.8], [0.7]]), labels, np.ones((1, 3)))
        array([[0.83333333]])
    """
    scores = np.where(np.isnan(scores.max(axis=1, keepdims=True)), -np.inf, scores)
    result = np.full((len(weights), scores.shape[1]), np.nan)
    for index in range(scores.shape[1]):
        order = np.argsort(-scores[:, index], kind="stable")
        ordered = scores[order, index]
        last_of_equal = np.flatnonzero(ordered != np.append(ordered[1:], [np.nan] * bool(len(ordered))))
        num_videos = np.cumsum(weights[:, order], axis=1)[:, last_of_equal]  # (R, distinct scores)
        num_correct = np.cumsum(weights[:, order] * labels[order, index], axis=1)[:, last_of_equal]
        precision = np.divide(num_correct, num_videos, out=np.zeros_like(num_correct), where=num_videos > 0)
        total = num_correct[:, -1:].sum(axis=1)
        gained = np.diff(num_correct, axis=1, prepend=0)
        shown = total > 0
        result[shown, index] = (gained * precision).sum(axis=1)[shown] / total[shown]
    return result


def mean_average_precision(scores: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the mean of the classes' average precisions, over the classes that a video shows; 0 without any.

    Args:
        scores: (V, K).
        labels: (V, K) bool.
        weights: (R, V).

    Returns:
        (R,).
    """
    precisions = average_precisions(scores, labels, weights)
    shown = ~np.isnan(precisions)
    return np.where(shown, precisions, 0).sum(axis=1) / np.maximum(shown.sum(axis=1), 1)


def area_under_roc(scores: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the area under the ROC curve of two classes.

    This is the share of the pairs of a video of each class in which the video of class 1 has the greater score for
    class 1; a tie counts as half. It is the same for both classes. A video with NaN loses all of its pairs: it ranks
    below all others if it is of class 1, and above all others if it is of class 0.

    Args:
        scores: (V, 2).
        labels: (V,) class index. Videos with -1 do not count.
        weights: (R, V).

    Returns:
        (R,), NaN where one of the classes has no video.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
        >>> area_under_roc(scores, np.array([0, 0, 1, 1]), np.ones((1, 4)))
        array([0.75])
    """
    order_by = np.where(
        np.isnan(scores.max(axis=1)), np.where(labels == 1, -np.inf, np.inf), scores[:, 1] - scores[:, 0]
    )
    order = np.argsort(order_by, kind="stable")
    order = order[labels[order] >= 0]
    if not len(order):
        return np.full(len(weights), np.nan)
    distinct = order_by[order]
    firsts = np.flatnonzero(np.append(True, distinct[1:] != distinct[:-1]))  # of videos with equal scores
    of_each = [np.add.reduceat(weights[:, order] * (labels[order] == index), firsts, axis=1) for index in (0, 1)]
    below = np.cumsum(of_each[0], axis=1) - of_each[0] / 2  # (R, distinct scores)
    won, pairs = (of_each[1] * below).sum(axis=1), of_each[0].sum(axis=1) * of_each[1].sum(axis=1)
    return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def confusion(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many videos of class i were predicted as class j.

    Args:
        scores: (V, K). A video with NaN has no prediction.
        labels: (V,) class index. Videos with -1 do not count.

    Returns:
        (K, K + 1) int64. Column K counts the videos without a prediction.
    """
    num_classes = scores.shape[1]
    undecided = np.isnan(scores.max(axis=1))
    predictions = np.where(undecided, num_classes, np.where(undecided[:, None], 0, scores).argmax(axis=1))
    counts = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    known = labels >= 0
    np.add.at(counts, (labels[known], predictions[known]), 1)
    return counts
