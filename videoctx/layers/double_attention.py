"""Double attention block: it gathers the features of all positions and then distributes them to each.

Chen, Kalantidis, Li, Yan, Feng: "A²-Nets: Double Attention Networks" (NeurIPS 2018, arXiv 1810.11579), section 3.

    Z = X + BN(W [φ(X) softmax(θ(X))ᵀ] softmax(ρ(X)))

The first softmax is over the N positions, for each of the n maps of θ; the second over the n maps, at each position.

Differs from the paper: W is followed by BatchNorm with γ = 0, as in the other residual blocks of this package. The
paper has the 1×1×1 convolution and the sum. We found no code by the authors.
"""

from torch import Tensor, nn

from videoctx.layers.context import Add, ContextBlock, scaled_width, zero_init_last
from videoctx.layers.pointwise import BatchNorm, Pointwise


class GatherAndDistribute(nn.Module):
    """A mixture of n descriptors of all positions, for each position: (B, C, *) → (B, m, *), with m = n inner channels.

    The product is evaluated from the left, as printed above, so time and memory are linear in N. From the right, the
    same numbers would take an N × N matrix, as in a Non-local block.

    θ has no bias, because it would cancel in the softmax over the positions.
    """

    def __init__(self, channels: int, inner_channels: int) -> None:
        super().__init__()
        self.phi = Pointwise(channels, inner_channels)
        self.theta = Pointwise(channels, inner_channels, bias=False)
        self.rho = Pointwise(channels, inner_channels)
        self.over_positions = nn.Softmax(dim=2)
        self.over_maps = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.phi(x).flatten(2)  # (B, m, N)
        gather = self.over_positions(self.theta(x).flatten(2))  # (B, n, N)
        distribute = self.over_maps(self.rho(x).flatten(2))  # (B, n, N)
        descriptors = features @ gather.transpose(1, 2)  # (B, m, n)
        return (descriptors @ distribute).reshape(x.shape[0], -1, *x.shape[2:])  # (B, m, *)


class DoubleAttention(ContextBlock):
    """zᵢ = xᵢ + BN(W Σₖ softmaxₖ(ρ(xᵢ)) Σⱼ softmaxⱼ(θₖ(xⱼ)) φ(xⱼ)). It starts as the identity.

    Args:
        inner_ratio: width of φ, θ and ρ relative to `channels`. The width of θ and ρ is the number of maps.
        batch_norm: BatchNorm after W, with γ = 0 at the start. Without it W itself starts at zero, for networks with
            frozen BatchNorm.

    Raises:
        ValueError: an `inner_ratio` outside (0, 1], or one that leaves no channel.

    >>> import torch
    >>> block, x = DoubleAttention(64), torch.randn(2, 64, 4, 8, 8)
    >>> torch.equal(block(x), x)
    True
    """

    def __init__(self, channels: int, *, inner_ratio: float = 1 / 4, batch_norm: bool = True) -> None:
        inner_channels = scaled_width(channels, inner_ratio, "inner_ratio")
        expand = Pointwise(inner_channels, channels)
        super().__init__(
            context=GatherAndDistribute(channels, inner_channels),
            transform=nn.Sequential(expand, BatchNorm(channels)) if batch_norm else expand,
            fusion=Add(),
        )
        zero_init_last(self.transform)
