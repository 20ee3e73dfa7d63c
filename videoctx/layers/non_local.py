"""Non-local block: every position attends to every other.

Wang, Girshick, Gupta, He: "Non-local Neural Networks" (CVPR 2018, arXiv 1711.07971), equations 1 to 6.

    zᵢ = xᵢ + BN(W_z Σⱼ f(xᵢ, xⱼ) g(xⱼ) / C(x))

Differs from the paper, as the authors' own code does: the input is pooled before φ and g, not after (`subsample`), and
the softmax affinities divide their logits by √d (`softmax_scale`). Both arguments also give the paper's version.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoctx.layers.context import Add, ContextBlock, scaled_width, zero_init_last
from videoctx.layers.fused_attention import fused_attention, wide
from videoctx.layers.pointwise import BatchNorm, Pointwise

INIT_STD = 0.01  # of θ, φ, g and W_z in the authors' code


class Affinity(nn.Module):
    """Pairwise weights f(xᵢ, xⱼ) / C(x), and the sum of g with these weights.

    N queries, M keys, d inner channels: θ (B, N, d), φ (B, M, d), g (B, M, d) → (B, N, d). `forward` never computes the
    N × M matrix. `direct` does, and `forward` must equal it.
    """

    def weights(self, theta: Tensor, phi: Tensor) -> Tensor:
        """Return the N × M matrices (B, N, M)."""
        raise NotImplementedError

    def direct(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Evaluate the equation as printed, in O(N·M·d) time and O(N·M) memory."""
        return self.weights(theta, phi) @ g


class SoftmaxAffinity(Affinity):
    """f = exp(θᵢ·φⱼ), normalized by its sum over j. Equations 2 and 3.

    Args:
        scale: divide the logits by √d.

    Attributes:
        splits_queries: whether a CPU may split the queries by the number of clips. Without it, a traced copy takes any
            number.
    """

    splits_queries = True

    def __init__(self, *, scale: bool = True) -> None:
        super().__init__()
        self.scale = scale

    def _factor(self, theta: Tensor) -> float:
        return theta.shape[-1] ** -0.5 if self.scale else 1.0

    def weights(self, theta: Tensor, phi: Tensor) -> Tensor:
        return torch.softmax(self._factor(theta) * theta @ phi.transpose(1, 2), dim=-1)

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Use fused attention, which goes block by block: O(N·M·d) time, O(N + M) memory."""
        groups = _query_groups(theta) if self.splits_queries else 1
        query = theta.unflatten(1, (groups, -1)).flatten(0, 1).unsqueeze(1)  # (B·groups, 1, N / groups, d)
        key, value = (part.repeat_interleave(groups, dim=0).unsqueeze(1) for part in (phi, g))
        sums = fused_attention(query, key, value, scale=self._factor(theta))
        return sums.reshape(*theta.shape[:2], g.shape[-1])  # (B, N, d)

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


def _query_groups(query: Tensor) -> int:
    """Return the number of equal groups to split the queries of each clip into. It is 1 except on a CPU.

    The backward pass of the CPU's kernel uses one core per clip, and a group counts as a clip.
    """
    if query.device.type != "cpu":
        return 1
    batch, num_queries, _ = query.shape
    wanted = -(-torch.get_num_threads() // batch)
    return next(groups for groups in range(wanted, 0, -1) if num_queries % groups == 0)


class DotProductAffinity(Affinity):
    """f = θᵢ·φⱼ, normalized by the number of keys M. Equation 4.

    Both factors are divided by √M before they are multiplied: in float16 a sum over M keys would overflow, and a factor
    divided by M would be rounded to few digits.
    """

    def weights(self, theta: Tensor, phi: Tensor) -> Tensor:
        factor = phi.shape[1] ** -0.5
        return (factor * theta) @ (factor * phi).transpose(1, 2)

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Compute θ(φᵀg) / M instead of (θφᵀ)g / M where that is less work: O((N + M)·d²) time."""
        (num_queries, width), (num_keys, g_width) = theta.shape[1:], g.shape[1:]
        if num_queries * num_keys * (width + g_width) < width * g_width * (num_queries + num_keys):
            return self.direct(theta, phi, g)
        factor = num_keys**-0.5
        return theta @ ((factor * phi).transpose(1, 2) @ (factor * g))


