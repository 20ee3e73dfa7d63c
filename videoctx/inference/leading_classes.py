"""The classes that a chart of a timeline shows."""

import numpy as np

from videoctx.evaluation.ranking import best_classes


def leading_classes(values: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Return the classes that are the best at some moment, those with the highest peaks first.

    Args:
        values: (moments, K) probabilities.
        most: the number of classes at most.

    Returns:
        The indices of the classes, and the number of those that are left out.

    >>> leading_classes(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.6, 0.1, 0.3]]), most=1)
    (array([2]), 1)
    """
    leading = np.unique(values.argmax(axis=1))
    shown = leading[best_classes(values[:, leading].max(axis=0), most)]
    return shown, len(leading) - len(shown)
