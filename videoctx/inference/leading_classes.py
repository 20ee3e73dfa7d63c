"""The classes that a chart of a timeline shows."""

import numpy as np

from videoctx.evaluation.ranking import best_classes

LEAST_CLASSES = 5  # also those that never lead


def leading_classes(values: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Return the classes that are the best at some moment, those with the highest peaks first.

    Classes that never lead follow where fewer than `LEAST_CLASSES` do, or where only one class would be left to be
    called "other".

    Args:
        values: (moments, K) probabilities.
        most: the number of classes at most.

    Returns:
        The indices of the classes, and the number of leading classes that are left out.

    >>> leading_classes(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.6, 0.1, 0.3]]), most=1)
    (array([2]), 1)
    """
    peaks = values.max(axis=0)
    leads = np.bincount(values.argmax(axis=1), minlength=len(peaks)) > 0
    order = np.concatenate(
        [np.flatnonzero(of_kind)[best_classes(peaks[of_kind], len(peaks))] for of_kind in (leads, ~leads)]
    )
    num_leading = int(leads.sum())
    count = max(num_leading, LEAST_CLASSES)
    if count == len(order) - 1:
        count += 1
    shown = order[: min(count, most)]
    return shown, max(0, num_leading - len(shown))