class ConcatenationAffinity(Affinity):
    """f = ReLU(w·[θᵢ, φⱼ]), normalized by the number of keys. Equation 5."""

    def __init__(self, inner_channels: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(inner_channels))  # the half of w that multiplies θ
        self.key = nn.Parameter(torch.empty(inner_channels))  # the half of w that multiplies φ
        nn.init.normal_(self.query, std=INIT_STD)
        nn.init.normal_(self.key, std=INIT_STD)

    def weights(self, theta: Tensor, phi: Tensor) -> Tensor:
        a, b = theta @ self.query, phi @ self.key  # (B, N), (B, M)
        return F.relu(a.unsqueeze(2) + b.unsqueeze(1)) / phi.shape[1]

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Use one sort of b and two running sums, in O((N + M)·(log M + d)) time.

        ReLU(aᵢ + bⱼ) is aᵢ + bⱼ where bⱼ > -aᵢ, and 0 elsewhere. With the keys in descending order of b, these are the
        first k = kᵢ keys, and Σⱼ ReLU(aᵢ + bⱼ) gⱼ = (aᵢ + b_k) G_k + S_k, where G_k = Σ_{j ≤ k} gⱼ and
        S_k = Σ_{j ≤ k} (bⱼ - b_k) gⱼ. S grows by S_k - S_{k-1} = (b_{k-1} - b_k) G_{k-1}. No difference of large sums
        is taken. Both sums are of g / M, so that they do not overflow, and at least in float32. A NaN in g is passed
        on, whether or not its key is active.
        """
        a, b = theta @ self.query, phi @ self.key  # (B, N), (B, M)
        b, order = b.sort(dim=1, descending=True)
        place = order + torch.arange(len(order), device=order.device)[:, None] * order.shape[1]
        values = F.embedding(place, g.flatten(0, 1)) / phi.shape[1]  # (B, M, d), in the order of b
        sums = values.cumsum(dim=1, dtype=wide(g.dtype))  # (B, M, d): G / M
        growth = (b[:, :-1] - b[:, 1:]).unsqueeze(2) * sums[:, :-1]
        excess = F.pad(growth, (0, 0, 1, 0)).cumsum(dim=1)  # (B, M, d): S / M
        num_active = torch.searchsorted(-b.detach(), a.detach())  # (B, N): k, 0 … M
        last = (num_active - 1).clamp(min=0)  # with none active, a + b of the first is at most 0, and S is 0
        row = last + torch.arange(len(last), device=last.device)[:, None] * b.shape[1]  # in the keys of all clips
        weight = F.relu(a + b.gather(1, last))  # (B, N)
        context = weight.unsqueeze(2) * F.embedding(row, sums.flatten(0, 1)) + F.embedding(row, excess.flatten(0, 1))
        return (context + 0 * sums[:, -1:].detach()).to(g.dtype)


class PairwiseAttention(nn.Module):
    """The context of each position: Σⱼ f(xᵢ, xⱼ) g(xⱼ) / C(x), (B, C, *) → (B, d, *)."""

    def __init__(
        self,
        channels: int,
        inner_channels: int,
        *,
        affinity: Literal["gaussian", "embedded_gaussian", "dot_product", "concatenation"],
        softmax_scale: bool,
        subsample: Literal["input", "keys", "none"],
        attend_over: Literal["spacetime", "space", "time"],
    ) -> None:
        super().__init__()
        self.subsample = subsample
        self.attend_over = attend_over
        embedded = affinity != "gaussian"
        self.theta = Pointwise(channels, inner_channels) if embedded else nn.Identity()
        self.phi = Pointwise(channels, inner_channels) if embedded else nn.Identity()
        self.g = Pointwise(channels, inner_channels)
        affinities: dict[str, Callable[[], Affinity]] = {
            "gaussian": lambda: SoftmaxAffinity(scale=softmax_scale),
            "embedded_gaussian": lambda: SoftmaxAffinity(scale=softmax_scale),
            "dot_product": DotProductAffinity,
            "concatenation": lambda: ConcatenationAffinity(inner_channels),
        }
        self.affinity = affinities[affinity]()

    def forward(self, x: Tensor) -> Tensor:
        if self.attend_over == "time" and x.ndim != 5:
            raise ValueError(f"attend_over is 'time'; expected video (B, C, T, H, W), got {tuple(x.shape)}")
        source = halve_resolution(x) if self.subsample == "input" else x
        theta, phi, g = self.theta(x), self.phi(source), self.g(source)
        if self.subsample == "keys":
            phi, g = halve_resolution(phi), halve_resolution(g)
        context = self.affinity(*(self._positions(part) for part in (theta, phi, g)))
        return self._like(context, x)  # (B, d, *)

    def _positions(self, x: Tensor) -> Tensor:
        """(B, C, *) → (B, N, C). Frames, or columns through time, that do not attend to each other go to the batch."""
        x = x.movedim(1, -1)  # (B, T, H, W, C)
        if self.attend_over == "space" and x.ndim == 5:
            x = x.flatten(0, 1)  # (B·T, H, W, C)
        elif self.attend_over == "time":
            x = x.movedim(1, 3).flatten(0, 2)  # (B·H·W, T, C)
        return x.reshape(x.shape[0], -1, x.shape[-1])

    def _like(self, context: Tensor, x: Tensor) -> Tensor:
        """Undo `_positions`: (B', N', d) → (B, d, *)."""
        batch, _, *sizes = x.shape
        if self.attend_over == "time":
            frames, height, width = sizes
            context = context.reshape(batch, height, width, frames, -1).movedim(3, 1)  # (B, T, H, W, d)
        return context.reshape(batch, *sizes, -1).movedim(-1, 1)

    def extra_repr(self) -> str:
        return f"subsample={self.subsample!r}, attend_over={self.attend_over!r}"


class NonLocal(ContextBlock):
    """zᵢ = xᵢ + BN(W_z Σⱼ f(xᵢ, xⱼ) g(xⱼ) / C(x)). It starts as the identity.

    Args:
        affinity: f. `"gaussian"` compares the inputs themselves and has no θ and φ.
        inner_ratio: width d of θ, φ and g relative to `channels`.
        softmax_scale: divide the logits of the two Gaussian affinities by √d. The authors' code does, the paper does
            not.
        subsample: halve height and width of the keys and values by max pooling, which leaves a quarter of the pairs.
            `"input"` pools the input of φ and g (the authors' code), `"keys"` their outputs (the paper).
        attend_over: the positions that a position attends to: all, those of its own frame, or those at its own place
            in all frames.
        batch_norm: BatchNorm after W_z, with γ = 0 at the start. Without it W_z itself starts at zero, for networks
            with frozen BatchNorm.

    Raises:
        ValueError: an unknown choice, an `inner_ratio` outside (0, 1], or `subsample` together with
            `attend_over="time"`, where there are no neighbors in space to pool.

    >>> import torch
    >>> block, x = NonLocal(64), torch.randn(2, 64, 4, 8, 8)
    >>> torch.equal(block(x), x)
    True
    """

    def __init__(
        self,
        channels: int,
        *,
        affinity: Literal["gaussian", "embedded_gaussian", "dot_product", "concatenation"] = "embedded_gaussian",
        inner_ratio: float = 0.5,
        softmax_scale: bool = True,
        subsample: Literal["input", "keys", "none"] = "input",
        attend_over: Literal["spacetime", "space", "time"] = "spacetime",
        batch_norm: bool = True,
    ) -> None:
        for name, value, choices in (
            ("affinity", affinity, ("gaussian", "embedded_gaussian", "dot_product", "concatenation")),
            ("subsample", subsample, ("input", "keys", "none")),
            ("attend_over", attend_over, ("spacetime", "space", "time")),
        ):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
        if attend_over == "time" and subsample != "none":
            raise ValueError(
                f"subsample is {subsample!r} with attend_over 'time'; expected 'none': a column has no space to pool"
            )
        inner_channels = scaled_width(channels, inner_ratio, "inner_ratio")
        project = Pointwise(inner_channels, channels)
        super().__init__(
            context=PairwiseAttention(
                channels,
                inner_channels,
                affinity=affinity,
                softmax_scale=softmax_scale,
                subsample=subsample,
                attend_over=attend_over,
            ),
            transform=nn.Sequential(project, BatchNorm(channels)) if batch_norm else project,
            fusion=Add(),
        )
        for layer in self.modules():
            if isinstance(layer, Pointwise):
                nn.init.normal_(layer.weight, std=INIT_STD)
        zero_init_last(self.transform)


def halve_resolution(x: Tensor) -> Tensor:
    """Max-pool 2×2 in space and not in time. An axis of size 1 is left as it is."""
    kernel = [min(2, size) for size in x.shape[-2:]]
    return F.max_pool3d(x, [1, *kernel]) if x.ndim == 5 else F.max_pool2d(x, kernel)
