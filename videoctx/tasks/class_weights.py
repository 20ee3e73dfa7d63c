"""The weights of classes in the loss, where training takes some much more often than others.

King and Zeng: "Logistic Regression in Rare Events Data" (Political Analysis, 2001): a class of n_k of n videos has the
weight n / (K · n_k), as with scikit-learn's `class_weight="balanced"`. n_k is how many videos of the class an epoch
takes, so that an order that repeats the videos of rare classes is not weighed once more.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from videoctx.first_few import first_few
from videoctx.tasks.task_data import task_data

BALANCED = "balanced"
ClassWeights = list[float] | Literal["balanced"]


def check_class_weights(weights: ClassWeights | None, num_classes: int) -> None:
    """Check weights before the data is there.

    Raises:
        ValueError: They are not as many as the classes, or one is not above 0.
    """
    if weights is None or weights == BALANCED:
        return
    if isinstance(weights, str):
        raise ValueError(f"class_weights is {weights!r}; expected balanced, or one number per class")
    if len(weights) != num_classes:
        raise ValueError(f"class_weights has {len(weights)} numbers for {num_classes} classes; expected one per class")
    for weight in weights:
        if not (weight > 0 and math.isfinite(weight)):
            raise ValueError(f"class_weights has {weight:g}; expected more than 0")


def class_weight_tensor(weights: ClassWeights | None, trainer: Trainer, class_names: Sequence[str]) -> Tensor | None:
    """Return the weight of each class, (K,), of the training videos on all ranks. None: all are equal.

    Raises:
        ValueError: They are `balanced`, and the data module does not count its videos, or a class has none.
    """
    if weights is None:
        return None
    counts: Sequence[float] | None = getattr(task_data(trainer), "train_class_counts", None)
    if weights != BALANCED:
        found = torch.tensor(weights, dtype=torch.float32)
    elif counts is None:
        raise ValueError(
            "class_weights is balanced, and the data module has no train_class_counts, the number of training videos of"
            " each class; expected numbers"
        )
    else:
        found = balanced_weights(counts, class_names)
    if trainer.is_global_zero and (line := describe_weights(found, counts, class_names, balanced=weights == BALANCED)):
        print(line)
    return found


def describe_weights(
    weights: Tensor, counts: Sequence[float] | None, class_names: Sequence[str], *, balanced: bool
) -> str:
    """Return a line on weights, where they are computed, or training takes each class equally often anyway.

    Args:
        weights: (K,).
        counts: Videos of each class that an epoch takes. None: not known.
        balanced: Whether the weights follow from the counts.

    >>> describe_weights(torch.tensor([0.5, 1.5]), [3, 1], ["walk", "run"], balanced=True)
    'class_weights balanced: from 0.5 (walk) to 1.5 (run), by how often an epoch takes each class'
    """
    is_even = counts is not None and max(counts) - min(counts) <= 1e-6 * max(counts)
    if balanced and is_even:
        return "class_weights balanced: all are 1, as an epoch takes each class equally often (data.train.order)"
    low, high = int(weights.argmin()), int(weights.argmax())
    extent = f"from {weights[low]:.3g} ({class_names[low]}) to {weights[high]:.3g} ({class_names[high]})"
    if balanced:
        return f"class_weights balanced: {extent}, by how often an epoch takes each class"
    if is_even and weights[low] != weights[high]:
        return (
            f"class_weights: {extent}, although an epoch takes each class equally often (data.train.order), so that the"
            " classes do not count alike"
        )
    return ""


def balanced_weights(counts: Sequence[float], class_names: Sequence[str]) -> Tensor:
    """Return the weights with which all classes count alike, (K,): n / (K · n_k), of n labels.

    Args:
        counts: Videos of each class that an epoch takes.

    Raises:
        ValueError: A class has no video.

    >>> balanced_weights([30, 10], ["run", "jump"])
    tensor([0.6667, 2.0000])
    """
    if empty := [name for name, count in zip(class_names, counts, strict=True) if not count]:
        raise ValueError(
            f"class_weights is balanced, and {len(empty)} classes have no training video ({first_few(empty)}); expected"
            " numbers, or a manifest with videos of each class whose weights are not 0"
        )
    found = torch.tensor(counts, dtype=torch.float64)
    return (found.sum() / (len(counts) * found)).float()
