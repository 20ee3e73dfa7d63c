"""Resizing of frames by their short side."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from videoctx.data.sampling.protocols import PROTOCOLS, Protocol

FRAMES_AT_ONCE = 8  # which bounds the memory of frames as floats, before they are small


def resize(frames: Tensor, short_side_px: int, protocol: Protocol = PROTOCOLS["videoctx"]) -> Tensor:
    """Resize frames (U, H, W, 3) uint8 → (U, 3, H', W'). The protocol may change the aspect ratio.

    Returns:
        uint8; or with a protocol that resizes in floats, float32 in [0, 1]. Frames that have the size already are not
        changed.
    """
    frames = frames.permute(0, 3, 1, 2)
    height, width = frames.shape[2:]
    size = protocol.size(height, width, short_side_px) if protocol.size else None
    if (height, width) == size or (size is None and min(height, width) == short_side_px):
        return frames
    if size is None or protocol.arithmetic == "bytes":
        return TF.resize(frames, [short_side_px] if size is None else list(size), antialias=protocol.antialias)
    return torch.cat([_in_floats(part, size, protocol) for part in frames.split(FRAMES_AT_ONCE)])


def _in_floats(frames: Tensor, size: tuple[int, int], protocol: Protocol) -> Tensor:
    resized = F.interpolate(
        frames.float(), size=size, mode="bilinear", antialias=protocol.antialias, align_corners=False
    )
    if protocol.arithmetic == "rounded":
        return (resized + 0.5).floor_().byte()
    return resized.mul_(1 / 255)  # as bytes are scaled to [0, 1]
