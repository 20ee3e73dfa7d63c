"""Resizing of frames by their short side."""

from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from videoctx.data.sampling.protocols import PROTOCOLS, Protocol


def resize(frames: Tensor, short_side_px: int, protocol: Protocol = PROTOCOLS["videoctx"]) -> Tensor:
    """Resize frames (U, H, W, 3) → (U, 3, H', W'). The protocol may change the aspect ratio."""
    frames = frames.permute(0, 3, 1, 2)
    height, width = frames.shape[2:]
    if protocol.size:
        size = list(protocol.size(height, width, short_side_px))
    elif min(height, width) == short_side_px:
        return frames
    else:
        size = [short_side_px]
    return TF.resize(frames, size, antialias=protocol.antialias)
