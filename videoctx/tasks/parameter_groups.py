"""Parameter groups: which parameters get the weight decay, and which a learning rate of their own."""

from collections.abc import Collection
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)
LR_FACTOR = "lr_factor"  # of a group whose learning rate is not the optimizer's


def parameter_groups(
    module: nn.Module, *, decay_norms: bool = False, new: Collection[str] = (), new_lr_factor: float = 1.0
) -> list[dict[str, Any]]:
    """Return groups for an optimizer: the parameters of norms, with a weight decay of zero, and all others.

    This is as in Non-local's code (WEIGHT_DECAY_BN 0). Decaying γ changes the function that BatchNorm computes, and not
    its complexity.

    Args:
        module: Only its parameters that require a gradient are in the groups.
        decay_norms: Let norms decay as well, as in mmaction2 and GluonCV.
        new: Names of parameters that are in groups of their own, if their learning rate is another one.
        new_lr_factor: The learning rate of `new` over that of the others (`scale_new_layers`).
    """
    norms = {
        id(parameter)
        for layer in module.modules()
        if isinstance(layer, NORMS)
        for parameter in layer.parameters(recurse=False)
    }
    names = {} if new_lr_factor == 1 else dict.fromkeys(new)
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}  # by whether the parameters are new, and those of norms
    for is_new in (False, True):
        for is_norm in (False, True):
            groups[is_new, is_norm] = {"params": []}
            if is_norm and not decay_norms:
                groups[is_new, is_norm]["weight_decay"] = 0.0
            if is_new:
                groups[is_new, is_norm][LR_FACTOR] = new_lr_factor
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups[name in names, id(parameter) in norms and not decay_norms]["params"].append(parameter)
    kept = {key: group for key, group in groups.items() if group["params"]}
    if len(kept) > 1:  # by which name the learning rate of each is logged
        for (is_new, is_norm), group in kept.items():
            group["name"] = f"{'new_' if is_new else ''}{'norms' if is_norm else 'weights'}"
    return list(kept.values())


def scale_new_layers(optimizer: Optimizer) -> None:
    """Multiply the learning rate of the groups of new parameters, which the optimizer has given its own."""
    for group in optimizer.param_groups:
        group["lr"] *= group.get(LR_FACTOR, 1.0)
