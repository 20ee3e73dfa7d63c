"""The weights of classes in the loss, where some have many more training videos than others.

King and Zeng: "Logistic Regression in Rare Events Data" (Political Analysis, 2001): a class of n_k of n videos has the
weight n / (K · n_k), as with scikit-learn's `class_weight="balanced"`.
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
    if weights != BALANCED:
        return torch.tensor(weights, dtype=torch.float32)
    counts = getattr(task_data(trainer), "train_class_counts", None)
    if counts is None:
        raise ValueError(
            "class_weights is balanced, and the data module has no train_class_counts, the number of training videos of"
            " each class; expected numbers"
        )
    return balanced_weights(counts, class_names)


def balanced_weights(counts: Sequence[int], class_names: Sequence[str]) -> Tensor:
    """Return the weights with which all classes count alike, (K,): n / (K · n_k), of n labels.

    Args:
        counts: Videos that show each class.

    Raises:
        ValueError: A class has no video.

    >>> balanced_weights([30, 10], ["run", "jump"])
    tensor([0.6667, 2.0000])
    """
    if empty := [name for name, count in zip(class_names, counts, strict=True) if not count]:
        raise ValueError(
            f"class_weights is balanced, and {len(empty)} classes have no training video ({first_few(empty)}); expected"
            " numbers, or a manifest with videos of each class"
        )
    found = torch.tensor(counts, dtype=torch.float64)
    return (found.sum() / (len(counts) * found)).float()
