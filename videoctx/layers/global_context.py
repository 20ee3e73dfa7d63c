"""Blocks with one context vector for all positions: Squeeze-Excitation, simplified Non-local, Global Context.

SE: Hu, Shen, Sun: "Squeeze-and-Excitation Networks" (CVPR 2018, arXiv 1709.01507).
SNL, GC: Cao, Xu, Lin, Wei, Hu: "GCNet" (ICCVW 2019, arXiv 1904.11492), equations 3 and 4.

Differs from the papers: pooling runs over time as well as space, in one softmax or one mean.
"""

from collections.abc import Callable
from typing import Literal

from torch import nn

from videoctx.layers.context import (
    Add,
    AttentionPooling,
    AveragePooling,
    BottleneckTransform,
    ContextBlock,
    ParallelTransform,
    Scale,
    ScaleAndAdd,
)
from videoctx.layers.pointwise import Pointwise


class SqueezeExcitation(ContextBlock):
    """z = x · sigmoid(W₂ ReLU(W₁ mean(x))).

    Args:
        ratio: width of the bottleneck relative to `channels`. The paper's r = 16 is 1/16.

    >>> import torch
    >>> block = SqueezeExcitation(64)
    >>> block(torch.zeros(2, 64, 4, 7, 7)).shape
    torch.Size([2, 64, 4, 7, 7])
    """

    def __init__(self, channels: int, *, ratio: float = 1 / 16) -> None:
        super().__init__(
            context=AveragePooling(),
            transform=BottleneckTransform(channels, ratio=ratio, layer_norm=False, zero_init=False),
            fusion=Scale(),
        )


class SimplifiedNonLocal(ContextBlock):
    """zᵢ = xᵢ + W Σⱼ softmaxⱼ(w·xⱼ) xⱼ. It starts as the identity, with W = 0.

    >>> import torch
    >>> block, x = SimplifiedNonLocal(64), torch.randn(2, 64, 4, 7, 7)
    >>> torch.equal(block(x), x)
    True
    """

    def __init__(self, channels: int) -> None:
        transform = Pointwise(channels, channels)
        nn.init.zeros_(transform.weight)
        super().__init__(context=AttentionPooling(channels), transform=transform, fusion=Add())


class GlobalContext(ContextBlock):
    """zᵢ = xᵢ + W₂ ReLU(LN(W₁ Σⱼ softmaxⱼ(w·xⱼ) xⱼ)), or the other fusions of GCNet's section 3.3.

    The last layer of each branch starts at zero, as in the authors' code. With `fusion="add"` the block starts as the
    identity, with `"scale"` or `"scale_and_add"` as x / 2.

    Args:
        pooling: how the context is computed: attention pooling (GCNet) or average pooling (as in SE).
        fusion: how the transformed context is combined with x. `"add"` adds it, `"scale"` multiplies x by its sigmoid,
            `"scale_and_add"` does both, with a bottleneck for each.
        layer_norm: normalize the bottleneck before its ReLU. GCNet's ablation also trains without.
        ratio: width of the bottleneck relative to `channels`. GCNet has 1/16 on ImageNet and 1/4 on Kinetics.

    Raises:
        ValueError: an unknown choice, or a `ratio` outside (0, 1] or that leaves no channel.

    >>> import torch
    >>> block, x = GlobalContext(64), torch.randn(2, 64, 4, 7, 7)
    >>> block.context(x).shape
    torch.Size([2, 64, 1, 1, 1])
    >>> torch.equal(block(x), x)
    True
    """

    def __init__(
        self,
        channels: int,
        *,
        pooling: Literal["attention", "average"] = "attention",
        fusion: Literal["add", "scale", "scale_and_add"] = "add",
        layer_norm: bool = True,
        ratio: float = 1 / 16,
    ) -> None:
        def bottleneck() -> nn.Module:
            return BottleneckTransform(channels, ratio=ratio, layer_norm=layer_norm, zero_init=True)

        poolings: dict[str, Callable[[], nn.Module]] = {
            "attention": lambda: AttentionPooling(channels),
            "average": AveragePooling,
        }
        fusions: dict[str, Callable[[], nn.Module]] = {"add": Add, "scale": Scale, "scale_and_add": ScaleAndAdd}
        for name, value, choices in (("pooling", pooling, poolings), ("fusion", fusion, fusions)):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
        super().__init__(
            context=poolings[pooling](),
            transform=ParallelTransform(bottleneck(), bottleneck()) if fusion == "scale_and_add" else bottleneck(),
            fusion=fusions[fusion](),
        )
