"""Disentangled Non-local block: a pairwise term, and a unary term that all positions share.

Yin, Yao, Cao, Li, Zhang, Lin, Hu: "Disentangled Non-Local Neural Networks" (ECCV 2020, arXiv 2006.06668).

    zᵢ = xᵢ + BN(W_z Σⱼ (softmaxⱼ((θᵢ - μ_θ)·(φⱼ - μ_φ)) + softmaxⱼ(w·xⱼ)) g(xⱼ))

The attention of a Non-local block is the product of two, softmaxⱼ((θᵢ - μ_θ)·(φⱼ - μ_φ)) and softmaxⱼ(μ_θ·φⱼ), up to
normalization. Here the second, unary term has its own key and is added: it is the attention pooling of GCNet.

Differs from the paper, as the authors' own code does: the pairwise logits are divided by √d and by a temperature.
Differs from both: over video, the means and both softmaxes run over space and time. BatchNorm starts with γ = 0, as in
`NonLocal`. The authors' code starts only the pairwise term at zero, by a factor.
"""

from typing import Literal

from torch import Tensor, nn

from videoctx.layers.context import Add, AttentionPooling, ContextBlock, scaled_width, zero_init_last
from videoctx.layers.non_local import INIT_STD, SoftmaxAffinity, halve_resolution
from videoctx.layers.pointwise import BatchNorm, Pointwise


class WhitenedAffinity(SoftmaxAffinity):
    """f = exp((θᵢ - μ_θ)·(φⱼ - μ_φ) / (τ√d)), normalized by its sum over j; μ are means over positions.

    Shapes, `weights`, `direct` and `forward` are those of `SoftmaxAffinity`. `forward` computes no N × M matrix.

    Args:
        temperature: τ.
    """

    def __init__(self, *, temperature: float) -> None:
        super().__init__(scale=True)
        self.temperature = temperature

    def _factor(self, theta: Tensor) -> float:
        return super()._factor(theta) / self.temperature

    def _whitened(self, theta: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        theta, phi = (part - part.mean(dim=1, keepdim=True) for part in (theta, phi))
        return theta, phi

    def weights(self, theta: Tensor, phi: Tensor) -> Tensor:
        return super().weights(*self._whitened(theta, phi))

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        return super().forward(*self._whitened(theta, phi), g)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


class DisentangledAttention(nn.Module):
    """The pairwise context of each position plus the unary context that all share: (B, C, *) → (B, d, *).

    θ and φ have no bias, because their means are subtracted.
    """

    def __init__(
        self, channels: int, inner_channels: int, *, temperature: float, subsample: Literal["input", "none"]
    ) -> None:
        super().__init__()
        self.subsample = subsample
        self.theta = Pointwise(channels, inner_channels, bias=False)
        self.phi = Pointwise(channels, inner_channels, bias=False)
        self.g = Pointwise(channels, inner_channels)
        self.pairwise = WhitenedAffinity(temperature=temperature)
        self.unary = AttentionPooling(channels)

    def forward(self, x: Tensor) -> Tensor:
        source = halve_resolution(x) if self.subsample == "input" else x
        parts = (self.theta(x), self.phi(source), self.g(source))
        pairwise = self.pairwise(*(_positions(part) for part in parts))  # (B, N, d)
        pairwise = pairwise.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])  # (B, d, *)
        unary = self.g(self.unary(source))  # (B, d, 1, …): Σⱼ mⱼ g(xⱼ) = g(Σⱼ mⱼ xⱼ), as Σⱼ mⱼ = 1
        return pairwise + unary

    def extra_repr(self) -> str:
        return f"subsample={self.subsample!r}"


class DisentangledNonLocal(ContextBlock):
    """zᵢ = xᵢ + BN(W_z (pairwise contextᵢ + unary context)). It starts as the identity.

    Args:
        inner_ratio: width d of θ, φ and g relative to `channels`.
        temperature: divisor of the pairwise logits besides √d. It is 0.05 in the authors' code, for segmentation.
        subsample: `"input"` halves height and width of the input of φ, g and the unary term by max pooling.
        batch_norm: BatchNorm after W_z, with γ = 0 at the start. Without it W_z itself starts at zero, for networks
            with frozen BatchNorm.

    Raises:
        ValueError: an unknown choice, an `inner_ratio` outside (0, 1], or a `temperature` that is not positive.

    >>> import torch
    >>> block, x = DisentangledNonLocal(64), torch.randn(2, 64, 4, 8, 8)
    >>> torch.equal(block(x), x)
    True
    """

    def __init__(
        self,
        channels: int,
        *,
        inner_ratio: float = 0.5,
        temperature: float = 0.05,
        subsample: Literal["input", "none"] = "input",
        batch_norm: bool = True,
    ) -> None:
        if subsample not in ("input", "none"):
            raise ValueError(f"subsample is {subsample!r}; expected one of input, none")
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; expected more than 0")
        inner_channels = scaled_width(channels, inner_ratio, "inner_ratio")
        project = Pointwise(inner_channels, channels)
        super().__init__(
            context=DisentangledAttention(channels, inner_channels, temperature=temperature, subsample=subsample),
            transform=nn.Sequential(project, BatchNorm(channels)) if batch_norm else project,
            fusion=Add(),
        )
        for layer in self.modules():
            if isinstance(layer, Pointwise):
                nn.init.normal_(layer.weight, std=INIT_STD)
        zero_init_last(self.transform)


def _positions(x: Tensor) -> Tensor:
    """(B, d, *) → (B, N, d), contiguous, as fused attention needs it."""
    return x.flatten(2).transpose(1, 2).contiguous()
