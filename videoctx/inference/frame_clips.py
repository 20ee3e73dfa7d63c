"""Clips of frames that come one after another: which of them make a clip, and what the network sees of each.

A clip is that of the test with one clip and one crop, wherever it starts: its frames are as far apart, and resized and
cropped in the same way.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.sampling.protocols import FPS


def frame_offsets(preprocessing: Preprocessing, fps: float) -> np.ndarray:
    """Numbers of a clip's frames, counted from its first, (T,) int64.

    Raises:
        NoClipError: the protocol of the test counts frames by time, and the frame rate is not known, that is 0.
    """
    plenty = 2 * preprocessing.clip_len * preprocessing.frame_interval * max(1, round(fps / FPS) + 1)
    (frames,) = preprocessing.sampler(num_clips=1).clips(plenty, fps, np.random.default_rng(0))
    return frames - frames[0]


class FrameTransform:
    """Of each frame by itself what the network sees, and of T such the network's input."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.transform = preprocessing.transform(num_crops=1)

    def see(self, picture: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 RGB → (3, S, S) uint8."""
        video = DecodedVideo(
            path="",
            row=0,
            label=-1,
            seed=0,
            frames=torch.from_numpy(np.ascontiguousarray(picture))[None],
            clips=torch.zeros(1, 1, dtype=torch.int64),
            starts=[0],
        )
        ((frames, _, (top, left)),) = self.transform(DecodedBatch([video]), num_clips=1).clips.views
        size = self.transform.crop_size_px
        return frames[0, :, top : top + size, left : left + size].clone()  # the rest of the frame is let go

    def clip(self, seen: Sequence[Tensor], device: torch.device) -> Tensor:
        """T of (3, S, S) → (1, 3, T, S, S), normalized, on the device."""
        return self.transform.normalize(torch.stack(list(seen)).to(device))[None]
