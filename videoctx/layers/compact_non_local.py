"""Compact generalized Non-local block: each channel of each position attends to each channel of all positions.

Yue, Sun, Yuan, Zhou, Ding, Xu: "Compact Generalized Non-local Network" (NeurIPS 2018, arXiv 1810.13125), section 3.

    z = x + GN(W_z vec⁻¹(y)),    yᵢ = Σⱼ k(θᵢ, φⱼ) gⱼ

i and j run over the L = C'·N numbers of vec(θ), vec(φ), vec(g), where C' is the number of channels of a group. Groups
are independent. k factors into powers of θᵢ and of φⱼ, so the L × L matrix is never computed.

Differs from the paper, as the authors' own code does: GroupNorm for BatchNorm after W_z (`norm`), and exp(-2γ) for the
factor exp(-γ(θᵢ² + φⱼ²)) of the Gaussian kernel, with γ = 1e-4 and no normalization of θ and φ. Differs from both: over
video, the positions and the statistics of GroupNorm run over time as well as space.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from videoctx.layers.context import Add, ContextBlock, scaled_width, zero_init_last
from videoctx.layers.fused_attention import wide
from videoctx.layers.non_local import INIT_STD
from videoctx.layers.pointwise import BatchNorm, Pointwise

GAMMA = 1e-4  # of the Gaussian kernel in the authors' code


class Kernel(nn.Module):
    """k(θᵢ, φⱼ) between numbers, and the sum of g with these weights: θ, φ and g (B, G, L) → (B, G, L).

    `forward` takes O(L). `direct` computes the L × L matrix, and `forward` must equal it.
    """

    def weights(self, theta: Tensor, phi: Tensor) -> Tensor:
        """Return the L × L matrices (B, G, L, L)."""
        raise NotImplementedError

    def direct(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Evaluate the equation as printed, in O(L²) time and memory."""
        return (self.weights(theta, phi) @ g.unsqueeze(3)).squeeze(3)


class DotProductKernel(Kernel):
    """k = θᵢ φⱼ."""

    def weights(self, theta: Tensor, phi: Tensor) -> Tensor:
        return theta.unsqueeze(3) * phi.unsqueeze(2)

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Compute θ(φᵀg): one number of attention per group, times θ."""
        attention = (phi.to(wide(g.dtype)) * g).sum(dim=2, keepdim=True)  # (B, G, 1)
        return (attention * theta).to(in_range(theta.dtype))


class GaussianRbfKernel(Kernel):
    """k = exp(-2γ) Σₚ (2γ)ᵖ/p! (θᵢ φⱼ)ᵖ, the Taylor expansion of exp(-2γ) exp(2γ θᵢ φⱼ) up to p = `order`.

    With θᵢ² + φⱼ² = 2 it is the Gaussian kernel exp(-γ(θᵢ - φⱼ)²).
    """

    def __init__(self, order: int) -> None:
        super().__init__()
        self.order = order

    def _coefficients(self) -> list[float]:
        return [math.exp(-2 * GAMMA) * (2 * GAMMA) ** power / math.factorial(power) for power in range(self.order + 1)]

    def weights(self, theta: Tensor, phi: Tensor) -> Tensor:
        product = theta.unsqueeze(3) * phi.unsqueeze(2)  # (B, G, L, L)
        terms = (coefficient * product**power for power, coefficient in enumerate(self._coefficients()))
        return sum(terms, start=torch.zeros_like(product))

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Compute Σₚ αₚ θᵖ ((φᵖ)ᵀg): `order` + 1 numbers of attention per group."""
        dtype = theta.dtype
        theta, phi = theta.to(wide(dtype)), phi.to(wide(dtype))
        context = torch.zeros_like(theta)
        for power, coefficient in enumerate(self._coefficients()):
            attention = (phi**power * g).sum(dim=2, keepdim=True)  # (B, G, 1)
            context = context + coefficient * attention * theta**power
        return context.to(in_range(dtype))

    def extra_repr(self) -> str:
        return f"order={self.order}"


def in_range(dtype: torch.dtype) -> torch.dtype:
    """Return a type that holds sums without a divisor: float32 for float16, which ends at 65504."""
    return torch.float32 if dtype == torch.float16 else dtype


class CompactAttention(nn.Module):
    """The context of each channel of each position: (B, C, *) → (B, inner channels, *)."""

    def __init__(self, channels: int, inner_channels: int, *, num_groups: int, kernel: Kernel) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.theta = Pointwise(channels, inner_channels, bias=False)
        self.phi = Pointwise(channels, inner_channels, bias=False)
        self.g = Pointwise(channels, inner_channels, bias=False)
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        context = self.kernel(*(self._numbers(layer(x)) for layer in (self.theta, self.phi, self.g)))  # (B, G, C'·N)
        return context.reshape(x.shape[0], -1, *x.shape[2:])  # (B, inner channels, *)

    def _numbers(self, x: Tensor) -> Tensor:
        """(B, C, *) → (B, G, C'·N), with all numbers of a group in one axis."""
        return x.reshape(x.shape[0], self.num_groups, -1)

    def extra_repr(self) -> str:
        return f"num_groups={self.num_groups}"


