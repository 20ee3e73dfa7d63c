"""The signature that all 3D convolutions of this package share, and the ordinary convolution."""

from typing import Protocol

from torch import nn


class Conv3dKind(Protocol):
    """A function or class that makes a 3D convolution without bias.

    The convolution maps (B, C_in, T, H, W) to (B, C_out, T / stride, …). With stride 1 it keeps T, H and W.
    """

    def __call__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: tuple[int, int, int],
        stride: tuple[int, int, int] = (1, 1, 1),
        groups: int = 1,
    ) -> nn.Module: ...


def plain_conv3d(
    in_channels: int,
    out_channels: int,
    *,
    kernel_size: tuple[int, int, int],
    stride: tuple[int, int, int] = (1, 1, 1),
    groups: int = 1,
) -> nn.Conv3d:
    """Return an ordinary convolution, zero-padded by half its kernel.

    >>> import torch
    >>> plain_conv3d(3, 8, kernel_size=(1, 3, 3), stride=(1, 2, 2))(torch.zeros(1, 3, 4, 16, 16)).shape
    torch.Size([1, 8, 4, 8, 8])
    """
    padding = half_kernel(kernel_size)
    return nn.Conv3d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)


def half_kernel(kernel_size: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the padding that keeps the size of the input, for odd kernels and stride 1."""
    kernel_t, kernel_h, kernel_w = kernel_size
    return kernel_t // 2, kernel_h // 2, kernel_w // 2
