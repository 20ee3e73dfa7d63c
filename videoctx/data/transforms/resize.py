"""Resizing of frames by their short side."""

from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from videoctx.data.sampling.protocols import PROTOCOLS, Protocol


def resize(frames: Tensor, short_side_px: int, protocol: Protocol = PROTOCOLS["videoctx"]) -> Tensor:
    """(U, H, W, 3) → (U, 3, H', W'); the aspect is kept, unless the protocol says otherwise."""
    frames = frames.permute(0, 3, 1, 2)
    if protocol.size:
        size = protocol.size(*frames.shape[2:], short_side_px)
    elif min(frames.shape[2:]) == short_side_px:
        return frames
    else:
        size = [short_side_px]
    return TF.resize(frames, size, antialias=protocol.smooth)
