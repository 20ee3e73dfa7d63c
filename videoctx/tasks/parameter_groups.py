"""Which parameters decay."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


def parameter_groups(module: nn.Module, *, decay_norms: bool = False) -> list[dict]:
    """Two groups for an optimizer: all parameters, except those of norms, which have a weight decay of zero.

    As in Non-local's code (WEIGHT_DECAY_BN 0): decaying γ changes the function that BatchNorm computes, not
    its complexity.

    Args:
        decay_norms: one group of them all instead, as in mmaction2 and GluonCV.
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
    groups = [
        {"params": [p for p in trained if id(p) not in norms]},
        {"params": [p for p in trained if id(p) in norms], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
