"""The three steps of a global context block: context modeling, transform, fusion.

    z = fusion(x, transform(context(x)))

Cao, Xu, Lin, Wei, Hu: "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond" (ICCVW 2019,
arXiv 1904.11492), section 3.3. A context block of this package is a choice of the three parts. N = T·H·W is the
number of positions. The parts take images (B, C, H, W) as well.

| step      | takes                                  | gives                                                    |
|-----------|----------------------------------------|----------------------------------------------------------|
| context   | x (B, C, T, H, W)                      | one vector, (B, C, 1, 1, 1), or one per position         |
| transform | the context                            | the same positions, as many channels as the fusion wants |
| fusion    | x and the transformed context          | z (B, C, T, H, W), broadcasting over the positions       |
"""

import torch
from torch import Tensor, nn

from videoctx.layers.pointwise import ChannelLayerNorm, Pointwise


class ContextBlock(nn.Module):
    """z = fusion(x, transform(context(x))), with the three parts as arguments.

    >>> import torch
    >>> block = ContextBlock(context=AveragePooling(), transform=Pointwise(8, 8), fusion=Add())
    >>> block(torch.zeros(2, 8, 4, 7, 7)).shape
    torch.Size([2, 8, 4, 7, 7])
    """

    def __init__(self, *, context: nn.Module, transform: nn.Module, fusion: nn.Module) -> None:
        super().__init__()
        self.context = context
        self.transform = transform
        self.fusion = fusion

    def forward(self, x: Tensor) -> Tensor:
        return self.fusion(x, self.transform(self.context(x)))


# Context modeling ------------------------------------------------------------------------------------------------


class AveragePooling(nn.Module):
    """The mean over all positions: (B, C, *) → (B, C, 1, …)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


class AttentionPooling(nn.Module):
    """Σⱼ softmaxⱼ(w·xⱼ) xⱼ, with one attention map for all queries: (B, C, *) → (B, C, 1, …). GCNet, equation 3.

    The key has no bias, because it would cancel in the softmax.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key = Pointwise(channels, 1, bias=False)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        attention = self.softmax(self.key(x).flatten(2))  # (B, 1, N)
        context = attention @ x.flatten(2).transpose(1, 2)  # (B, 1, C)
        return context.reshape(*x.shape[:2], *[1] * (x.ndim - 2))  # (B, C, 1, 1[, 1])


# Transform --------------------------------------------------------------------------------------------------------


class BottleneckTransform(nn.Sequential):
    """C → ratio·C → C, with an optional LayerNorm and a ReLU between. GCNet, equation 4; SE, section 3.

    Args:
        ratio: width of the bottleneck relative to `channels`, in (0, 1].
        layer_norm: normalize the bottleneck before the ReLU, which eases optimization (GCNet, section 3.3).
        zero_init: start with an output of zero, so that a block with `Add` starts as the identity.
    """

    def __init__(self, channels: int, *, ratio: float, layer_norm: bool, zero_init: bool) -> None:
        width = scaled_width(channels, ratio, "ratio")
        super().__init__()
        self.reduce = Pointwise(channels, width)
        if layer_norm:
            self.norm = ChannelLayerNorm(width)
        self.activation = nn.ReLU(inplace=True)
        self.expand = Pointwise(width, channels)
        if zero_init:
            nn.init.zeros_(self.expand.weight)


class ParallelTransform(nn.Module):
    """Several transforms of one context, with their outputs concatenated along the channels."""

    def __init__(self, *transforms: nn.Module) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def forward(self, context: Tensor) -> Tensor:
        return torch.cat([transform(context) for transform in self.transforms], dim=1)  # (B, C·len, *)


# Fusion -----------------------------------------------------------------------------------------------------------


class Add(nn.Module):
    """z = x + y."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Scale(nn.Module):
    """z = x · sigmoid(y)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y.sigmoid()


class ScaleAndAdd(nn.Module):
    """z = x · sigmoid(y₁) + y₂, where y is the concatenation of y₁ and y₂ along the channels."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        scale, offset = y.chunk(2, dim=1)
        return x * scale.sigmoid() + offset


def scaled_width(channels: int, ratio: float, name: str) -> int:
    """Return `ratio` times `channels`, rounded down.

    Args:
        name: name of the argument that `ratio` is, for the message.

    Raises:
        ValueError: `ratio` is outside (0, 1], or leaves less than one channel.
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"{name} is {ratio}; expected more than 0 and at most 1")
    width = int(channels * ratio + 1e-9)  # 1/49 of 49 is one channel
    if width < 1:
        raise ValueError(f"{name} {ratio:g} of {channels} channels leaves none; expected at least {1 / channels:g}")
    return width


def zero_init_last(transform: nn.Module) -> None:
    """Zero the weight of a layer, or of the last of a sequence. A block with `Add` then starts as the identity."""
    last = transform[-1] if isinstance(transform, nn.Sequential) else transform
    nn.init.zeros_(last.get_parameter("weight"))
