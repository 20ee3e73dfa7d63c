"""Convolution behind a temporal shift: an eighth of the channels comes from the next frame, an eighth from the last.

Lin, Gan, Han: "TSM: Temporal Shift Module for Efficient Video Understanding" (ICCV 2019, arXiv 1811.08383), sections
3.1 and 3.2. As the first convolution of the blocks of a C2D it is TSM with the shift in the residual branch, as in the
authors' code:

    y_t = conv([x_{t+1}[: C/8], x_{t-1}[C/8 : C/4], x_t[C/4 :]])

Frames outside the clip are zero.
"""

import torch
from torch import Tensor, nn

from videoctx.layers.conv import half_kernel


class TemporalShiftConv3d(nn.Conv3d):
    """Shift over time, then an ordinary convolution: (B, C_in, T, H, W) → (B, C_out, T / stride, …).

    Its weights have the names and shapes of an ordinary convolution, so those of a C2D or of an image network fit.

    Args:
        shift_div: ⌊C_in / shift_div⌋ channels come from the next frame, and as many from the last. TSM has 8.

    Raises:
        ValueError: `shift_div` below 2, or more than C_in.

    >>> import torch
    >>> conv = TemporalShiftConv3d(64, 16, kernel_size=(1, 1, 1))
    >>> conv(torch.zeros(1, 64, 8, 7, 7)).shape
    torch.Size([1, 16, 8, 7, 7])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: tuple[int, int, int] = (1, 1, 1),
        stride: tuple[int, int, int] = (1, 1, 1),
        groups: int = 1,
        shift_div: int = 8,
    ) -> None:
        if not 2 <= shift_div <= in_channels:
            raise ValueError(f"shift_div is {shift_div}; expected 2 to the number of input channels, {in_channels}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, half_kernel(kernel_size), groups=groups, bias=False
        )
        self.shift_div = shift_div

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(temporal_shift(x, x.shape[1] // self.shift_div))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, shift_div={self.shift_div}"


def temporal_shift(x: Tensor, num_channels: int) -> Tensor:
    """Shift the first channels to the frame before, and as many after them to the frame after: (B, C, T, *) → same.

    >>> import torch
    >>> temporal_shift(torch.tensor([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]), 1)
    tensor([[[2, 3, 0],
             [0, 4, 5],
             [7, 8, 9]]])
    """
    from_next, from_last, still = x.tensor_split((num_channels, 2 * num_channels), dim=1)
    zero = torch.zeros_like(from_next[:, :, :1])
    return torch.cat(
        [torch.cat([from_next[:, :, 1:], zero], dim=2), torch.cat([zero, from_last[:, :, :-1]], dim=2), still], dim=1
    )
