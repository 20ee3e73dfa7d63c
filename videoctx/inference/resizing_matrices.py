"""Resizing and cropping of frames as matrices, computed from the height and width of the frames.

PyTorch's bilinear filters are written as operations on tensors that every exporter and runtime has, so that an exported
file takes frames of any size. Their values are those of `torch.nn.functional.interpolate` to rounding.
"""

import torch
from torch import Tensor

from videoctx.data.preprocessing import Preprocessing
from videoctx.data.transforms.resize import Resizing

POWERS = 22  # of two, which PyTorch multiplies the weights of bytes with


def resizing_matrices(frames: Tensor, preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """Return the matrices from rows of frames to rows of their center crop, and for columns.

    Args:
        frames: (B, T, H, W, 3). Only their height and width are used, which may be symbols of an exporter.
        preprocessing: Resizing, size and place of the crop.

    Returns:
        (S, H) and (S, W) float32 for crops of S pixels.
    """
    sides = [torch.arange(side, dtype=torch.float64, device=frames.device) for side in frames.shape[2:4]]
    height, width = (pixels[-1] + 1 for pixels in sides)
    resizing, crop_px = preprocessing.resizing, preprocessing.crop_size_px
    resized = _resized(height, width, resizing)
    rows, columns = (
        _matrix(pixels, new_side, _start(new_side - crop_px, preprocessing.crops), crop_px, resizing)
        for pixels, new_side in zip(sides, resized, strict=True)
    )
    return rows, columns


def _resized(height: Tensor, width: Tensor, resizing: Resizing) -> tuple[Tensor, Tensor]:
    """Return height and width of resized frames: `Resizing.size` of whole numbers as float64."""
    short = torch.minimum(height, width)
    short_side_px = resizing.short_side_px
    if resizing.fixed_size_px or resizing.long_side == "four_thirds":
        new_height, new_width = resizing.size(1, 1)  # whatever the shape of the frame
        return torch.full_like(height, new_height), torch.full_like(width, new_width)

    def resized(side: Tensor) -> Tensor:
        if resizing.long_side == "down":
            return (short_side_px * side / short).floor()
        if resizing.long_side == "down_ratio":
            return torch.where(short == short_side_px, side, (side / short * short_side_px).floor())
        if resizing.long_side == "down_single":
            ratio = torch.full_like(short, short_side_px).float() / short.float()
            long_side = (side.float() * ratio).floor().double().clamp(min=short_side_px)
            return torch.where(side == short, torch.full_like(side, short_side_px), long_side)
        return (side * (short_side_px / short) + 0.5).floor()

    return resized(height), resized(width)


def _start(room: Tensor, crops: str) -> Tensor:
    """Return the first row or column of the center crop in a resized frame with so much room beside it."""
    if crops == "middle_up":
        return (room / 2).ceil()
    return (room / 2).floor() if crops in ("even", "stepped") else (room / 2).round()


def _matrix(pixels: Tensor, new_side: Tensor, start: Tensor, crop_px: int, resizing: Resizing) -> Tensor:
    """Return PyTorch's bilinear filter along one axis, for the rows of the crop: (crop_px, side)."""
    side = pixels[-1] + 1
    scale = side / new_side
    inside = start + torch.arange(crop_px, dtype=torch.float64, device=pixels.device)
    # The largest weight is often in the first or last row, which may lie outside the crop.
    rows = torch.cat([inside, torch.zeros_like(inside[:1]), new_side.reshape(1) - 1])
    centers = (rows[:, None] + 0.5) * scale
    if resizing.antialias:
        weights = (1 - (pixels + 0.5 - centers).abs() / scale.clamp(min=1)).relu()
        weights = weights / weights.sum(dim=1, keepdim=True)
    else:
        weights = (1 - (pixels - torch.minimum((centers - 0.5).clamp(min=0), side - 1)).abs()).relu()
    if resizing.arithmetic == "bytes":  # integers below 2¹⁵, times a power of two
        powers = 2.0 ** torch.arange(POWERS + 1, dtype=torch.float64, device=pixels.device)
        is_full = (weights.flatten().amax(dim=0) * powers * 2 + 0.5 >= 2**15) | (powers == 2.0**POWERS)
        power = torch.where(is_full, powers, torch.full_like(powers, 2.0**POWERS)).amin(dim=0)
        weights = (weights * power + 0.5).floor() / power
    return weights[:crop_px].float()
