"""The loss of a classifier of single-label or multi-label videos, and the check of what it is computed from."""

import torch
from torch import Tensor
from torch.nn import functional as F


def checked_logits(logits: Tensor, num_clips: int, num_classes: int) -> Tensor:
    """Return what a network has returned, if it is (num_clips, num_classes).

    Raises:
        ValueError: It is not.
    """
    expected = (num_clips, num_classes)
    if logits.shape != expected:
        raise ValueError(
            f"the network returns {tuple(logits.shape)} for {num_clips} clips; expected logits {expected},"
            " one per class"
        )
    return logits


def classification_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    multi_label: bool,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Return the cross-entropy, or with `multi_label` the binary cross-entropy.

    Args:
        logits: (S, K).
        targets: (S,) class indices or (S, K) probabilities; with `multi_label` (S, K) float.
        multi_label: Whether each class is a question of its own.
        label_smoothing: Share of the target that is spread over all classes; with `multi_label`, over yes and no.
        class_weights: (K,) weight of each class, of its part in the target; with `multi_label`, of the yes.

    Returns:
        A scalar, the mean over clips, and with `multi_label` over classes. Weights do not change what it is divided by,
        unlike in `torch.nn.CrossEntropyLoss` of class indices: so the mean over ranks is that over all clips.
    """
    logits = logits.float()
    if class_weights is not None:
        class_weights = class_weights.to(logits.device, non_blocking=True)
    if multi_label:
        targets = targets * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=class_weights)
    if class_weights is not None and targets.ndim == 1:
        targets = label_probabilities(targets, logits.shape[1])  # of probabilities, torch takes the mean over clips
    return F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing)


def label_probabilities(labels: Tensor, num_classes: int) -> Tensor:
    """Return 1 for the label of each clip and 0 for all other classes: (S,) → (S, K) float32.

    Unlike `F.one_hot`, it reads no label on the host.

    >>> label_probabilities(torch.tensor([2, 0]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    return torch.zeros(len(labels), num_classes, device=labels.device).scatter_(1, labels[:, None], 1.0)
