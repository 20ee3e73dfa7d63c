"""The order of classes by their scores: which are the best ones, and at which rank the label is.

Of equal scores the class with the lower index comes first, everywhere.
"""

import numpy as np
import torch
from torch import Tensor

UNRANKED = int(torch.iinfo(torch.int64).max)  # the rank of a label when there are no scores to rank it by


def label_ranks(scores: Tensor, labels: Tensor) -> Tensor:
    """Return how many classes have a better score than the label.

    A label is among the top k where its rank is less than k.

    Args:
        scores: (N, K). Only their order counts.
        labels: (N,) class index; -1 where the label is not known.

    Returns:
        (N,) int64. `UNRANKED` where the label is -1, or where the greatest score is NaN or infinite.

    Example:
        >>> label_ranks(torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]), torch.tensor([2, 1]))
        tensor([1, 2])
    """
    of_label = scores.gather(1, labels.clamp(min=0)[:, None])  # (N, 1)
    indices = torch.arange(scores.shape[1], device=scores.device)
    ahead = ((scores > of_label) | ((scores == of_label) & (indices < labels[:, None]))).sum(dim=1)
    return ahead.where(scores.amax(dim=1).isfinite() & (labels >= 0), UNRANKED)


def best_classes(scores: np.ndarray, most: int) -> np.ndarray:
    """Return the indices of the `most` classes with the greatest scores, the best class first.

    Args:
        scores: (K,).

    Returns:
        (min(most, K),) int64.

    Raises:
        ValueError: A score is NaN, which has no place in an order.

    Example:
        >>> best_classes(np.array([0.2, 0.4, 0.4]), 2)
        array([1, 2])
    """
    if np.isnan(scores).any():
        raise ValueError(f"{np.isnan(scores).sum()} of {len(scores)} scores are NaN; expected numbers")
    return np.argsort(-scores, kind="stable")[:most]
