"""Global-and-local attention: one number per channel and one per position, combined to a gate.

Linsley, Shiebler, Eberhardt, Serre: "Learning what and where to attend" (ICLR 2019, arXiv 1805.08819).

    g = W_expand ReLU(W_shrink mean(x))             what: one number per channel
    s = V_collapse ReLU(V_shrink x)                 where: one number per position
    z = x · tanh(a (g + s) + m g s)                 a and m: one number per channel each

Squeeze-Excitation has a sigmoid for tanh. tanh can change the sign of a feature.

Differs from the paper: over video, the mean runs over time as well, and s is a map in space and time. The
supervision of the map by human clicks is left out. The authors' code (serre-lab/gala_tpu) has a sigmoid for tanh, a
ReLU on g, and a 5 × 5 convolution between V_shrink and V_collapse. `local_kernel_size` adds the last of these.
"""

import torch
from torch import Tensor, nn

from videoctx.layers.context import AveragePooling, BottleneckTransform, ContextBlock, scaled_width
from videoctx.layers.conv import half_kernel
from videoctx.layers.neighborhood import VideoConv
from videoctx.layers.pointwise import Pointwise


class GlobalAndLocal(nn.Module):
    """The global path g and the local path s: (B, C, *) → (B, C, 1, …) and (B, 1, *)."""

    def __init__(self, channels: int, *, ratio: float, local_kernel_size: tuple[int, int, int] | None) -> None:
        super().__init__()
        width = scaled_width(channels, ratio, "ratio")
        self.what = nn.Sequential(
            AveragePooling(), BottleneckTransform(channels, ratio=ratio, layer_norm=False, zero_init=False)
        )
        self.where = nn.Sequential(Pointwise(channels, width), nn.ReLU(inplace=True))
        if local_kernel_size:
            padding = half_kernel(local_kernel_size)
            self.where += nn.Sequential(
                VideoConv(width, width, local_kernel_size, padding=padding), nn.ReLU(inplace=True)
            )
        self.where.append(Pointwise(width, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.what(x), self.where(x)


class Interaction(nn.Module):
    """a (g + s) + m g s: (B, C, 1, …) and (B, 1, *) → (B, C, *)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.additive = nn.Parameter(torch.empty(channels))  # a
        self.multiplicative = nn.Parameter(torch.empty(channels))  # m
        nn.init.normal_(self.additive)  # as in the authors' code
        nn.init.normal_(self.multiplicative)

    def forward(self, paths: tuple[Tensor, Tensor]) -> Tensor:
        g, s = paths
        a, m = (weight.reshape(-1, *[1] * (g.ndim - 2)) for weight in (self.additive, self.multiplicative))
        return a * g + (a + m * g) * s


class ScaleByTanh(nn.Module):
    """z = x · tanh(y)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y.tanh()


class GALA(ContextBlock):
    """z = x · tanh(a (g + s) + m g s).

    Args:
        ratio: width of both bottlenecks relative to `channels`. The authors' r = 4 is 1/4.
        local_kernel_size: kernel size of one more convolution in the local path, along time, height and width, odd
            numbers. The authors' code has (1, 5, 5). None: no such convolution, as in the paper.

    Raises:
        ValueError: a `ratio` that leaves no channel, or an even `local_kernel_size`.

    >>> import torch
    >>> block, x = GALA(64), torch.randn(2, 64, 4, 7, 7)
    >>> [tuple(path.shape) for path in block.context(x)]
    [(2, 64, 1, 1, 1), (2, 1, 4, 7, 7)]
    >>> block(x).shape
    torch.Size([2, 64, 4, 7, 7])
    """

    def __init__(
        self, channels: int, *, ratio: float = 1 / 4, local_kernel_size: tuple[int, int, int] | None = None
    ) -> None:
        if local_kernel_size and any(size < 1 or size % 2 == 0 for size in local_kernel_size):
            raise ValueError(
                f"local_kernel_size is {tuple(local_kernel_size)}; expected odd numbers, which have a center, or none"
            )
        super().__init__(
            context=GlobalAndLocal(channels, ratio=ratio, local_kernel_size=local_kernel_size),
            transform=Interaction(channels),
            fusion=ScaleByTanh(),
        )
