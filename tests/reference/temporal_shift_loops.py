"""Slow truth for the convolution behind a temporal shift: channel by channel and frame by frame, on plain tensors.

Lin, Gan, Han: "TSM: Temporal Shift Module for Efficient Video Understanding" (ICCV 2019, arXiv 1811.08383), figure 1
and section 4; the direction of each eighth as in the authors' code.

Nothing here imports the package. x is (B, C, T, H, W).
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def shifted(x: Tensor, shift_div: int) -> Tensor:
    """The first C/shift_div channels show the next frame, as many after them the last one."""
    channels, frames = x.shape[1:3]
    y = torch.zeros_like(x)
    fold = channels // shift_div
    for c in range(channels):
        for t in range(frames):
            shown = t + 1 if c < fold else t - 1 if c < 2 * fold else t
            if 0 <= shown < frames:
                y[:, c, t] = x[:, c, shown]
    return y


def convolution(x: Tensor, weight: Tensor, *, shift_div: int, stride: tuple[int, int, int], groups: int) -> Tensor:
    return F.conv3d(
        shifted(x, shift_div), weight, None, stride, [size // 2 for size in weight.shape[2:]], groups=groups
    )
