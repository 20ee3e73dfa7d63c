"""The vectors of clips at a layer of a network: its output, or the input of the classifier, pooled over T, H and W."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from videoctx.first_few import first_few
from videoctx.models.class_order import classifier_parameters


@contextmanager
def clip_vectors(net: nn.Module, layer: str | None = None) -> Iterator[list[Tensor]]:
    """Collect a vector per clip from each forward pass inside the `with`, (B, C) float32 on the CPU.

    Args:
        layer: Name of the layer whose output is taken, such as `res4` or `res5.2`. The means over T, H and W of all
            its outputs, as of SlowFast's two pathways, are put one after another. None: the input of the classifier,
            which is the last layer that has parameters. Where windows of the feature map are classified
            (`videoctx.models.test_head`), it is the mean over these.

    Raises:
        ValueError: The network has no such layer, the layer ran less or more than once per pass, or its output is not
            one tensor per clip.
    """
    module, name = (_classifier(net), "the classifier") if layer is None else (_layer(net, layer), layer)
    seen: list[Tensor] = []  # of the current pass
    vectors: list[Tensor] = []

    def take(output: object) -> None:
        seen.append(_vector(output, name))

    def check(_net: nn.Module, inputs: tuple[Tensor, ...], _output: object) -> None:
        if len(seen) != 1:
            raise ValueError(f"layer {name} runs {len(seen)} times per clip; expected a layer that runs once")
        if len(seen[0]) != len(inputs[0]):
            raise ValueError(f"layer {name} gives {len(seen[0])} outputs for {len(inputs[0])} clips; expected one each")
        vectors.append(seen.pop())

    handles = [
        module.register_forward_pre_hook(lambda _, inputs: take(inputs[0]))
        if layer is None
        else module.register_forward_hook(lambda _, __, output: take(output)),
        net.register_forward_hook(check),
    ]
    try:
        yield vectors
    finally:
        for handle in handles:
            handle.remove()


def _classifier(net: nn.Module) -> nn.Module:
    parameters = classifier_parameters(net)
    if not parameters:
        raise ValueError(f"{type(net).__name__} has no layer with parameters, whose input would be the features")
    return net.get_submodule(parameters[0].rpartition(".")[0])


def _layer(net: nn.Module, name: str) -> nn.Module:
    layers = dict(net.named_modules())
    if name and name in layers:
        return layers[name]
    parts = [path for path, _ in net.named_children()]
    near = difflib.get_close_matches(name, [path for path in layers if path], n=3)
    expected = f"perhaps {first_few(near)}" if near else f"one of {', '.join(parts)}, or a layer inside"
    raise ValueError(f"layer is {name!r}, which {type(net).__name__} does not have; expected {expected}")


def _vector(output: object, name: str) -> Tensor:
    """(B, C, T, H, W), (B, N, C) or (B, C) → (B, C), in memory of its own: what follows may work in place."""
    if isinstance(output, tuple | list) and output:
        return torch.cat([_vector(one, name) for one in output], dim=1)
    if not isinstance(output, Tensor) or output.ndim < 2:
        found = f"{tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"layer {name} gives {found}; expected (B, C, T, H, W), (B, N, C) or (B, C)")
    x = output.detach().float()
    if x.ndim == 3:  # positions or windows of the map
        return x.mean(dim=1).cpu().clone()
    return (x.flatten(2).mean(dim=2) if x.ndim > 3 else x).cpu().clone()
