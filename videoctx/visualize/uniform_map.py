"""Whether an attention map prefers no place to another, as before training."""

import numpy as np

UNIFORM_WITHIN = 0.05  # of the mean weight
UNIFORM_NOTE = "this block weighs all places alike"


def is_uniform(weights: np.ndarray) -> bool:
    """Return whether all weights of a map differ from their mean by less than 5 % of it.

    Args:
        weights: of the keys that the query attends to, in any shape.

    >>> is_uniform(np.array([0.25, 0.26, 0.24, 0.25])), is_uniform(np.array([0.1, 0.4, 0.25, 0.25]))
    (True, False)
    """
    mean = float(weights.mean())
    return bool(np.abs(weights - mean).max() <= UNIFORM_WITHIN * abs(mean))
