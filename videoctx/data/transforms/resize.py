"""Resizing of frames: by their short side, or to a fixed size.

PySlowFast, PyTorchVideo and torchvision (its training scripts) resize in floats (`arithmetic` `float`). Non-local and
mmaction2 round the resized frame to bytes once (`rounded`). This package resizes bytes, as it does in training, and
rounds along either axis (`bytes`). Against floats, bytes resized so are off by up to one gray level, and without
antialiasing they are half a level too bright, on average, where both sides are halved.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from videoctx.data.sampling.protocols import Arithmetic
from videoctx.data.transforms.frame_size import SIZES, LongSide

FRAMES_AT_ONCE = 8  # which bounds the memory of frames as floats, before they are small


@dataclass(frozen=True, slots=True, kw_only=True)
class Resizing:
    """A resizing of frames.

    Args:
        short_side_px: Short side of a resized frame.
        fixed_size_px: Used instead of `short_side_px` and `long_side` if given: height and width of a resized frame.
        long_side: How the long side follows from the short one.
        antialias: Whether frames are filtered before they are shrunk.
        arithmetic: Whether frames are resized as bytes, or in floats, or in floats that are then rounded to bytes.

    >>> Resizing(short_side_px=128).size(240, 320), Resizing(short_side_px=128, fixed_size_px=(128, 171)).size(240, 320)
    ((128, 170), (128, 171))
    """

    short_side_px: int
    fixed_size_px: tuple[int, int] | None = None
    long_side: LongSide = "down"
    antialias: bool = True
    arithmetic: Arithmetic = "bytes"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of a resized frame."""
        return self.fixed_size_px or SIZES[self.long_side](height, width, self.short_side_px)

    def resize(self, frames: Tensor) -> Tensor:
        """Resize frames (U, H, W, 3) uint8 → (U, 3, H', W').

        Returns:
            uint8; or if they are resized in floats, float32 in [0, 1]. Frames that have the size already are not
            changed.
        """
        frames = frames.permute(0, 3, 1, 2)
        height, width = frames.shape[2:]
        size = self.size(height, width)
        if (height, width) == size:
            return frames
        if self.arithmetic == "bytes":
            return TF.resize(frames, list(size), antialias=self.antialias)
        return torch.cat([self._in_floats(part, size) for part in frames.split(FRAMES_AT_ONCE)])

    def _in_floats(self, frames: Tensor, size: tuple[int, int]) -> Tensor:
        resized = F.interpolate(
            frames.float(), size=size, mode="bilinear", antialias=self.antialias, align_corners=False
        )
        if self.arithmetic == "rounded":
            return (resized + 0.5).floor_().byte()
        return resized.mul_(1 / 255)  # as bytes are scaled to [0, 1]
