"""Feature Pyramid Transformer: positions of a feature pyramid see those of their own, of higher and of lower levels.

Zhang, Zhang, Tang, Wang, Hua, Sun: "Feature Pyramid Transformer" (ECCV 2020, arXiv 2007.09451), section 3.

    self-transformer        x̂ᵢ = Σₙ πₙ Σⱼ softmaxⱼ(qᵢₙ·kⱼₙ / √d) vⱼ               within a level
    grounding transformer   x̂ᵢ = Σₙ πₙ Σⱼ softmaxⱼ(-‖qᵢₙ - kⱼₙ‖² / √d) vⱼ         q of a level; k, v of a higher one
    rendering transformer   x̂  = conv(ReLU(BN(conv(q · mean(k))) + BN(conv(v))))   q of a level; k, v of a lower one

πₙ = softmaxₙ(wₙ·mean(k)) mixes the N softmaxes over the N parts of queries and keys. Per level the results are
concatenated with the level itself and reduced by a convolution.

Differs from the paper: positions are those of space and time, and the convolutions of 3×3 act in each frame. Logits are
divided by √d, the whole width, as the authors' code does for the self-transformer. Instead of heads for detection there
is one map: the levels at the size of the highest, concatenated. There is no DropBlock.
"""

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoctx.layers.conv import plain_conv3d
from videoctx.layers.fused_attention import fused_attention
from videoctx.layers.neck import Neck
from videoctx.layers.neighborhood import neighborhood_average
from videoctx.layers.pointwise import BatchNorm, Pointwise

Window = tuple[int, int, int]


