"""Parameter groups: which parameters get the weight decay."""

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


def parameter_groups(module: nn.Module, *, decay_norms: bool = False) -> list[dict[str, Any]]:
    """Return two groups for an optimizer: the parameters of norms, with a weight decay of zero, and all others.

    This is as in Non-local's code (WEIGHT_DECAY_BN 0). Decaying γ changes the function that BatchNorm computes, and not
    its complexity.

    Args:
        module: Only its parameters that require a gradient are in the groups.
        decay_norms: Return one group of all parameters instead, as in mmaction2 and GluonCV.
    """
    norms = {
        id(parameter)
        for layer in module.modules()
        if isinstance(layer, NORMS)
        for parameter in layer.parameters(recurse=False)
    }
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if decay_norms:
        return [{"params": trained}]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if id(p) not in norms]},
        {"params": [p for p in trained if id(p) in norms], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
