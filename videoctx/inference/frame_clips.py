"""Clips of frames that arrive one after another: which frames make a clip, and how each is transformed.

A clip is that of a test with one clip and one crop, except for its start: its frames are as far apart, and are resized
and cropped in the same way. Where the clips of the test cover the whole video, which has no end here, the frames are
`frame_interval` apart.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo
from videoctx.data.preprocessing import Preprocessing


def frame_offsets(preprocessing: Preprocessing, fps: float) -> np.ndarray:
    """Return the numbers of a clip's frames, counted from its first, (T,) int64.

    Raises:
        NoClipError: The test counts frames by time, and the frame rate is 0, that is unknown.
    """
    if preprocessing.sampling != "dense":
        return preprocessing.shape.offsets()
    plenty = 4 * preprocessing.clip_len * math.ceil(preprocessing.shape.step(fps))  # frames, for any grid
    (frames,) = preprocessing.sampler(num_clips=1).clips(plenty, fps, np.random.default_rng(0))
    return frames - frames[0]


class FrameTransform:
    """The transform of a test, applied to one frame at a time."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.transform = preprocessing.transform(num_crops=1)

    def see(self, image: np.ndarray) -> Tensor:
        """Resize and crop a frame: (H, W, 3) uint8 RGB → (3, S, S) uint8, or float32 if the test resizes in floats."""
        video = DecodedVideo(
            path="",
            row=0,
            label=-1,
            seed=0,
            frames=torch.from_numpy(np.ascontiguousarray(image))[None],
            clips=torch.zeros(1, 1, dtype=torch.int64),
            starts=[0],
        )
        ((frames, _, crop),) = self.transform(DecodedBatch([video]), num_clips=1).clips.views
        return crop.cut(frames[0], self.transform.crop_size_px).clone()  # a copy: the rest of the frame is freed

    def clip(self, seen: Sequence[Tensor], device: torch.device) -> Tensor:
        """Stack and normalize T frames (3, S, S) on the device: (1, 3, T, S, S)."""
        return self.transform.normalize(torch.stack(list(seen)).to(device))[None]