class MixtureOfSoftmaxes(nn.Module):
    """Attention with a mixture of N softmaxes. It never builds the matrix of all pairs: (B, *, d) → (B, *, e).

    Args:
        width: d, of queries and keys.
        num_softmaxes: N. It divides d.
        similarity: the dot product of query and key, or their negative squared distance.
    """

    def __init__(self, width: int, *, num_softmaxes: int, similarity: Literal["dot_product", "distance"]) -> None:
        if num_softmaxes < 1 or width % num_softmaxes:
            raise ValueError(f"num_softmaxes is {num_softmaxes}; expected a divisor of the width, {width}")
        super().__init__()
        self.num_softmaxes = num_softmaxes
        self.similarity = similarity
        self.scale = width**-0.5
        self.mixture = nn.Parameter(torch.empty(num_softmaxes, width))  # w
        nn.init.uniform_(self.mixture, -(num_softmaxes**-0.5), num_softmaxes**-0.5)  # as in the authors' code

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return (B, N_q, e) for query (B, N_q, d), key (B, N_k, d) and value (B, N_k, e).

        Args:
            mask: (N_q, N_k + 1), added to the logits. The last column is for a key and a value of zero.
        """
        center = key.mean(dim=1, keepdim=True)  # (B, 1, d)
        weights = (center @ self.mixture.T).softmax(dim=2).transpose(1, 2)  # (B, N, 1), π
        if mask is not None:
            key, value = (F.pad(part, (0, 0, 0, 1)) for part in (key, value))
        if self.similarity == "distance":  # which does not depend on the origin; small numbers keep their digits
            query, key = query - center, key - center
        query, key = (part.unflatten(2, (self.num_softmaxes, -1)).transpose(1, 2) for part in (query, key))
        if self.similarity == "distance":  # -‖q - k‖² = 2 q·k - ‖k‖² - ‖q‖², of which the last cancels
            lengths = key.square().sum(dim=-1, keepdim=True).to(key.dtype)
            query = torch.cat([2 * query, torch.ones_like(query[..., :1])], dim=-1)
            key = torch.cat([key, -lengths], dim=-1)
        value = value.unsqueeze(1).expand(-1, self.num_softmaxes, -1, -1)
        context = fused_attention(query, key, value, scale=self.scale, mask=mask)  # (B, N, N_q, e)
        return (weights.unsqueeze(-1) * context).sum(dim=1)

    def extra_repr(self) -> str:
        return f"num_softmaxes={self.num_softmaxes}, similarity={self.similarity!r}"


class SelfTransformer(nn.Module):
    """x̂ᵢ = Σₙ πₙ Σⱼ softmaxⱼ(qᵢₙ·kⱼₙ / √d) vⱼ: (B, C, T, H, W) → (B, C, T, H, W).

    Args:
        subsample: keys and values are those of averages over 3×3 positions, one for every 2×2, as in the authors' code.

    >>> import torch
    >>> SelfTransformer(16)(torch.zeros(1, 16, 2, 6, 6)).shape
    torch.Size([1, 16, 2, 6, 6])
    """

    def __init__(self, channels: int, *, num_softmaxes: int = 2, subsample: bool = True) -> None:
        super().__init__()
        self.subsample = subsample
        self.query, self.key, self.value = (_projection(channels) for _ in range(3))
        self.attention = MixtureOfSoftmaxes(channels, num_softmaxes=num_softmaxes, similarity="dot_product")

    def forward(self, x: Tensor) -> Tensor:
        source = neighborhood_average(x, (1, 2, 2)) if self.subsample else x
        context = self.attention(*map(_positions, (self.query(x), self.key(source), self.value(source))))
        return context.transpose(1, 2).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"subsample={self.subsample}"


class GroundingTransformer(nn.Module):
    """x̂ᵢ = Σₙ πₙ Σⱼ softmaxⱼ(-‖qᵢₙ - kⱼₙ‖² / √d) vⱼ, top-down: low (B, C, *), high (B, C, *) → (B, C, *) as low.

    Args:
        window: how many frames, rows and columns of the high level around its corresponding place a position sees, odd
            numbers. Places outside the map are keys and values of zero. None: all positions.

    >>> import torch
    >>> grounding = GroundingTransformer(16, window=(1, 3, 3))
    >>> grounding(torch.zeros(1, 16, 2, 8, 8), torch.zeros(1, 16, 2, 4, 4)).shape
    torch.Size([1, 16, 2, 8, 8])
    """

    def __init__(self, channels: int, *, num_softmaxes: int = 2, window: Window | None = None) -> None:
        if window is not None and any(size < 1 or size % 2 == 0 for size in window):
            raise ValueError(f"window is {tuple(window)}; expected odd numbers of frames, rows and columns")
        super().__init__()
        self.window = (window[0], window[1], window[2]) if window is not None else None
        self.query, self.key, self.value = (_projection(channels) for _ in range(3))
        self.attention = MixtureOfSoftmaxes(channels, num_softmaxes=num_softmaxes, similarity="distance")

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        query, key, value = map(_positions, (self.query(low), self.key(high), self.value(high)))
        mask = None
        if self.window is not None:
            mask = local_mask(low.shape[2:], high.shape[2:], self.window, device=low.device, dtype=query.dtype)
        return self.attention(query, key, value, mask).transpose(1, 2).reshape(low.shape)

    def extra_repr(self) -> str:
        return f"window={self.window}"


class RenderingTransformer(nn.Module):
    """x̂ = conv(ReLU(BN(conv(q · mean(k))) + BN(conv(v)))), bottom-up: high, low (B, C, *) → (B, C, *) as high.

    The convolution of v has the stride that gives it the size of the high level.

    >>> import torch
    >>> RenderingTransformer(16)(torch.zeros(1, 16, 2, 4, 4), torch.zeros(1, 16, 2, 8, 8)).shape
    torch.Size([1, 16, 2, 4, 4])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (_projection(channels) for _ in range(3))
        self.refine = plain_conv3d(channels, channels, kernel_size=(1, 3, 3))
        self.downsample = plain_conv3d(channels, channels, kernel_size=(1, 3, 3))
        self.sum = plain_conv3d(channels, channels, kernel_size=(1, 3, 3))
        self.refine_norm, self.downsample_norm = BatchNorm(channels), BatchNorm(channels)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        weights = self.key(low).mean(dim=(2, 3, 4), keepdim=True)
        refined = self.refine_norm(self.refine(self.query(high) * weights))
        stride = [-(-here // there) for here, there in zip(low.shape[2:], high.shape[2:], strict=True)]
        weight, bias, padding = self.downsample.weight, self.downsample.bias, (0, 1, 1)
        small = F.conv3d(self.value(low), weight, bias, stride, padding)  # the bias is that of a folded norm
        return self.sum((refined + self.downsample_norm(small)).relu())


class FeaturePyramidTransformer(Neck):
    """A neck: maps of stages, lowest first, → one map (B, out_channels, *) of the size of the last.

    Args:
        channels: of the maps.
        width: d, channels of every level inside. `out_channels` is d times the number of maps.
        num_softmaxes: N. The paper has 2.
        window: of the grounding transformers; None: they are not constrained to a locality.
        subsample: of the self-transformers.
        parts: the transformers there are, of self, grounding and rendering.

    Raises:
        ValueError: A part is unknown, fewer than two maps, a width that N does not divide, or a window of even numbers.
            In `forward`, another number of maps, or a higher level that is larger than a lower one.

    >>> import torch
    >>> neck = FeaturePyramidTransformer([32, 64], width=16)
    >>> neck([torch.zeros(1, 32, 4, 8, 8), torch.zeros(1, 64, 4, 4, 4)]).shape, neck.out_channels
    (torch.Size([1, 32, 4, 4, 4]), 32)
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        width: int = 256,
        num_softmaxes: int = 2,
        window: Window | None = (3, 5, 5),
        subsample: bool = True,
        parts: Sequence[Literal["self", "grounding", "rendering"]] = ("self", "grounding", "rendering"),
    ) -> None:
        if unknown := sorted(set(parts) - {"self", "grounding", "rendering"}):
            raise ValueError(f"parts has {', '.join(unknown)}; expected some of self, grounding, rendering")
        if len(channels) < 2:
            raise ValueError(f"a feature pyramid has two maps or more; got {len(channels)}")
        super().__init__()
        levels = range(len(channels))
        self.out_channels = width * len(channels)
        self.lateral = nn.ModuleList(Pointwise(c, width) for c in channels)
        inputs = [1] * len(channels)  # maps that are concatenated at a level
        self.transform_self, self.grounding, self.rendering = nn.ModuleList(), nn.ModuleDict(), nn.ModuleDict()
        if "self" in parts:
            self.transform_self.extend(
                SelfTransformer(width, num_softmaxes=num_softmaxes, subsample=subsample) for _ in levels
            )
            inputs = [number + 1 for number in inputs]
        for low, high in combinations(levels, 2):
            if "grounding" in parts:
                self.grounding[f"{low}_{high}"] = GroundingTransformer(
                    width, num_softmaxes=num_softmaxes, window=window
                )
                inputs[low] += 1
            if "rendering" in parts:
                self.rendering[f"{high}_{low}"] = RenderingTransformer(width)
                inputs[high] += 1
        self.reduce = nn.ModuleList(
            nn.Sequential(
                plain_conv3d(width * n, width, kernel_size=(1, 3, 3)), BatchNorm(width), nn.ReLU(inplace=True)
            )
            for n in inputs
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        if len(maps) != len(self.lateral):
            raise ValueError(f"got {len(maps)} maps; expected {len(self.lateral)}")
        sizes = [x.shape[2:] for x in maps]
        if any(a < b for low, high in pairwise(sizes) for a, b in zip(low, high, strict=True)):
            raise ValueError(f"the maps have sizes {[tuple(size) for size in sizes]}; expected the largest first")
        levels = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        found = [[x] for x in levels]
        for number, transformer in enumerate(self.transform_self):
            found[number].append(transformer(levels[number]))
        for pair, transformer in (*self.grounding.items(), *self.rendering.items()):
            here, there = map(int, pair.split("_"))
            found[here].append(transformer(levels[here], levels[there]))
        reduced = [reduce(torch.cat(parts, dim=1)) for reduce, parts in zip(self.reduce, found, strict=True)]
        return torch.cat([averages(x, maps[-1].shape[2:]) for x in reduced], dim=1)


def local_mask(
    low: Sequence[int], high: Sequence[int], window: Window, *, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Return what `MixtureOfSoftmaxes` adds to the logits for keys in windows, (N_low, N_high + 1).

    It is 0 for a key inside the window of a query and -∞ for others. The key of zero stands for all places of the
    window outside the map: for it, it is the logarithm of their number.
    """
    near = [
        ((torch.arange(n, device=device) * m // n).unsqueeze(1) - torch.arange(m, device=device)).abs() <= size // 2
        for n, m, size in zip(low, high, window, strict=True)
    ]  # (T_low, T_high), (H_low, H_high), (W_low, W_high)
    frames, rows, columns = near
    inside = frames[:, None, None, :, None, None] & rows[:, None, None, :, None] & columns[:, None, None, :]
    inside = inside.flatten(3).flatten(0, 2)  # (N_low, N_high)
    outside = torch.Size(window).numel() - inside.sum(dim=1, keepdim=True)
    keys = torch.zeros(inside.shape, device=device, dtype=dtype).masked_fill(~inside, -torch.inf)
    return torch.cat([keys, outside.to(dtype).log()], dim=1)


def averages(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return the means of `size` equal parts along each axis: (B, C, *) → (B, C, *size)."""
    frames, height, width = size
    if any(n % m for n, m in zip(x.shape[2:], size, strict=True)):
        return F.adaptive_avg_pool3d(x, (frames, height, width))
    t, h, w = (n // m for n, m in zip(x.shape[2:], size, strict=True))
    return x.reshape(*x.shape[:2], frames, t, height, h, width, w).mean(dim=(3, 5, 7))  # in any type and runtime


def _positions(x: Tensor) -> Tensor:
    """(B, C, T, H, W) → (B, N, C)."""
    return x.flatten(2).transpose(1, 2)


def _projection(channels: int) -> Pointwise:
    projection = Pointwise(channels, channels)
    nn.init.normal_(projection.weight, std=channels**-0.5)
    return projection
