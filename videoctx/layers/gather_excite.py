"""Gather-Excite: each position is gated by the features gathered around it.

Hu, Shen, Albanie, Sun, Vedaldi: "Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks" (NeurIPS
2018, arXiv 1810.12348). The order of the layers follows the authors' prototxts (hujie-frank/GENet).

    z = x · sigmoid(up(excite(gather(x))))                 up: nearest neighbor

| variant       | gather, to one cell in e along each axis                               | excite                    |
|---------------|------------------------------------------------------------------------|---------------------------|
| `theta_minus` | average pooling, kernel 2e - 1, stride e                               | nothing                   |
| `theta`       | log₂ e depthwise convolutions, kernel 3, stride 2: BN, ReLU between    | nothing                   |
| `theta_plus`  | the same                                                               | ReLU, bottleneck of 1×1s  |

e is the extent. With a global extent there is one cell: the mean of all positions, or one depthwise convolution as
large as x.

Differs from the paper: the neighborhood spans time as well.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from videoctx.layers.context import BottleneckTransform, ContextBlock
from videoctx.layers.conv import half_kernel
from videoctx.layers.neighborhood import VideoConv, neighborhood_average
from videoctx.layers.pointwise import BatchNorm

Extent = int | Literal["global"]


class NeighborhoodAverage(nn.Module):
    """Averages over neighborhoods, one per e positions along each axis: (B, C, n, …) → (B, C, ⌈n / e⌉, …)."""

    def __init__(self, *, extent_t: Extent, extent: Extent) -> None:
        super().__init__()
        self.extents = (extent_t, extent, extent)

    def forward(self, x: Tensor) -> Tensor:
        sizes = x.shape[2:]
        extents = self.extents[-len(sizes) :]  # an image has no time
        return neighborhood_average(x, [n if e == "global" else e for n, e in zip(sizes, extents, strict=True)])

    def extra_repr(self) -> str:
        return f"extent_t={self.extents[0]!r}, extent={self.extents[1]!r}"


class StridedDepthwise(nn.Sequential):
    """Depthwise convolutions that halve each axis until one cell in e is left: (B, C, n, …) → (B, C, ⌈n / e⌉, …)."""

    def __init__(self, channels: int, *, extent_t: int, extent: int) -> None:
        halvings_t, halvings = (e.bit_length() - 1 for e in (extent_t, extent))
        layers: list[nn.Module] = []
        for number in range(max(halvings_t, halvings)):
            kernel_t, kernel = (3 if number < count else 1 for count in (halvings_t, halvings))
            stride_t, stride = (2 if number < count else 1 for count in (halvings_t, halvings))
            kernel_size = (kernel_t, kernel, kernel)
            layers += [
                VideoConv(
                    channels,
                    channels,
                    kernel_size,
                    stride=(stride_t, stride, stride),
                    padding=half_kernel(kernel_size),
                    groups=channels,
                    bias=False,
                ),
                BatchNorm(channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers[:-1])
        _initialize(self)


class GlobalDepthwise(nn.Sequential):
    """One depthwise convolution over all of x, whose size is fixed: (B, C, T, H, W) → (B, C, 1, 1, 1)."""

    def __init__(self, channels: int, *, size: tuple[int, int, int]) -> None:
        super().__init__(VideoConv(channels, channels, size, groups=channels, bias=False), BatchNorm(channels))
        self.size = tuple(size)
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        given = tuple(x.shape[2:]) if x.ndim == 5 else (1, *x.shape[2:])
        if given != self.size:
            raise ValueError(
                f"a global gather with one weight per position was made for size {self.size} along time, height and"
                f" width; got {given}"
            )
        return super().forward(x)


class Excite(nn.Module):
    """z = x · sigmoid(y), with y resized to the size of x by nearest neighbor."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * F.interpolate(y.sigmoid(), size=x.shape[2:], mode="nearest")


class GatherExcite(ContextBlock):
    """z = x · sigmoid(up(excite(gather(x)))).

    Args:
        variant: `"theta_minus"` has no weights, `"theta"` has a gather with weights, `"theta_plus"` has a gather and an
            excite with weights.
        extent: e along height and width. For a gather with weights it is a power of two, or `"global"` with a `size`.
            The paper has 2, 4, 8 and global. Its results improve with the extent.
        extent_t: e along time. None: as along height and width.
        size: size of x along time, height and width, for a global gather with weights, which has one per position.
        ratio: width of the bottleneck of `"theta_plus"`, relative to `channels`. The paper's r = 16 is 1/16.

    Raises:
        ValueError: an unknown `variant`, an extent that its gather cannot have, `size` without a global gather with
            weights or the reverse, or a `ratio` that leaves no channel.

    >>> import torch
    >>> block, x = GatherExcite(64, extent=4), torch.randn(2, 64, 4, 8, 8)
    >>> block.context(x).shape
    torch.Size([2, 64, 1, 2, 2])
    >>> block(x).shape
    torch.Size([2, 64, 4, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        *,
        variant: Literal["theta_minus", "theta", "theta_plus"] = "theta_plus",
        extent: Extent = 8,
        extent_t: Extent | None = None,
        size: tuple[int, int, int] | None = None,
        ratio: float = 1 / 16,
    ) -> None:
        if variant not in ("theta_minus", "theta", "theta_plus"):
            raise ValueError(f"variant is {variant!r}; expected one of theta_minus, theta, theta_plus")
        extent_t = extent if extent_t is None else extent_t
        for name, value in (("extent", extent), ("extent_t", extent_t)):
            if value != "global" and not (isinstance(value, int) and value >= 1):
                raise ValueError(f"{name} is {value!r}; expected a number from 1, or 'global'")
            if variant != "theta_minus" and value != "global" and value & (value - 1):
                raise ValueError(f"{name} is {value}; expected a power of two: {variant} gathers by halves")
        if size is not None and (variant == "theta_minus" or "global" not in (extent, extent_t)):
            raise ValueError(f"size is {tuple(size)}, which only a global gather with weights has")
        super().__init__(
            context=_gather(channels, variant, extent_t, extent, size),
            transform=nn.Sequential(
                nn.ReLU(), BottleneckTransform(channels, ratio=ratio, layer_norm=False, zero_init=False)
            )
            if variant == "theta_plus"
            else nn.Identity(),
            fusion=Excite(),
        )


def _gather(
    channels: int, variant: str, extent_t: Extent, extent: Extent, size: tuple[int, int, int] | None
) -> nn.Module:
    if variant == "theta_minus":
        return NeighborhoodAverage(extent_t=extent_t, extent=extent)
    if isinstance(extent, int) and isinstance(extent_t, int):
        return StridedDepthwise(channels, extent_t=extent_t, extent=extent)
    if extent_t != extent:
        raise ValueError(
            f"extent is {extent!r} and extent_t {extent_t!r}; expected both or neither to be 'global' for {variant}"
        )
    if size is None:
        raise ValueError(f"a global gather of {variant} has a weight for each position; expected the size of x as size")
    return GlobalDepthwise(channels, size=size)


def _initialize(gather: nn.Sequential) -> None:
    """Initialize the convolutions as the authors do: He et al., by fan in."""
    for layer in gather:
        if isinstance(layer, VideoConv):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
