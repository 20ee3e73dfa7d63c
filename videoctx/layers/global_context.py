"""Blocks with one context for all positions: Squeeze-Excitation, simplified Non-local, Global Context.

SE: Hu, Shen, Sun: "Squeeze-and-Excitation Networks" (CVPR 2018, arXiv 1709.01507).
SNL, GC: Cao, Xu, Lin, Wei, Hu: "GCNet" (ICCVW 2019, arXiv 1904.11492), equations 3 and 4.

Differs from the papers: pooling runs over time as well as space, in one softmax or one mean.
"""

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
        ratio: width of the bottleneck relative to `channels`; the paper's r = 16 is 1/16.
    """

    def __init__(self, channels: int, *, ratio: float = 1 / 16) -> None:
        super().__init__(
            context=AveragePooling(),
            transform=BottleneckTransform(channels, ratio=ratio, layer_norm=False, zero_init=False),
            fusion=Scale(),
        )


class SimplifiedNonLocal(ContextBlock):
    """zᵢ = xᵢ + W Σⱼ softmaxⱼ(w·xⱼ) xⱼ. Starts as the identity: W = 0."""

    def __init__(self, channels: int) -> None:
        transform = Pointwise(channels, channels)
        nn.init.zeros_(transform.weight)
        super().__init__(context=AttentionPooling(channels), transform=transform, fusion=Add())


class GlobalContext(ContextBlock):
    """zᵢ = xᵢ + W₂ ReLU(LN(W₁ Σⱼ softmaxⱼ(w·xⱼ) xⱼ)), or with the sigmoid of that as a factor, or both.

    The last layer of each branch starts at zero: with `fusion="add"` the block starts as the identity, with
    `"scale"` or `"scale_and_add"` as x / 2, both as in the authors' code.

    Args:
        pooling: what makes the context.
        fusion: how it joins x; `"scale_and_add"` has a bottleneck for each.
        ratio: width of the bottleneck relative to `channels`; GCNet has 1/16 on ImageNet and 1/4 on Kinetics.
    """

    def __init__(
        self,
        channels: int,
        *,
        pooling: Literal["attention", "average"] = "attention",
        fusion: Literal["add", "scale", "scale_and_add"] = "add",
        ratio: float = 1 / 16,
    ) -> None:
        def bottleneck() -> nn.Module:
            return BottleneckTransform(channels, ratio=ratio, layer_norm=True, zero_init=True)

        poolings = {"attention": lambda: AttentionPooling(channels), "average": AveragePooling}
        fusions = {"add": Add, "scale": Scale, "scale_and_add": ScaleAndAdd}
        for name, value, choices in (("pooling", pooling, poolings), ("fusion", fusion, fusions)):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
        super().__init__(
            context=poolings[pooling](),
            transform=ParallelTransform(bottleneck(), bottleneck()) if fusion == "scale_and_add" else bottleneck(),
            fusion=fusions[fusion](),
        )
