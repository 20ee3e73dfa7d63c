"""Parameter groups: which parameters get the weight decay, and which a learning rate of their own."""

import logging
from collections.abc import Collection
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from videoctx.tasks.layer_rates import USUAL_RATES, LayerRates

logger = logging.getLogger(__name__)

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)
LR_FACTOR = "lr_factor"  # of a group whose learning rate is not the optimizer's


def parameter_groups(
    module: nn.Module,
    *,
    decay_norms: bool = False,
    new: Collection[str] = (),
    new_lr_factor: float = 1.0,
    rates: LayerRates = USUAL_RATES,
) -> list[dict[str, Any]]:
    """Return groups for an optimizer: the parameters of norms, with a weight decay of zero, and all others.

    This is as in Non-local's code (WEIGHT_DECAY_BN 0). Decaying γ changes the function that BatchNorm computes, and not
    its complexity.

    Args:
        module: Only its parameters that require a gradient are in the groups. The classifier is its `head`.
        decay_norms: Let norms decay as well, as in mmaction2 and GluonCV.
        new: Names of parameters that are in groups of their own, if their learning rate is another one.
        new_lr_factor: The learning rate of `new` over that of the others (`scale_layers`).
        rates: Of biases and of the classifier, which multiply that of `new`.

    Raises:
        ValueError: The classifier has a learning rate of its own, and the network has no `head`.
    """
    norms = {
        id(parameter)
        for layer in module.modules()
        if isinstance(layer, NORMS)
        for parameter in layer.parameters(recurse=False)
    }
    names = set() if new_lr_factor == 1 else set(new)
    has_own_biases = rates.bias_lr_factor != 1 or not rates.decay_biases
    if rates.head_lr_factor != 1 and not any(name.startswith("head.") for name, _ in module.named_parameters()):
        raise ValueError(
            f"layer_rates.head_lr_factor is {rates.head_lr_factor:g}, and {type(module).__name__} has no layer named"
            " head; expected 1"
        )
    groups: dict[tuple[bool, bool, str], dict[str, Any]] = {}  # by whether it is new, of the classifier, and its kind
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        is_new, is_head = name in names, rates.head_lr_factor != 1 and name.startswith("head.")
        is_norm = id(parameter) in norms
        is_bias = has_own_biases and not is_norm and name.rpartition(".")[2] == "bias"
        kind = "norms" if is_norm and not decay_norms else "biases" if is_bias else "weights"
        group = groups.setdefault((is_new, is_head, kind), {"params": []})
        group["params"].append(parameter)
        if kind == "norms" or (kind == "biases" and not rates.decay_biases):
            group["weight_decay"] = 0.0
        factor = new_lr_factor if is_new else 1.0
        factor *= rates.head_lr_factor if is_head else 1.0
        factor *= rates.bias_lr_factor if is_bias else 1.0
        if factor != 1:
            group[LR_FACTOR] = factor
    if len(groups) > 1:  # by which name the learning rate of each is logged
        for (is_new, is_head, kind), group in groups.items():
            group["name"] = f"{'new_' if is_new else ''}{'head_' if is_head else ''}{kind}"
    order = {"weights": 0, "biases": 1, "norms": 2}
    return [groups[key] for key in sorted(groups, key=lambda key: (*key[:2], order[key[2]]))]


def warn_of_new_layers(lr_factor: float) -> None:
    """Warn, where a network starts without weights, that a learning rate of new layers has no effect."""
    logger.warning(
        f"model.new_layers_lr_factor is {lr_factor:g} and there are no model.weights, so all layers are new and have"
        " the learning rate of the optimizer"
    )


def scale_layers(optimizer: Optimizer) -> None:
    """Multiply the learning rates of the groups that have a factor, which the optimizer has given its own."""
    for group in optimizer.param_groups:
        group["lr"] *= group.get(LR_FACTOR, 1.0)
