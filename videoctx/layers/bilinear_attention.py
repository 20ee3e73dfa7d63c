"""Bilinear attentional transform: predicted matrices mix the rows, the columns and the frames of a feature map.

Chi, Yuan, Mu, Wang: "Non-Local Neural Networks With Grouped Bilinear Attentional Transforms" (CVPR 2020).

    Z = X + g(T P f(X) Q)

for each group of channels: P (s × s, rows that sum to one) mixes the rows of an s × s grid of cells, Q (s × s, columns
that sum to one) its columns, in each frame. T (t × t, rows that sum to one) mixes t spans of frames. All three are
predicted from the features. A cell of several positions is mixed position by position: row r of cell i takes from row r
of all other cells.

The block follows the authors' code for video. Their code for images normalizes P and Q by a sigmoid, not a softmax.
Differs from their code: convolutions before BatchNorm have no bias, because it would cancel. A map that is not a whole
number of cells is resized to the next larger size that is, and its transform is resized back. (Their code takes a grid
of another size, predicted by sliding the same weights, and height = width.) The frames of an image are not mixed.
At the sizes of their training both are the same.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoctx.layers.context import Add, ContextBlock, scaled_width
from videoctx.layers.pointwise import BatchNorm, Pointwise


class MixingMatrices(nn.Module):
    """n matrices with rows or columns that sum to one, from k features of s cells: (…, k, s) → (…, n, s, s).

    Args:
        softmax_dim: -1 for rows that sum to one, -2 for columns.
    """

    def __init__(self, num_features: int, size: int, num_matrices: int, *, softmax_dim: int) -> None:
        super().__init__()
        self.shape = (num_matrices, size, size)
        self.predict = nn.Linear(num_features * size, num_matrices * size * size)
        self.softmax = nn.Softmax(dim=softmax_dim)
        nn.init.kaiming_normal_(self.predict.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(self.predict.bias)

    def forward(self, features: Tensor) -> Tensor:
        logits = self.predict(features.flatten(-2))  # (…, n·s·s)
        return self.softmax(logits.unflatten(-1, self.shape))  # (…, n, s, s)


class BilinearMixing(nn.Module):
    """T P X Q for each group of channels: (B, C, T, H, W) → (B, C, T, H, W). An image has no T.

    Args:
        grid_size: s, cells along height and along width.
        temporal_grid_size: t, spans of frames.
        num_groups: k, number of groups of channels, each with its own P and Q, and number of the features that the
            matrices are predicted from.
        num_temporal_groups: number of groups of channels, each with its own T. With 0 the frames are not mixed.
    """

    def __init__(
        self, channels: int, *, grid_size: int, temporal_grid_size: int, num_groups: int, num_temporal_groups: int
    ) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.temporal_grid_size = temporal_grid_size
        self.num_groups = num_groups
        self.num_temporal_groups = num_temporal_groups
        self.features = nn.Sequential(
            Pointwise(channels, num_groups, bias=False), BatchNorm(num_groups), nn.ReLU(inplace=True)
        )
        self.rows = MixingMatrices(num_groups, grid_size, num_groups, softmax_dim=-1)
        self.columns = MixingMatrices(num_groups, grid_size, num_groups, softmax_dim=-2)
        if num_temporal_groups:
            self.frames = MixingMatrices(num_groups, temporal_grid_size, num_temporal_groups, softmax_dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        sizes = x.shape[2:]
        mix_frames = self.num_temporal_groups > 0 and x.ndim == 5
        grid = (self.temporal_grid_size if mix_frames else 1, self.grid_size, self.grid_size)
        x = x if x.ndim == 5 else x.unsqueeze(2)  # (B, C, T, H, W)
        self._check(x.shape[2:], grid)
        whole = tuple(-(-size // cells) * cells for size, cells in zip(x.shape[2:], grid, strict=True))
        y = _resized(x, whole)  # (B, C, T, H, W), each of T, H and W a whole number of cells
        features = self.features(y)  # (B, k, T, H, W)
        y = self._mix_space(y, features)
        if mix_frames:
            y = self._mix_frames(y, features)
        y = _resized(y, tuple(x.shape[2:]))
        return y.reshape(*y.shape[:2], *sizes)

    def _mix_space(self, x: Tensor, features: Tensor) -> Tensor:
        """Compute P X Q. i and j are cells of rows, u and v cells of columns, m and n positions within a cell."""
        batch, _, frames, height, width = x.shape
        size = self.grid_size
        by_row = features.unflatten(3, (size, -1)).amax(dim=(4, 5))  # (B, k, T, s)
        by_column = features.unflatten(4, (size, -1)).amax(dim=(3, 5))  # (B, k, T, s)
        p = self.rows(by_row.transpose(1, 2))  # (B, T, k, s, s)
        q = self.columns(by_column.transpose(1, 2))  # (B, T, k, s, s)
        cells = x.reshape(batch, self.num_groups, -1, frames, size, height // size, size, width // size)
        cells = torch.einsum("btkij,bkctjmun->bkctimun", p, cells)  # (B, k, C/k, T, s, m, s, n)
        cells = torch.einsum("bkctimun,btkuv->bkctimvn", cells, q)  # (B, k, C/k, T, s, m, s, n)
        return cells.reshape(x.shape)

    def _mix_frames(self, x: Tensor, features: Tensor) -> Tensor:
        """Compute T X. i and j are spans of m frames each."""
        size = self.temporal_grid_size
        by_span = features.unflatten(2, (size, -1)).mean(dim=(3, 4, 5))  # (B, k, t)
        spans = x.reshape(x.shape[0], self.num_temporal_groups, -1, size, x.shape[2] // size, *x.shape[3:])
        spans = torch.einsum("bkij,bkcjmhw->bkcimhw", self.frames(by_span), spans)  # (B, groups, C/groups, t, m, H, W)
        return spans.reshape(x.shape)

    def _check(self, sizes: tuple[int, ...], grid: tuple[int, ...]) -> None:
        frames, height, width = sizes
        if self.grid_size > min(height, width):
            raise ValueError(f"grid_size is {self.grid_size}; expected at most height and width, {height} × {width}")
        if grid[0] > frames:
            raise ValueError(f"temporal_grid_size is {grid[0]}; expected at most the number of frames, {frames}")

    def extra_repr(self) -> str:
        names = ("grid_size", "temporal_grid_size", "num_groups", "num_temporal_groups")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class ChannelDropout(nn.Module):
    """Dropout of whole channels, for video and images."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        dropout = F.dropout3d if x.ndim == 5 else F.dropout2d
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class BilinearAttentionalTransform(ContextBlock):
    """Z = X + g(T P f(X) Q), where f and g are 1×1×1 convolutions with BatchNorm and ReLU.

    Unlike most blocks with `Add`, it does not start as the identity.

    Args:
        ratio: width of the bottleneck that f reduces to, relative to `channels`.
        grid_size: cells along height and along width. The authors' 7 makes cells of 4 × 4 in res3 and of 2 × 2 in res4.
        temporal_grid_size: number of spans of frames that are mixed.
        num_groups: number of groups of channels, each with its own P and Q. The authors' code has 8 for video.
        num_temporal_groups: number of groups of channels, each with its own T. The authors' 3D-BAT has 4. Their 2D-BAT
            has 0, which does not mix the frames.
        dropout: probability of dropping a channel before the sum.

    Raises:
        ValueError: a `ratio` outside (0, 1], a bottleneck that the groups do not divide, a size, a number of groups or
            a `dropout` out of range. In `forward`, a grid that is larger than the feature map.

    >>> import torch
    >>> block, x = BilinearAttentionalTransform(64), torch.randn(2, 64, 4, 14, 14)
    >>> block(x).shape
    torch.Size([2, 64, 4, 14, 14])
    """

    def __init__(
        self,
        channels: int,
        *,
        ratio: float = 0.5,
        grid_size: int = 7,
        temporal_grid_size: int = 4,
        num_groups: int = 8,
        num_temporal_groups: int = 4,
        dropout: float = 0.2,
    ) -> None:
        width = scaled_width(channels, ratio, "ratio")
        for name, value, least in (
            ("grid_size", grid_size, 1),
            ("temporal_grid_size", temporal_grid_size, 1),
            ("num_groups", num_groups, 1),
            ("num_temporal_groups", num_temporal_groups, 0),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}; expected at least {least}")
        for name, value in (("num_groups", num_groups), ("num_temporal_groups", num_temporal_groups or 1)):
            if width % value:
                raise ValueError(f"{name} is {value}; expected a divisor of the bottleneck's {width} channels")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; expected at least 0 and less than 1")

        def convolution(in_channels: int, out_channels: int) -> list[nn.Module]:
            return [
                Pointwise(in_channels, out_channels, bias=False),
                BatchNorm(out_channels),
                nn.ReLU(inplace=True),
            ]

        mixing = BilinearMixing(
            width,
            grid_size=grid_size,
            temporal_grid_size=temporal_grid_size,
            num_groups=num_groups,
            num_temporal_groups=num_temporal_groups,
        )
        super().__init__(
            context=nn.Sequential(*convolution(channels, width), mixing),
            transform=nn.Sequential(*convolution(width, width), *convolution(width, channels), ChannelDropout(dropout)),
            fusion=Add(),
        )


def _resized(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """(B, C, T, H, W) → (B, C, *sizes), linear along each axis. x itself if it has these sizes."""
    return x if tuple(x.shape[2:]) == sizes else F.interpolate(x, sizes, mode="trilinear", align_corners=False)
