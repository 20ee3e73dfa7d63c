"""Runs a network for the output of one of its layers and the gradients there."""

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from videoctx.visualize.grids import is_video


def run_to_layer(net: nn.Module, clips: Tensor, layer: str) -> tuple[Tensor, Tensor, Tensor]:
    """Run a network on clips that need gradients, because its weights may not have any.

    Args:
        net: in evaluation mode.
        clips: (B, 3, T, H, W).
        layer: the name of a layer. Of a layer that runs several times, such as a shared ReLU, the last output is taken.

    Returns:
        The clips that gradients may be taken of, the network's output, and the layer's: (B, C, T', H', W').

    Raises:
        ValueError: there is no such layer, it does not run, or its output has another shape.
    """
    outputs: list[Any] = []

    def keep(_: nn.Module, __: Any, output: Any) -> Any:
        outputs.append(output)
        return output.clone() if isinstance(output, Tensor) else None  # a later layer may change it in place

    hook = _find_layer(net, layer).register_forward_hook(keep)
    clips = clips.clone().requires_grad_()
    try:
        with torch.enable_grad():
            output = net(clips)
    finally:
        hook.remove()
    if not outputs:
        raise ValueError(f"layer {layer} does not run in a forward pass; expected one that does")
    features = outputs[-1]
    if not is_video(features) or len(features) != len(clips):
        raise _not_a_map(net, layer, features)
    return clips, output, features


def _find_layer(net: nn.Module, layer: str) -> nn.Module:
    """Return the layer of a name.

    Raises:
        ValueError: there is none; the message has similar names.
    """
    modules = {name: module for name, module in net.named_modules() if name}
    if layer not in modules:
        raise ValueError(f"no layer {layer!r}; expected {_near(layer, modules)}")
    return modules[layer]


def _not_a_map(net: nn.Module, layer: str, output: object) -> ValueError:
    """Return the error about a layer whose output is not (1, C, T, H, W) for one clip."""
    given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    such_as = _video_layers({name: module for name, module in net.named_modules() if name})
    return ValueError(
        f"layer {layer} gives {given}; expected a layer whose output is (1, C, T, H, W), such as {such_as}"
    )


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
