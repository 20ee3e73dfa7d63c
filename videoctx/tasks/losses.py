"""The loss of a classifier of single-label or multi-label videos."""

from torch import Tensor
from torch.nn import functional as F


def classification_loss(logits: Tensor, targets: Tensor, *, multi_label: bool, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy, or with `multi_label` the binary cross-entropy.

    Args:
        logits: (S, K).
        targets: (S,) class indices or (S, K) probabilities; with `multi_label` (S, K) float.
        multi_label: Whether each class is a question of its own.
        label_smoothing: Share of the target that is spread over all classes; with `multi_label`, over yes and no.

    Returns:
        A scalar, the mean over clips, and with `multi_label` over classes.
    """
    if not multi_label:
        return F.cross_entropy(logits.float(), targets, label_smoothing=label_smoothing)
    targets = targets * (1 - label_smoothing) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(logits.float(), targets)
