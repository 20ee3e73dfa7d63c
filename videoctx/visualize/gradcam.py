"""Grad-CAM: which positions of a layer's output raise the logit of a class.

Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra: "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization" (ICCV 2017, arXiv 1610.02391), equations 1 and 2, over time as well as space:

    αₖ = 1/N Σᵢ ∂y / ∂Aₖᵢ
    map = ReLU(Σₖ αₖ Aₖ)

where y is the logit of a class, A the layer's output, and i runs over its N positions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from videoctx.visualize.grids import Grid, GridTrace, is_video
from videoctx.visualize.layer_output import run_to_layer
from videoctx.visualize.uniform_map import ROUNDING


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassActivation:
    """The Grad-CAM map of one class.

    Args:
        map: (T', H', W'), not negative, in the unit of the logit. A sum Σₖ αₖ Aₖ that is only rounding is 0.
        grid: the positions of its cells on the clip.
        class_index: the class whose logit it raises.
        logits: (K,) of the clip.
    """

    map: Tensor
    grid: Grid
    class_index: int
    logits: Tensor


def grad_cam(net: nn.Module, clip: Tensor, layer: str, *, class_index: int | None = None) -> ClassActivation:
    """Run a network on one clip, and backpropagate the logit of a class to a layer.

    Args:
        net: in evaluation mode.
        clip: (1, 3, T, H, W).
        layer: the name of a layer in the network. Of a layer that runs several times, such as a shared ReLU, the last
            output is taken.
        class_index: the class; by default the one with the greatest logit.

    Raises:
        ValueError: there is no such layer, it does not run, its output is not (1, C, T, H, W), the logit does not
            depend on it, or a logit is NaN.
    """
    with GridTrace(clip) as trace:
        _, output, features = run_to_layer(net, clip, layer)
    logits = output[0]  # (K,)
    if logits.isnan().any():
        raise ValueError("the network gives NaN for this clip; expected numbers, whose gradients can be shown")
    index = int(logits.argmax()) if class_index is None else class_index
    (gradient,) = torch.autograd.grad(logits[index], features, allow_unused=True)
    if gradient is None:
        raise ValueError(f"the logits do not depend on layer {layer}; expected a layer that they depend on")
    importance = gradient.mean(dim=(2, 3, 4), keepdim=True)  # (1, C, 1, 1, 1): α
    terms = importance * features
    activation = terms.sum(dim=1)[0].relu()  # (T', H', W')
    activation = activation.where(activation > ROUNDING * terms.abs().sum(dim=1).max(), 0.0)
    return ClassActivation(
        map=activation.detach().cpu(),
        grid=trace.grid_of(features),
        class_index=index,
        logits=logits.detach().cpu(),
    )


@torch.no_grad()
def video_layers(net: nn.Module, clip: Tensor) -> list[str]:
    """Return the names of the layers that `grad_cam` takes: those whose output is (1, C, T, H, W), in their order.

    Args:
        net: in evaluation mode.
        clip: (1, 3, T, H, W), of any content.

    >>> video_layers(nn.Sequential(nn.Conv3d(3, 2, 1), nn.Flatten()), torch.zeros(1, 3, 2, 4, 4))
    ['0']
    """
    found: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda _, __, output: found.append(name) if is_video(output) and len(output) == 1 else None

    hooks = [module.register_forward_hook(note(name)) for name, module in net.named_modules() if name]
    try:
        net(clip)
    finally:
        for hook in hooks:
            hook.remove()
    ran = set(found)
    return [name for name, _ in net.named_modules() if name in ran]
