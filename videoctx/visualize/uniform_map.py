"""When a map weighs all places alike.

The threshold follows from floating-point error. In bfloat16, the coarsest arithmetic in which networks are trained
here, a number is rounded to 2⁻⁸ of its size: weights that differ by less would be equal there. In float32, in which
maps are computed, they are exact to 1e-6 (softmax) to 2e-4 (concatenation) of the greatest weight, measured against
float64 for every block in ResNet-18 and ResNet-50; a difference beyond the threshold is therefore never rounding. In a
color scale of 256 levels a difference below the threshold cannot be seen.

A Non-local block with small initial weights is below it before training: its softmax weights differ by up to 0.3 %.
"""

from torch import Tensor

UNIFORM_NOTE = "this block weighs all places alike"
ALIKE = 2.0**-8  # of the greatest weight
ROUNDING = 2.0**-18  # of the sum of the terms' sizes: a sum of float32 below it is rounding. Measured: up to 3e-7


def is_uniform(weights: Tensor) -> bool:
    """Return whether the weights differ by no more than `ALIKE` of the greatest one.

    Args:
        weights: of all places, in any shape.

    Example:
        >>> import torch
        >>> is_uniform(torch.tensor([0.2501, 0.2499, 0.25, 0.25])), is_uniform(torch.tensor([0.26, 0.24]))
        (True, False)
    """
    return bool(uniform_rows(weights.reshape(1, -1))[0])


def uniform_rows(weights: Tensor) -> Tensor:
    """Return for each row of (n, M) weights whether it is uniform, (n,) bool."""
    weights = weights.double()
    return weights.amax(dim=1) - weights.amin(dim=1) <= ALIKE * weights.abs().amax(dim=1)
