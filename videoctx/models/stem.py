"""The stem of a ResNet over video: conv1 and pool1. The max poolings of the networks.

He, Zhang, Ren, Sun: "Deep Residual Learning" (CVPR 2016, arXiv 1512.03385), table 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from videoctx.layers.pointwise import BatchNorm


class Stem(nn.Module):
    """conv1 and pool1: (B, 3, T, H, W) → (B, channels, T / strides, H / 4, W / 4); H / 2 and W / 2 without pool1."""

    def __init__(
        self,
        channels: int,
        *,
        kernel_t: int,
        stride_t: int,
        pool_t: tuple[int, int] | None,
        pool_padded: bool = True,
        conv: Callable[..., nn.Module],
    ) -> None:
        super().__init__()
        self.conv = conv(3, channels, kernel_size=(kernel_t, 7, 7), stride=(stride_t, 2, 2))
        self.norm = BatchNorm(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool: nn.Module = nn.Identity()
        if pool_t:
            self.pool = max_pool((pool_t[0], 3, 3), (pool_t[1], 2, 2), padded_in_space=pool_padded)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.relu(self.norm(self.conv(x))))


class MaxPool3d(nn.MaxPool3d):
    """Max pooling in the type of its input. Autocast on a CPU would use float32, which only costs time.

    Raises:
        ValueError: In `forward`, the clip has become shorter than the kernel.
    """

    def forward(self, x: Tensor) -> Tensor:
        frames = self.kernel_size[0] - 2 * self.padding[0]  # type: ignore[index]  # torch's are int or tuple; here tuples
        if x.shape[2] < frames:
            raise ValueError(
                f"{x.shape[2]} frame of a clip is left where {frames} are pooled; expected longer clips"
                " (data.clips.clip_len), or a network with pool2_t [1, 1]"
            )
        with torch.autocast("cpu", enabled=False):
            return super().forward(x)


def max_pool(kernel: tuple[int, int, int], stride: tuple[int, int, int], *, padded_in_space: bool = True) -> nn.Module:
    """Return a max pooling. Odd kernels are centered (padded by half), even ones are not, as in the released networks.

    Args:
        padded_in_space: False: kernels lie inside the frame.
    """
    if kernel == stride == (1, 1, 1):
        return nn.Identity()
    frames, *pixels = (size // 2 if size % 2 else 0 for size in kernel)
    return MaxPool3d(kernel, stride, padding=(frames, *(pixels if padded_in_space else (0, 0))))