class GroupedPointwise(Pointwise):
    """1×1 convolution of any rank within groups of channels, without bias. `weight` is (C_out, C_in / groups)."""

    def __init__(self, in_channels: int, out_channels: int, *, num_groups: int) -> None:
        super().__init__(in_channels // num_groups, out_channels, bias=False)
        self.num_groups = num_groups

    def forward(self, x: Tensor) -> Tensor:
        convolution = F.conv3d if x.ndim == 5 else F.conv2d
        kernel = self.weight.reshape(*self.weight.shape, *[1] * (x.ndim - 2))  # (C_out, C_in / groups, 1, 1[, 1])
        return convolution(x, kernel, groups=self.num_groups)

    def extra_repr(self) -> str:
        out_channels, in_channels = self.weight.shape
        return f"{in_channels * self.num_groups}, {out_channels}, num_groups={self.num_groups}"


class GroupedTransform(nn.Sequential):
    """W_z and the norm. In float16 both are computed in float32, as the context is: the norm brings it into range."""

    def forward(self, context: Tensor) -> Tensor:
        kind, dtype = context.device.type, self[0].weight.dtype
        if autocast := torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
        if dtype != torch.float16:
            transformed: Tensor = super().forward(context)
            return transformed
        with torch.autocast(kind, enabled=False) if autocast else nullcontext():
            if self[0].weight.dtype != torch.float16:
                result: Tensor = super().forward(context)
                return result.to(dtype)
            tensors = {name: value.float() for name, value in self.state_dict().items() if value.is_floating_point()}
            in_float32: Tensor = functional_call(self, tensors, (context,))
            return in_float32.to(dtype)


class CompactNonLocal(ContextBlock):
    """z = x + norm(W_z y), yᵢ = Σⱼ k(θᵢ, φⱼ) gⱼ over the channels and positions of a group. It starts as the identity.

    The default `norm` is that of the authors' code, and has a flaw. Attention, W_z and GroupNorm have the same groups.
    With the dot product, attention is one factor per group, which GroupNorm divides out again. Only its sign is left,
    and φ and g learn only while it is close to zero. `norm="batch"`, as in the paper, keeps the factor.

    The sums over all numbers of a group have no divisor, so y may exceed the range of float16. There, y and what
    follows up to the norm are in float32.

    Args:
        inner_ratio: width of θ, φ and g relative to `channels`.
        num_groups: number of groups of channels. Each group attends to itself.
        kernel: k. It is the dot product, or the Gaussian radial basis function by its Taylor expansion.
        order: order of the Taylor expansion. The dot product ignores it. The authors' models have 3.
        norm: GroupNorm with `num_groups` groups, or BatchNorm. γ = 0 at the start, as in the authors' code.

    Raises:
        ValueError: an unknown choice, an `inner_ratio` outside (0, 1], an `order` below 1, or channels, inner or outer,
            that do not make `num_groups` equal groups.

    >>> import torch
    >>> block, x = CompactNonLocal(64), torch.randn(2, 64, 4, 8, 8)
    >>> torch.equal(block(x), x)
    True
    """

    def __init__(
        self,
        channels: int,
        *,
        inner_ratio: float = 0.5,
        num_groups: int = 8,
        kernel: Literal["dot", "gaussian_rbf"] = "dot",
        order: int = 3,
        norm: Literal["group", "batch"] = "group",
    ) -> None:
        kernels: dict[str, Callable[[], Kernel]] = {
            "dot": DotProductKernel,
            "gaussian_rbf": lambda: GaussianRbfKernel(order),
        }
        norms: dict[str, Callable[[], nn.Module]] = {
            "group": lambda: nn.GroupNorm(num_groups, channels),
            "batch": lambda: BatchNorm(channels),
        }
        for name, value, choices in (("kernel", kernel, kernels), ("norm", norm, norms)):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
        if order < 1:
            raise ValueError(f"order is {order}; expected at least 1")
        inner_channels = scaled_width(channels, inner_ratio, "inner_ratio")
        if num_groups < 1 or channels % num_groups or inner_channels % num_groups:
            raise ValueError(
                f"num_groups is {num_groups}; expected a divisor of {channels} channels and {inner_channels} inner ones"
            )
        super().__init__(
            context=CompactAttention(channels, inner_channels, num_groups=num_groups, kernel=kernels[kernel]()),
            transform=GroupedTransform(
                GroupedPointwise(inner_channels, channels, num_groups=num_groups), norms[norm]()
            ),
            fusion=Add(),
        )
        for layer in self.modules():
            if isinstance(layer, Pointwise):
                nn.init.normal_(layer.weight, std=INIT_STD)
        zero_init_last(self.transform)
