"""The signature that every kind of 3D convolution obeys, so that one drops in for another."""

from typing import Protocol

from torch import nn


class Conv3dKind(Protocol):
    """Makes a convolution (B, C_in, T, H, W) → (B, C_out, T / stride, …), keeping sizes at stride 1, without bias."""

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
    """The ordinary convolution, zero-padded by half its kernel."""
    padding = tuple(size // 2 for size in kernel_size)
    return nn.Conv3d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
