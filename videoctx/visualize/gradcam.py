"""Grad-CAM: which positions of a layer's output raise the logit of a class.

Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra: "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization" (ICCV 2017, arXiv 1610.02391), equations 1 and 2, over time as well as space:

    αₖ = 1/N Σᵢ ∂y / ∂Aₖᵢ
    map = ReLU(Σₖ αₖ Aₖ)

where y is the logit of a class, A the layer's output, and i runs over its N positions.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from videoctx.visualize.grids import Grid, GridTrace, is_video
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
    found = find_layer(net, layer)
    outputs: list[Any] = []

    def keep(_: nn.Module, __: Any, output: Any) -> Any:
        outputs.append(output)
        return output.clone() if isinstance(output, Tensor) else None  # a later layer may change it in place

    hook = found.register_forward_hook(keep)
    try:
        with torch.enable_grad(), GridTrace(clip) as trace:
            # the clip needs gradients, because the weights may not have any
            logits = net(clip.clone().requires_grad_())[0]  # (K,)
    finally:
        hook.remove()
    if not outputs:
        raise ValueError(f"layer {layer} does not run in a forward pass; expected one that does")
    features = outputs[-1]
    if not is_video(features) or len(features) != 1:
        raise not_a_map(net, layer, features)
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


def find_layer(net: nn.Module, layer: str) -> nn.Module:
    """Return the layer of a name.

    Raises:
        ValueError: there is none; the message has similar names.
    """
    modules = {name: module for name, module in net.named_modules() if name}
    if layer not in modules:
        raise ValueError(f"no layer {layer!r}; expected {_near(layer, modules)}")
    return modules[layer]


def not_a_map(net: nn.Module, layer: str, output: object) -> ValueError:
    """Return the error about a layer whose output is not (1, C, T, H, W) for one clip."""
    given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    such_as = _video_layers({name: module for name, module in net.named_modules() if name})
    return ValueError(
        f"layer {layer} gives {given}; expected a layer whose output is (1, C, T, H, W), such as {such_as}"
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


def _near(layer: str, modules: dict[str, nn.Module]) -> str:
    """Name layers with a similar name, or else the parts of the network."""
    near = difflib.get_close_matches(layer, list(modules), n=3)
    return f"perhaps {', '.join(near)}" if near else "one of " + ", ".join(name for name in modules if _is_part(name))


def _video_layers(modules: dict[str, nn.Module]) -> str:
    """Name the stages of a network, or those of its pathways."""
    for depth in (0, 1):
        if parts := [n for n, layer in modules.items() if n.count(".") == depth and isinstance(layer, nn.Sequential)]:
            return ", ".join(parts)
    return "a convolution"


def _is_part(name: str) -> bool:
    return "." not in name
